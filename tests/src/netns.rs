//! A container's network namespace, pinned by a bind mount at a path as container runtimes do.

use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::process::{ip, sh};

/// A network namespace that stays while it is pinned. The pin is a mount in the node's mount namespace, and goes away
/// with that at the latest.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
    path: PathBuf,
}

impl Netns {
    /// Makes a namespace and pins it at `/run/netns/<name>`.
    pub(crate) fn create(name: &str) -> Self {
        let path = Path::new("/run/netns").join(name);
        File::create_new(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("unshare a network namespace");
                pin(&path);
                quick_ipv6();
            });
        });
        Self { name: name.to_owned(), path }
    }

    /// The namespace of a process, which somebody else has made.
    #[must_use]
    pub fn of_process(pid: u32) -> Self {
        Self { name: pid.to_string(), path: PathBuf::from(format!("/proc/{pid}/ns/net")) }
    }

    /// Its name, unique on the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of the pin, as runtimes hand it over in `CNI_NETNS`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.to_str().expect("names are UTF-8")
    }

    /// Runs a closure in this namespace, in a thread of its own. Sockets opened in it stay in it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(&self.path).unwrap_or_else(|error| panic!("open {}: {error}", self.path.display()));
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a shell script in this namespace; see [`sh`].
    pub fn sh(&self, script: &str) -> String {
        self.enter(|| sh(script))
    }

    /// Has one `ip` carry out commands in this namespace; see [`ip`].
    pub fn ip(&self, commands: &str) -> String {
        self.enter(|| ip(commands))
    }

    /// Lets the namespace go, as when a container has died: no pin, no path.
    pub fn vanish(&self) {
        umount2(&self.path, MntFlags::MNT_DETACH).expect("unpin a network namespace");
        fs::remove_file(&self.path).expect("remove the pin");
    }

    /// Whether it is still pinned.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }
}

fn pin(path: &Path) {
    mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .unwrap_or_else(|error| panic!("pin a namespace at {}: {error}", path.display()));
}

/// Link-local addresses settle at once instead of after one to two seconds, so that states are stable when they are
/// read. It changes nothing of what plugins do; they set `accept_dad`, which is left alone here.
pub(crate) fn quick_ipv6() {
    for (key, value) in [("dad_transmits", "0"), ("router_solicitation_delay", "0")] {
        let path = format!("/proc/sys/net/ipv6/conf/default/{key}");
        fs::write(&path, value).unwrap_or_else(|error| panic!("write {path}: {error}"));
    }
}
