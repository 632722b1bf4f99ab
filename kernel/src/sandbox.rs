//! Private network namespaces for tests.

use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::netns::NetNs;

/// Runs `test` in a thread inside a network namespace of its own; a failure in it fails the caller.
pub(crate) fn alone(test: impl FnOnce() + Send + 'static) {
    let guest = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (are you root?)");
        test();
    });
    if let Err(panic) = guest.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A second namespace, which lives as long as the handle.
pub(crate) fn container() -> NetNs {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (are you root?)");
        NetNs::current().expect("/proc")
    });
    made.join().expect("the thread that made the namespace")
}

/// Runs `ip` with these words and returns what it printed.
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("iproute2");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ip prints UTF-8")
}
