//! A private machine: a thread in a network and mount namespace of its own.

use std::cell::RefCell;
use std::fs;
use std::fs::Permissions;
use std::marker::PhantomData;
use std::os::unix::fs::PermissionsExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::host;
use crate::netns::{Netns, quick_ipv6};
use crate::process::ip;
use crate::state::State;

/// The namespace of the remote host, and the node's interface to it: the stage, not the play.
pub(crate) const REMOTE: &str = "remote";
pub(crate) const UPLINK: &str = "uplink";

/// The machine that a story plays on. It lives in the thread that [`Node::run`] made for it and can not leave it.
#[derive(Debug)]
pub struct Node {
    netns: RefCell<Vec<Netns>>,
    not_send: PhantomData<*const ()>,
}

impl Node {
    /// Plays a story on a fresh machine. Afterwards nothing that belongs to an attachment may be left, neither on the
    /// node nor in its namespaces, and the host must be as it was.
    pub fn run<T: Send>(story: impl FnOnce(&Self) -> T + Send) -> T {
        Self::run_messy(|node| {
            let before = node.state();
            let outcome = story(node);
            node.assert_nothing_left_since(&before);
            outcome
        })
    }

    /// The same without the look for leftovers, for stories that end in the middle of a life or compare states
    /// themselves.
    pub fn run_messy<T: Send>(story: impl FnOnce(&Self) -> T + Send) -> T {
        host::remember();
        let outcome = thread::scope(|scope| scope.spawn(|| story(&Self::boot())).join());
        host::assert_untouched();
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn boot() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("unshare (the tests need root)");
        private_filesystem();
        quick_ipv6();
        ip("link set lo up");
        Self { netns: RefCell::default(), not_send: PhantomData }
    }

    /// Makes a container's namespace.
    pub fn netns(&self, name: &str) -> Netns {
        let netns = Netns::create(name);
        self.netns.borrow_mut().push(netns.clone());
        netns
    }

    /// The namespace of this name, which has been made before.
    ///
    /// # Panics
    /// When it has not.
    pub fn found(&self, name: &str) -> Netns {
        let all = self.netns.borrow();
        all.iter().find(|netns| netns.name() == name).unwrap_or_else(|| panic!("no namespace {name}")).clone()
    }

    /// Makes the namespace of a remote host, on the other end of the node's `uplink`. The node has `.1` and `::1`,
    /// the remote `.2` and `::2` of 192.0.2.0/24 and 2001:db8::/64, and knows no other route.
    pub fn remote(&self) -> Netns {
        let remote = self.netns(REMOTE);
        ip(&format!(
            "link add {UPLINK} type veth peer name eth0 netns {REMOTE}
            link set {UPLINK} up
            address add 192.0.2.1/24 dev {UPLINK}
            address add 2001:db8::1/64 dev {UPLINK} nodad"
        ));
        remote.ip("link set lo up
            link set eth0 up
            address add 192.0.2.2/24 dev eth0
            address add 2001:db8::2/64 dev eth0 nodad");
        remote
    }

    /// Panics when something of an attachment is here that was not there before. What is there for a moment only is
    /// given the time to go: the kernel tears a namespace down, with the veth pairs that reach into it, after the last
    /// reference has gone, and nothing tells when.
    ///
    /// # Panics
    /// See above.
    pub fn assert_nothing_left_since(&self, before: &State) {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let left = self.state().left_since(before);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind:\n{}", left.join("\n"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes a plugin of the story's own, a shell script, and returns the directory for `CNI_PATH`.
    ///
    /// # Panics
    /// When it can not be written.
    pub fn script(&self, name: &str, body: &str) -> &'static str {
        let path = Path::new(SCRIPTS).join(name);
        fs::create_dir_all(SCRIPTS).expect("create a directory");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("write a script");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("make a script executable");
        SCRIPTS
    }

    /// What plugins could have changed, here and in all namespaces that still exist.
    #[must_use]
    pub fn state(&self) -> State {
        self.state_keeping("")
    }

    /// The same, but MACs that occur in `text` (a configuration, say) are shown as they are: they are not random.
    #[must_use]
    pub fn state_keeping(&self, text: &str) -> State {
        let live: Vec<Netns> = self.netns.borrow().iter().filter(|netns| netns.exists()).cloned().collect();
        State::read(&live, text)
    }
}

const SCRIPTS: &str = "/run/scripts";

/// Directories that exist on every host and hold things that plugins or runtimes read or write. Each gets a layer
/// above it, so that writes stay here.
const LAYERED: [&str; 3] = ["/etc", "/opt", "/var/lib"];

/// Directories of the node that start empty, whatever the host has there.
const EMPTY: [&str; 3] = ["/etc/cni", "/opt/cni", "/var/lib/cni"];

fn private_filesystem() {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("make the mounts private");
    tmpfs("/run");
    for dir in LAYERED {
        let layer = format!("/run/.layer/{}", dir.trim_start_matches('/'));
        fs::create_dir_all(format!("{layer}/upper")).expect("create a layer");
        fs::create_dir_all(format!("{layer}/work")).expect("create a layer");
        let options = format!("lowerdir={dir},upperdir={layer}/upper,workdir={layer}/work");
        mount(Some("overlay"), dir, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .unwrap_or_else(|error| panic!("mount an overlay on {dir}: {error}"));
    }
    for dir in EMPTY {
        fs::create_dir_all(dir).unwrap_or_else(|error| panic!("create {dir}: {error}"));
        tmpfs(dir);
    }
    fs::create_dir(Path::new("/run/netns")).expect("create /run/netns");
}

fn tmpfs(dir: &str) {
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .unwrap_or_else(|error| panic!("mount a tmpfs on {dir}: {error}"));
}
