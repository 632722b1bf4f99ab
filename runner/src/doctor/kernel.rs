//! What this kernel has of what containers are made of.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use ::kernel::nft::Nft;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::utsname::uname;
use nix::unistd::Pid;

use crate::sys;

use super::Report;

/// Features by the names that `xnet info` gives them.
pub(crate) fn features() -> [(&'static str, bool); 8] {
    [
        ("overlay", has_filesystem("overlay")),
        ("seccomp", Path::new("/proc/sys/kernel/seccomp").is_dir()),
        ("userNamespaces", Path::new("/proc/self/ns/user").exists()),
        ("timeNamespaces", Path::new("/proc/self/ns/time").exists()),
        ("cgroupNamespaces", Path::new("/proc/self/ns/cgroup").exists()),
        ("privateBinfmtMisc", has_filesystem("binfmt_misc")),
        ("apparmor", Path::new("/sys/kernel/security/apparmor").is_dir()),
        ("selinux", Path::new("/sys/fs/selinux/enforce").exists()),
    ]
}

fn has_filesystem(name: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().next_back() == Some(name))
}

/// `mount_setattr`, and the last of what no container can be made without.
const OLDEST: (u32, u32) = (5, 12);

const UPGRADE: &str = "boot a newer kernel";

pub(super) fn check(report: &mut Report) {
    version(report);
    calls(report);
    let features = features();
    let has = |name: &str| features.iter().any(|(known, there)| *known == name && *there);
    match has("overlay") {
        true => report.ok("overlay", "layers can be stacked"),
        false => report.warn("overlay", "this kernel cannot stack layers: they are copied (vfs)", "modprobe overlay"),
    }
    if !has("seccomp") {
        report.bad(
            "seccomp",
            "this kernel has no filters of system calls, so no container with one can start",
            UPGRADE,
        );
    }
    let rest: Vec<&str> = features.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    let has: Vec<&str> = features.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    let lacks = if rest.is_empty() { String::new() } else { format!("; not {}", rest.join(", ")) };
    report.ok("features", format!("{}{lacks}", has.join(", ")));
    nf_tables(report);
    grace_periods(report);
}

fn version(report: &mut Report) {
    let Ok(host) = uname() else { return };
    let release = host.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let found: Option<(u32, u32)> = numbers.next().zip(numbers.next());
    match found {
        Some(found) if found < OLDEST => {
            report.bad("kernel", format!("Linux {release}, and xnet needs {}.{}", OLDEST.0, OLDEST.1), UPGRADE);
        }
        _ => report.ok("kernel", format!("Linux {release}")),
    }
}

/// Calls that a policy may forbid though the kernel has them: they are made, and what they make is dropped at once.
fn calls(report: &mut Report) {
    let within = || {
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(nix::fcntl::AT_FDCWD, "/", how).map(drop)
    };
    let mount = || sys::mount::Context::open(c"tmpfs").map(drop);
    for (name, refused) in [("openat2", within().err()), ("new mount calls", mount().err())] {
        match refused {
            None => report.ok(name, "answered"),
            Some(errno) => report.bad(name, format!("refused: {}", errno.desc()), UPGRADE),
        }
    }
    let asked = sys::signal::pidfd_open(Pid::this()).and_then(|pidfd| sys::pidfd::exit_status(pidfd.as_fd()));
    match asked {
        Ok(_) => report.ok("pidfd", "tells how a process has ended"),
        Err(errno) => report.warn(
            "pidfd",
            format!(
                "does not tell how a process has ended ({}): the status of a container whose monitor was killed is unknown",
                errno.desc()
            ),
            "boot Linux 6.15 or newer",
        ),
    }
}

fn nf_tables(report: &mut Report) {
    if !sys::ns::in_initial_user() {
        return report.skip("nf_tables", "only the host's root may ask for them");
    }
    match Nft::open().and_then(|mut nft| nft.supported()) {
        Ok(()) => report.ok("nf_tables", "answers"),
        Err(error) => report.bad(
            "nf_tables",
            format!("{error}: no masquerading and no published ports, unless a network says ipMasqBackend iptables"),
            "modprobe nf_tables",
        ),
    }
}

/// Waiting for RCU is most of what networks cost; the switch that shortens it is one for the whole host.
fn grace_periods(report: &mut Report) {
    match crate::kernel_file::value("/sys/kernel/rcu_expedited") {
        Ok(text) if text.trim() == "0" => report.ok(
            "rcu_expedited",
            "0, as it should be: 1 makes links and groups go sooner, and interrupts every processor for it; xnet lets it be",
        ),
        Ok(text) => report.warn(
            "rcu_expedited",
            format!("{}: links and groups go sooner, and every processor is interrupted for it", text.trim()),
            "echo 0 >/sys/kernel/rcu_expedited",
        ),
        Err(_) => report.skip("rcu_expedited", "this kernel has no such switch, or does not show it"),
    }
}
