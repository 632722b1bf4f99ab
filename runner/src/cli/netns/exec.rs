//! `xnet netns exec`: the host's tools, another's network.
//!
//! Only the network namespace changes. Unlike `ip netns exec` nothing is mounted unless `--resolv` asks for it, so that
//! /sys still is the host's, and what the command mounts is seen.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use clap::Args;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::cli::complain;
use crate::error::{Context, Error, Result};
use crate::netns::scan::Scan;
use crate::netns::target::Target;
use crate::spec::Dirs;
use crate::state::Store;

/// Where, and what.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Run as the user who has called sudo, not as root
    #[arg(short, long)]
    user: bool,
    /// With the container's resolv.conf and hosts in the place of the host's
    #[arg(long)]
    resolv: bool,
    /// In every network namespace, one after the other; TARGET is left out
    #[arg(long, conflicts_with = "resolv")]
    all: bool,
    /// host, a container, a process number, a path, or a name; then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "TARGET CMD")]
    words: Vec<OsString>,
}

impl Exec {
    pub(super) fn run(&self, store: &Store, dirs: &Dirs) -> Result<u8> {
        if self.all {
            return self.everywhere(store, dirs);
        }
        let [target, program, arguments @ ..] = self.words.as_slice() else {
            return Err(Error::new("a command is missing behind the target"));
        };
        let name = target.to_str().ok_or_else(|| Error::new("the target is not UTF-8"))?;
        let target = Target::find(name, store, dirs)?;
        setns(&target.netns, CloneFlags::CLONE_NEWNET).context(|| format!("enter {}", target.title))?;
        if self.resolv {
            show_files(&target)?;
        }
        if self.user {
            become_caller()?;
        }
        let failure = Command::new(program).args(arguments).exec();
        Err(cannot_execute(program, &failure))
    }

    fn everywhere(&self, store: &Store, dirs: &Dirs) -> Result<u8> {
        let [program, arguments @ ..] = self.words.as_slice() else { return Err(Error::new("a command is missing")) };
        if self.user {
            // The namespaces are opened before, because they are root's.
            return Err(Error::new("--user cannot be used with --all"));
        }
        let mut status = 0;
        for found in Scan::take(store, dirs)?.namespaces.values() {
            let process = found.pids.first().map(|pid| format!("/proc/{pid}/ns/net"));
            let Some(way) = found.pins.first().map(|pin| pin.display().to_string()).or(process) else { continue };
            let title = found.containers.first().cloned().unwrap_or_else(|| found.command.clone());
            let Ok(target) = Target::find(&way, store, dirs) else { continue };
            let output = match inside(&target, Command::new(program).args(arguments)) {
                Ok(output) => output,
                Err(error) => {
                    complain(&error);
                    status = 1;
                    continue;
                }
            };
            let output = output.map_err(|error| cannot_execute(program, &error))?;
            status = status.max(output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
            let prefix = format!("{}/{title}: ", found.inode);
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                println!("{prefix}{line}");
            }
            for line in String::from_utf8_lossy(&output.stderr).lines() {
                eprintln!("{prefix}{line}");
            }
        }
        Ok(status)
    }
}

/// Runs `command` with its output collected. A thread goes there, as not everybody who may go may come back.
fn inside(target: &Target, command: &mut Command) -> Result<std::io::Result<Output>> {
    let run = || {
        setns(&target.netns, CloneFlags::CLONE_NEWNET).context(|| format!("enter {}", target.title))?;
        Ok(command.output())
    };
    let ended = thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|_| Err(Error::new(format!("the thread that went into {} has failed", target.title))))
}

/// Mounts the container's files over the host's, for this process and its children only.
fn show_files(target: &Target) -> Result<()> {
    let Some(files) = &target.files else {
        return Err(Error::new(format!("{} is no container, and has no resolv.conf of its own", target.title)));
    };
    unshare(CloneFlags::CLONE_NEWNS).context(|| "make a mount namespace")?;
    let slave = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>).context(|| "cut mount propagation")?;
    for name in ["resolv.conf", "hosts"] {
        let (from, to) = (files.join(name), Path::new("/etc").join(name));
        mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .context(|| format!("mount {} on {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Gives root's rights up for those of whoever has called sudo, or of whoever runs a set-user-id xnet.
fn become_caller() -> Result<()> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let uid = number("SUDO_UID").map_or_else(nix::unistd::getuid, Uid::from_raw);
    let gid = number("SUDO_GID").map_or_else(nix::unistd::getgid, Gid::from_raw);
    setgroups(&[gid]).and_then(|()| setgid(gid)).and_then(|()| setuid(uid)).context(|| "become the calling user")
}

fn cannot_execute(program: &OsString, error: &std::io::Error) -> Error {
    let text =
        format!("{}: {}", program.display(), nix::Error::from_raw(error.raw_os_error().unwrap_or_default()).desc());
    match error.kind() {
        ErrorKind::NotFound => Error::not_found(text),
        _ => Error::not_executable(text),
    }
}
