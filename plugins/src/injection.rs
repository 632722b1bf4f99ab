//! Failure injected at every step of a plan, for the tests of every interface plugin: whatever was done before it is taken
//! back.

use std::process::Command;
use std::thread;

use kernel::netlink;
use kernel::netns::NetNs;
use kernel::plan::{Applied, Deviation, Failure, Machine, Plan, Step};
use nix::sched::{CloneFlags, unshare};

/// A step that the kernel refuses.
#[derive(Debug)]
pub(crate) struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

impl Step for Refused {
    fn refused(&self, _: netlink::Error) -> Result<(), Failure> {
        Ok(())
    }

    fn apply(&self, _: &mut Machine) -> Result<(), Failure> {
        Err(Failure::other(self, "injected"))
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }
}

fn new_netns() -> NetNs {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        NetNs::current().unwrap()
    });
    made.join().unwrap()
}

/// What an attachment could leave behind, in the host and in the container; bridges and the nftables layout, which are
/// shared, left out.
fn traces(container: &NetNs) -> String {
    let show = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let owned = |text: String| -> String {
        text.lines().filter(|line| line.contains("cid1") || line.contains("veth")).collect()
    };
    let routes = ["ip", "route", "show", "table", "all"];
    let links = || show(&["ip", "-brief", "link"]) + &show(&["ip", "-brief", "address"]);
    let host = links() + &show(&routes) + &show(&["nft", "list", "ruleset"]);
    let inside = || links() + &show(&routes);
    owned(host) + &container.run(inside).unwrap()
}

/// Applies `plan`, made anew each time, with a refusal in the place of each of its steps in turn, and expects that nothing
/// is left.
///
/// # Panics
///
/// When something is.
pub(crate) fn at_every_step(plan: fn() -> Plan) {
    at_every_step_on(|| (), plan);
}

/// The same in a host that `stage` has set up.
///
/// # Panics
///
/// When something is left.
pub(crate) fn at_every_step_on(stage: fn(), plan: impl Fn() -> Plan + Copy + Send + 'static) {
    let steps = plan().into_steps().len();
    for failing in 0..=steps {
        in_a_machine(move |container, machine| {
            stage();
            let mut steps = plan().into_steps();
            steps.insert(failing, Box::new(Refused));
            let plan: Plan = steps.into_iter().collect();
            let mut done = Applied::default();
            let before = traces(container);
            assert_eq!(plan.apply(machine, &mut done).unwrap_err().text, "injected");
            assert_eq!(done.undo(machine), []);
            assert_eq!(traces(container), before, "after a failure at step {failing}");
        });
    }
}

/// Applies and checks `plan`, and expects all of `wanted` among the traces: what [`at_every_step`] looks for can be seen.
///
/// # Panics
///
/// When it can't.
pub(crate) fn shows(plan: fn() -> Plan, wanted: &'static [&'static str]) {
    shows_on(|| (), plan, wanted);
}

/// The same in a host that `stage` has set up.
///
/// # Panics
///
/// When it can't be seen.
pub(crate) fn shows_on(stage: fn(), plan: impl Fn() -> Plan + Copy + Send + 'static, wanted: &'static [&'static str]) {
    in_a_machine(move |container, machine| {
        stage();
        plan().apply(machine, &mut Applied::default()).unwrap();
        plan().check(machine).unwrap();
        let after = traces(container);
        for trace in wanted {
            assert!(after.contains(trace), "{trace} in {after}");
        }
    });
}

/// Runs `work` on a thread whose namespaces are its own, with a container.
fn in_a_machine(work: impl FnOnce(&NetNs, &mut Machine) + Send + 'static) {
    let attempt = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let container = new_netns();
        let mut machine = Machine::with_container(new_netns_handle(&container)).unwrap();
        work(&container, &mut machine);
    });
    attempt.join().unwrap();
}

/// A second handle of the same namespace.
fn new_netns_handle(netns: &NetNs) -> NetNs {
    use std::os::fd::{AsFd, AsRawFd};
    NetNs::open(format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd())).unwrap()
}
