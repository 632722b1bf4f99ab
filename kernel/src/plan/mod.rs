//! Plans: what a plugin is going to do, as a value.
//!
//! A plan is built before anything is touched, from configuration alone, so it can be printed, compared and tested
//! without a kernel. Links are named, not numbered: the [`Machine`] finds the numbers when the time comes.
//!
//! Applying goes through the steps in order. A step that is one route request ([`Step::request`]) is held back until
//! its neighbours in the same namespace are known, and they all go out in one message; anything else is done at once
//! ([`Step::apply`]). What has been done is on record in [`Applied`]. The kernel does not stop at a refused request, so
//! after a refusal the record also holds the steps behind it which it did.
//!
//! Two kinds of step keep out of each other's way. An *owned* step belongs to one attachment, and its undoing removes
//! it. A *shared* step (the bridge, its address, forwarding) is ensured, may be wanted by others at any time, and is
//! never undone.

mod addressing;
mod bridge;
mod child;
mod device;
mod machine;
mod nftables;
mod pair;
mod settle;
mod shaping;
mod sysctls;
mod tap;
mod vrf;

use std::fmt;

use nix::errno::Errno;

use crate::mac::Mac;
use crate::netlink::{self, Request};
use crate::route::Route;

pub use addressing::{AddAddress, AddRoute, GatewayAddress, SetMac, SetUp};
pub use bridge::{EnsureBridge, PortRunning, PortVlans, VlanGateway};
pub use child::CreateChild;
pub use device::{Arrived, Home, MoveDevice};
pub use machine::{Machine, Side};
pub use pair::CreatePair;
pub use settle::{Reachable, Running, Settle};
pub use shaping::{EnsureIfb, Ingress, Limit, Redirect, SetAlias, Unlimited};
pub use sysctls::{Setting, Sysctls};
pub use tap::CreateTap;
pub use vrf::{CreateVrf, Enslave};

/// One change to the machine. Its `Display` is the line that a person would type.
pub trait Step: fmt::Debug + fmt::Display {
    /// The one route request that the step is, if it is one.
    ///
    /// # Errors
    ///
    /// When the link that it is about can't be found.
    fn request(&self, machine: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let _ = machine;
        Ok(None)
    }

    /// What a refusal of [`Step::request`] means: a failure, unless the step knows better.
    ///
    /// # Errors
    ///
    /// The failure.
    fn refused(&self, error: netlink::Error) -> Result<(), Failure>;

    /// Does the step, when it is not one request.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; nothing of the step is left then.
    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let _ = machine;
        Ok(())
    }

    /// Whether the step, applied some time ago, still holds.
    ///
    /// # Errors
    ///
    /// What is different now.
    fn check(&self, machine: &mut Machine) -> Result<(), Deviation>;

    /// Takes an owned step back. What is gone already is fine.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let _ = machine;
        Ok(())
    }
}

/// Why a step could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What was attempted, on which object, and why the kernel refused.
    pub text: String,
    /// The step as a command line.
    pub step: String,
    /// The kernel's error number, where there was one.
    pub errno: Option<Errno>,
}

impl Failure {
    /// A failure of `step`: `attempt` says what was attempted on what, `error` why it was refused.
    pub fn new(step: &dyn fmt::Display, attempt: impl fmt::Display, error: &netlink::Error) -> Self {
        Self { text: format!("{attempt}: {error}"), step: step.to_string(), errno: error.errno() }
    }

    /// A failure of `step` for a reason that is not a netlink refusal.
    pub fn other(step: &dyn fmt::Display, text: impl Into<String>) -> Self {
        Self { text: text.into(), step: step.to_string(), errno: None }
    }
}

/// How the machine differs from what a step left behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Deviation {
    /// A link is gone.
    #[error("link {0} is missing")]
    LinkMissing(String),
    /// A link of that name is there, but of another kind.
    #[error("link {link} is not of type {expected}")]
    WrongKind {
        /// Its name.
        link: String,
        /// What it should be.
        expected: String,
    },
    /// A link has another hardware address.
    #[error("link {link} has the address {found}, not {expected}")]
    WrongMac {
        /// Its name.
        link: String,
        /// What it should have.
        expected: Mac,
        /// What it has.
        found: Mac,
    },
    /// A link is of the right kind with other options.
    #[error("link {link} is {found}, not {expected}")]
    WrongOptions {
        /// Its name.
        link: String,
        /// What it should be, as `ip -d link` says it.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A bridge is promiscuous and should not be, or the reverse.
    #[error("bridge {link}: promiscuous mode is {found}, not {expected}")]
    Promiscuity {
        /// Its name.
        link: String,
        /// What it should be.
        expected: bool,
        /// What it is.
        found: bool,
    },
    /// A link is down.
    #[error("link {0} is down")]
    LinkDown(String),
    /// A link is no port of the bridge that it should be a port of.
    #[error("link {link} is not a port of {master}")]
    NotPort {
        /// Its name.
        link: String,
        /// The bridge.
        master: String,
    },
    /// A link lacks an address.
    #[error("link {link} does not have the address {address}")]
    AddressMissing {
        /// Its name.
        link: String,
        /// What it should have.
        address: ipnetwork::IpNetwork,
    },
    /// A route is gone.
    #[error("route {0} is missing")]
    RouteMissing(Box<Route>),
    /// A kernel parameter has another value.
    #[error("sysctl {name} is {found}, not {expected}")]
    Sysctl {
        /// Its name.
        name: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Some other thing is gone or different: the line that would make it.
    #[error("missing: {0}")]
    Missing(String),
    /// It could not be found out.
    #[error("{0}")]
    Unknown(String),
}

impl From<netlink::Error> for Deviation {
    fn from(error: netlink::Error) -> Self {
        Self::Unknown(error.to_string())
    }
}

/// A list of steps.
#[derive(Debug, Default)]
pub struct Plan {
    steps: Vec<Box<dyn Step>>,
}

impl Plan {
    /// A plan to do nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step at the end.
    pub fn push(&mut self, step: impl Step + 'static) {
        self.steps.push(Box::new(step));
    }

    /// Adds the steps of another plan at the end.
    pub fn extend(&mut self, other: Self) {
        self.steps.extend(other.steps);
    }

    /// The steps, to be put together anew.
    #[must_use]
    pub fn into_steps(self) -> Vec<Box<dyn Step>> {
        self.steps
    }

    /// Does everything in order, and records in `done` what was done, also when it fails.
    ///
    /// # Errors
    ///
    /// The first failure. The caller decides whether to undo what `done` holds.
    pub fn apply(self, machine: &mut Machine, done: &mut Applied) -> Result<(), Failure> {
        let mut batch = Batch::default();
        for step in self.steps {
            match step.request(machine) {
                Ok(Some((side, request))) => {
                    if batch.side != Some(side) {
                        batch.send(machine, done)?;
                    }
                    batch.side = Some(side);
                    batch.requests.push(request);
                    batch.steps.push(step);
                }
                Ok(None) => {
                    batch.send(machine, done)?;
                    step.apply(machine)?;
                    done.steps.push(step);
                }
                Err(failure) => {
                    batch.send(machine, done)?;
                    return Err(failure);
                }
            }
        }
        batch.send(machine, done)
    }

    /// Asks every step whether it still holds.
    ///
    /// # Errors
    ///
    /// The first deviation.
    pub fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        self.steps.iter().try_for_each(|step| step.check(machine))
    }
}

impl FromIterator<Box<dyn Step>> for Plan {
    fn from_iter<I: IntoIterator<Item = Box<dyn Step>>>(steps: I) -> Self {
        Self { steps: steps.into_iter().collect() }
    }
}

/// A line a step.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// Requests of neighbouring steps in one namespace.
#[derive(Default)]
struct Batch {
    side: Option<Side>,
    requests: Vec<Request>,
    steps: Vec<Box<dyn Step>>,
}

impl Batch {
    /// Sends what was collected and starts anew.
    fn send(&mut self, machine: &mut Machine, done: &mut Applied) -> Result<(), Failure> {
        let Self { side: Some(side), requests, steps } = std::mem::take(self) else { return Ok(()) };
        let outcomes = match machine.side(side).and_then(|handle| handle.exchange(&requests)) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // Nobody knows how far the kernel got, so undo them all.
                let failure = steps.first().map(|step| Failure::new(step, "talking to the kernel", &error));
                done.steps.extend(steps);
                return failure.map_or(Ok(()), Err);
            }
        };
        let mut result = Ok(());
        for (step, outcome) in steps.into_iter().zip(outcomes) {
            let verdict = outcome.map_or_else(|refusal| step.refused(refusal.into()), |_| Ok(()));
            match verdict {
                Ok(()) => done.steps.push(step),
                Err(failure) if result.is_ok() => result = Err(failure),
                Err(_) => {} // most likely a consequence of the first refusal
            }
        }
        result
    }
}

/// What has been done, in order.
#[derive(Debug, Default)]
pub struct Applied {
    steps: Vec<Box<dyn Step>>,
}

impl Applied {
    /// Takes everything back, the last step first, and goes on through failures, which it returns.
    #[must_use]
    pub fn undo(self, machine: &mut Machine) -> Vec<Failure> {
        self.steps.iter().rev().filter_map(|step| step.undo(machine).err()).collect()
    }
}

#[cfg(test)]
mod tests;
