//! Failure injected at every step: whatever was done before it is taken back.

use std::process::Command;
use std::thread;

use kernel::netlink;
use kernel::netns::NetNs;
use kernel::plan::{Applied, Deviation, Failure, Machine, Step};
use nix::sched::{CloneFlags, unshare};

use super::tests::{answer, config, names, owner};
use super::*;

/// A step that the kernel refuses.
#[derive(Debug)]
struct Refused;

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

fn everything() -> Plan {
    let config = config(
        r#""isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "portIsolation": true, "macspoofchk": true,
           "ipam": {"type": "host-local"}"#,
    );
    let mut result = answer();
    complete(&config, &mut result);
    let mut whole = links(&config, &owner(), &names(None));
    whole.extend(addresses(&config, &owner(), &names(None), &result).unwrap());
    whole.extend(running(&config, &names(None), &result.ips));
    whole
}

fn new_netns() -> NetNs {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        NetNs::current().unwrap()
    });
    made.join().unwrap()
}

/// What an attachment could leave behind, in the host and in the container; the bridge and the nftables layout, which
/// are shared, left out.
fn traces(container: &NetNs) -> String {
    let show = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let links = ["ip", "-brief", "link", "show", "type", "veth"];
    let elements: String = show(&["nft", "list", "ruleset"])
        .lines()
        .filter(|line| line.contains("cid1") || line.contains("veth"))
        .collect();
    let inside = || show(&links) + &show(&["ip", "route", "show", "table", "main"]);
    show(&links) + &elements + &container.run(inside).unwrap()
}

#[test]
fn nothing_of_the_attachment_is_left_whatever_step_fails() {
    let steps = everything().into_steps().len();
    for failing in 0..=steps {
        let attempt = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let container = new_netns();
            let mut machine = Machine::with_container(new_netns_handle(&container)).unwrap();
            let mut steps = everything().into_steps();
            steps.insert(failing, Box::new(Refused));
            let plan: Plan = steps.into_iter().collect();
            let mut done = Applied::default();
            let before = traces(&container);
            assert_eq!(plan.apply(&mut machine, &mut done).unwrap_err().text, "injected");
            assert_eq!(done.undo(&mut machine), []);
            assert_eq!(traces(&container), before, "after a failure at step {failing}");
        });
        attempt.join().unwrap();
    }
}

#[test]
fn the_traces_would_show_an_attachment() {
    let attempt = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let container = new_netns();
        let mut machine = Machine::with_container(new_netns_handle(&container)).unwrap();
        let before = traces(&container);
        everything().apply(&mut machine, &mut Applied::default()).unwrap();
        everything().check(&mut machine).unwrap();
        let after = traces(&container);
        assert_ne!(after, before);
        for trace in ["veth1", "eth0", "cid1", "default via 10.1.0.1"] {
            assert!(after.contains(trace), "{trace} in {after}");
        }
    });
    attempt.join().unwrap();
}

/// A second handle of the same namespace.
fn new_netns_handle(netns: &NetNs) -> NetNs {
    use std::os::fd::{AsFd, AsRawFd};
    NetNs::open(format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd())).unwrap()
}
