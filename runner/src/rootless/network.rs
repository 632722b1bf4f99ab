//! Which networks somebody without root can have.
//!
//! The host's bridges, addresses and firewall are root's, so there are no bridge networks. A container can have no network,
//! the host's, or another container's; and if a program is installed that carries packets between a namespace and ordinary
//! sockets, that.

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::error::{Error, Result};
use crate::spec::{Carrier, NetMode};

use super::caller;

/// The mode of a container for which none was asked, and why it is none, if it is; nothing for root, who has the usual one.
pub(crate) fn default() -> Option<(NetMode, Option<Error>)> {
    caller()?;
    let installed = [Carrier::Pasta, Carrier::Slirp4netns].into_iter().find(|carrier| carrier.find().is_some());
    let missing = match installed {
        None => "without root that takes pasta or slirp4netns, and neither is installed (packages passt, slirp4netns)"
            .to_owned(),
        Some(carrier) => match tunnel() {
            Ok(()) => return Some((NetMode::Carried(carrier), None)),
            Err(error) => format!("{carrier} needs {error}"),
        },
    };
    Some((NetMode::None, Some(Error::new(missing))))
}

/// Looks whether interfaces can be made that a program reads from.
fn tunnel() -> Result<()> {
    const DEVICE: &str = "/dev/net/tun";
    access(DEVICE, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|errno| {
        Error::new(match errno {
            Errno::ENOENT => format!("{DEVICE}, which is not there (`modprobe tun` makes it)"),
            errno => format!("{DEVICE}, which you may not open: {} (its usual mode is 0666)", errno.desc()),
        })
    })
}

/// Refuses what only root can have, and what only others need.
///
/// # Errors
/// It says what can be had instead.
pub(crate) fn check(mode: &NetMode) -> Result<()> {
    match mode {
        NetMode::Networks(_) if caller().is_some() => Err(Error::new(format!(
            "--net {mode} needs root: bridges, addresses and firewall of the host are root's. Without root there are pasta, \
             slirp4netns, host, none and container:NAME; or run xnet as root"
        ))),
        NetMode::Carried(carrier) if caller().is_none() => {
            Err(Error::new(format!("--net {carrier} is for users other than root, who has --net bridge")))
        }
        NetMode::Carried(carrier) if carrier.find().is_none() => {
            Err(Error::new(format!("--net {carrier}: {carrier} is not installed (package {})", carrier.package())))
        }
        NetMode::Carried(carrier) => tunnel().map_err(|error| Error::new(format!("--net {carrier} needs {error}"))),
        _ => Ok(()),
    }
}

/// Refuses `what` to somebody without root.
///
/// # Errors
/// It says what can be had instead.
pub(crate) fn refuse(what: &str) -> Result<()> {
    match caller() {
        None => Ok(()),
        Some(_) => Err(Error::new(format!(
            "{what} needs root: bridges, addresses and firewall of the host are root's. Without root a container has one network for \
             good, by --net pasta, slirp4netns, container:NAME, host or none"
        ))),
    }
}
