//! Waiting for addresses to become usable, by the kernel's own notifications.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::addressing::lookup_failure;
use super::{Deviation, Failure, Machine, Side, Step};
use crate::netlink::{Error, IPV6_ADDRESSES, IPV6_ROUTES, LINKS, Monitor};

/// How long duplicate address detection may take.
const DAD_PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may take to put a link or an address to use. Without detection that is a work item away.
const USE_PATIENCE: Duration = Duration::from_secs(2);

/// Waits until duplicate address detection on a link of the container has ended, by the kernel's own notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The link's name, in the container.
    pub link: String,
}

impl Settle {
    /// Whether no address is tentative any more.
    fn settled(&self, machine: &mut Machine) -> Result<bool, Failure> {
        let failed = |error: Error| lookup_failure(self, &self.link, &error);
        let index = machine.index(Side::Container, &self.link).map_err(failed)?;
        let addresses = machine.side(Side::Container).and_then(|side| side.addresses(index, true)).map_err(failed)?;
        if let Some(lost) = addresses.iter().find(|address| address.dad_failed) {
            let (link, ip): (_, IpAddr) = (&self.link, lost.network.ip());
            let text =
                format!("failed to settle addresses for \"{link}\": link {link} has address {ip} in DADFAILED state");
            return Err(Failure::other(self, text));
        }
        Ok(!addresses.iter().any(|address| address.tentative))
    }
}

impl fmt::Display for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip monitor address dev {}", Side::Container, self.link)
    }
}

impl Step for Settle {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(lookup_failure(self, &self.link, &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let watching = |error| Failure::other(self, format!("watch addresses of \"{}\": {error}", self.link));
        let monitor = watch(machine, Side::Container, IPV6_ADDRESSES).map_err(watching)?;
        let deadline = Instant::now() + DAD_PATIENCE;
        while !self.settled(machine)? {
            let waited = monitor.wait(deadline);
            if !waited
                .map_err(|error| Failure::other(self, format!("watch addresses of \"{}\": {error}", self.link)))?
            {
                // Without a carrier there is no detection, and the addresses settle when it comes.
                let running = machine.side(Side::Container).and_then(|side| side.link(&self.link));
                let running = running.ok().flatten().is_some_and(|link| link.running);
                let text = format!(
                    "link {} still has tentative addresses after {} seconds",
                    self.link,
                    DAD_PATIENCE.as_secs()
                );
                return if running { Err(Failure::other(self, text)) } else { Ok(()) };
            }
        }
        Ok(())
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }
}

/// Waits until a link carries packets.
///
/// The kernel sets a link up at once and lets packets through a little later, in a work item (`linkwatch_run_queue`); in
/// between they are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Where the link is.
    pub side: Side,
    /// Its name.
    pub link: String,
}

impl Running {
    fn holds(&self, machine: &mut Machine) -> Result<bool, Error> {
        Ok(machine.side(self.side)?.link(&self.link)?.is_some_and(|link| link.running))
    }

    /// Whether it does, at the latest after `patience`.
    pub(super) fn within(&self, machine: &mut Machine, patience: Duration) -> Result<bool, Error> {
        if self.holds(machine)? {
            return Ok(true);
        }
        // Subscribe first, then look: what happens in between is not lost.
        let monitor = watch(machine, self.side, LINKS)?;
        let deadline = Instant::now() + patience;
        loop {
            if self.holds(machine)? {
                return Ok(true);
            }
            if !monitor.wait(deadline)? {
                return Ok(false);
            }
        }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip monitor link dev {}", self.side, self.link)
    }
}

impl Step for Running {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to wait for \"{}\"", self.link), &error))
    }

    /// Out of patience is no failure: some links get their carrier later.
    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.within(machine, USE_PATIENCE).map(drop).or_else(|error| self.refused(error))
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }
}

/// Waits until an IPv6 address of the machine's own is in use.
///
/// The kernel accepts an address at once and starts to use it a little later, in a work item (`addrconf_dad_work`); in
/// between, what is sent to it goes astray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// Where the address is.
    pub side: Side,
    /// The address.
    pub address: IpAddr,
}

impl Reachable {
    fn wait(&self, machine: &mut Machine) -> Result<(), Error> {
        if machine.side(self.side)?.is_local(self.address)? {
            return Ok(());
        }
        let monitor = watch(machine, self.side, IPV6_ROUTES)?;
        let deadline = Instant::now() + USE_PATIENCE;
        // Out of patience is no failure: some links get their carrier later, and the address with it.
        while !machine.side(self.side)?.is_local(self.address)? && monitor.wait(deadline)? {}
        Ok(())
    }
}

impl fmt::Display for Reachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip route get {}", self.side, self.address)
    }
}

impl Step for Reachable {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to settle address {}", self.address), &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.wait(machine).or_else(|error| self.refused(error))
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }
}

/// Subscribes to notifications of one side.
pub(super) fn watch(machine: &Machine, side: Side, group: u32) -> io::Result<Monitor> {
    match (side, machine.container_netns()) {
        (Side::Host, _) | (Side::Container, None) => Monitor::open(group),
        (Side::Container, Some(netns)) => netns.run(|| Monitor::open(group)).map_err(io::Error::other)?,
    }
}
