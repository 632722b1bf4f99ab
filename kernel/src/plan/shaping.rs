//! Limits on the rates of links, as steps.

use std::fmt;

use super::{Deviation, Failure, Machine, Side, Step};
use crate::link::{self, Link, NewIfb};
use crate::netlink::{Error, Refusal, Request};
use crate::tc::{self, Bucket, Mismatch};

/// Makes sure of an intermediate functional block that belongs to the attachment; down when it is new.
///
/// It is known by its alias or, in the moment before it has one, by its hardware address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsureIfb {
    /// What to make when it is not there.
    pub ifb: NewIfb,
    /// Whose it is: the alias that it gets by [`SetAlias`].
    pub alias: String,
    /// The index of one without alias that is known to belong to the attachment all the same.
    pub adopted: Option<u32>,
}

impl EnsureIfb {
    /// Whether a link is the attachment's.
    #[must_use]
    pub fn owns(&self, link: &Link) -> bool {
        let by_hand = || link.mac == Some(self.ifb.mac) || self.adopted == Some(link.index);
        link.is("ifb") && link.alias.as_ref().map_or_else(by_hand, |alias| *alias == self.alias)
    }

    fn ensure(&self, machine: &mut Machine) -> Result<(), Error> {
        let name = &self.ifb.name;
        let host = machine.host()?;
        let mut outcomes = host.exchange(&[self.ifb.request(), link::get(name)])?.into_iter();
        let made = outcomes.next().unwrap_or(Ok(Vec::new()));
        let found = outcomes.next().unwrap_or(Ok(Vec::new())).map_err(Error::from);
        let found = found.and_then(|frames| Link::from_frames(&frames)).map(|links| links.into_iter().next());
        match (made, found) {
            (Ok(_), Ok(Some(link))) => machine.remember(Side::Host, &link),
            (Ok(_), other) => {
                let _ = host.call(link::del(name));
                return Err(other.err().unwrap_or_else(|| Error::Malformed("no answer about a new link".into())));
            }
            (Err(refusal), Ok(Some(link))) if is_exists(&refusal) && self.owns(&link) => {
                machine.remember(Side::Host, &link);
                if link.mtu != self.ifb.mtu {
                    machine.host()?.call(self.ifb.resize())?;
                }
            }
            (Err(refusal), _) => return Err(refusal.into()),
        }
        Ok(())
    }
}

fn is_exists(refusal: &Refusal) -> bool {
    refusal.errno == nix::errno::Errno::EEXIST
}

impl fmt::Display for EnsureIfb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NewIfb { name, mac, mtu } = &self.ifb;
        write!(f, "ip link add {name} address {mac} mtu {mtu} txqueuelen 0 type ifb")
    }
}

impl Step for EnsureIfb {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, "adding link", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.ensure(machine).or_else(|error| self.refused(error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let name = &self.ifb.name;
        match machine.host()?.link(name)? {
            Some(link) if link.is("ifb") => {
                machine.remember(Side::Host, &link);
                Ok(())
            }
            Some(_) => Err(Deviation::WrongKind { link: name.clone(), expected: "ifb".into() }),
            None => Err(Deviation::LinkMissing(name.clone())),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let name = &self.ifb.name;
        machine.forget(Side::Host, name);
        match machine.host().and_then(|host| host.call(link::del(name))) {
            Err(error) if !error.is_not_found() => {
                Err(Failure::new(self, format_args!("failed to delete \"{name}\""), &error))
            }
            _ => Ok(()),
        }
    }
}

/// Says on a link of the host whose it is. Not undone: the link goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAlias {
    /// Its name.
    pub link: String,
    /// `ifalias`.
    pub alias: String,
}

impl fmt::Display for SetAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip link set {} alias \"{}\"", self.link, self.alias)
    }
}

impl Step for SetAlias {
    fn request(&self, _: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        Ok(Some((Side::Host, link::set_alias(&self.link, &self.alias))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to set the alias of \"{}\"", self.link), &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        match machine.host()?.link(&self.link)? {
            Some(link) if link.alias.as_ref() == Some(&self.alias) => Ok(()),
            Some(_) => Err(Deviation::Missing(self.to_string())),
            None => Err(Deviation::LinkMissing(self.link.clone())),
        }
    }
}

/// Limits what a link of the host sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name.
    pub link: String,
    /// The limit.
    pub bucket: Bucket,
    /// What stands before the kernel's refusal.
    pub attempt: &'static str,
}

/// What is not as [`Limit`] left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlimited {
    /// The root of the link is no token bucket filter; what it is, if anything.
    Absent(Option<String>),
    /// It has another number.
    Other(Mismatch),
}

impl Limit {
    /// Compares with what is there.
    ///
    /// # Errors
    ///
    /// When the link is not there, or can't be asked.
    pub fn compare(&self, machine: &mut Machine) -> Result<Option<Unlimited>, Error> {
        let index = machine.index(Side::Host, &self.link)?;
        let outcome = machine.host()?.exchange(&[tc::get_root(index)])?.pop();
        let root = match outcome.map(|outcome| outcome.map_err(Error::from)) {
            Some(Ok(frames)) => tc::root(&frames),
            Some(Err(error)) if !tc::is_not_there(&error) => return Err(error),
            _ => None,
        };
        Ok(match root.as_ref().and_then(|root| root.tbf) {
            Some(found) => self.bucket.mismatch(&found).map(Unlimited::Other),
            None => Some(Unlimited::Absent(root.map(|root| root.kind))),
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bucket { rate, burst, latency } = self.bucket;
        let link = &self.link;
        write!(f, "tc qdisc add dev {link} root handle 1: tbf rate {rate}bps burst {burst} latency {latency}ms")
    }
}

impl Step for Limit {
    fn request(&self, machine: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let index = machine.index(Side::Host, &self.link).map_err(|error| Failure::new(self, self.attempt, &error))?;
        Ok(Some((Side::Host, tc::set_bucket(index, &self.bucket))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, self.attempt, &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        match self.compare(machine)? {
            None => Ok(()),
            Some(_) => Err(Deviation::Missing(self.to_string())),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        remove(self, machine, &self.link, tc::del_bucket)
    }
}

/// Redirects what a link of the host receives to another: the place where it arrives, and the filter there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The name of the link that receives.
    pub from: String,
    /// The name of the link to send to.
    pub to: String,
}

/// The place on a link of the host where what it receives arrives. Undoing it removes all filters there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The link's name.
    pub link: String,
}

impl fmt::Display for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tc qdisc add dev {} ingress", self.link)
    }
}

impl Step for Ingress {
    fn request(&self, machine: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let index = machine.index(Side::Host, &self.link);
        let index = index.map_err(|error| Failure::new(self, "get host device", &error))?;
        Ok(Some((Side::Host, tc::set_ingress(index))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, "create ingress qdisc", &error))
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(()) // without it there is no filter, for which Redirect looks
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        remove(self, machine, &self.link, tc::del_ingress)
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(
            f,
            "tc filter replace dev {from} parent ffff: handle 800::800 protocol all prio 1 \
             u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev {to}"
        )
    }
}

impl Step for Redirect {
    fn request(&self, machine: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let from = machine.index(Side::Host, &self.from);
        let from = from.map_err(|error| Failure::new(self, "get host device", &error))?;
        let to = machine.index(Side::Host, &self.to);
        let to = to.map_err(|error| Failure::new(self, "get ifb device", &error))?;
        Ok(Some((Side::Host, tc::redirect(from, to))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, "add filter", &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let lookup = |machine: &mut Machine, link: &String| match machine.index(Side::Host, link) {
            Err(error) if error.is_not_found() => Err(Deviation::LinkMissing(link.clone())),
            other => other.map_err(Deviation::from),
        };
        let (from, to) = (lookup(machine, &self.from)?, lookup(machine, &self.to)?);
        let targets = machine.host()?.redirections(from)?;
        if targets.first() == Some(&to) { Ok(()) } else { Err(Deviation::Missing(self.to_string())) }
    }

    // Not undone: it goes with `Ingress`.
}

/// Removes something by the request that `del` makes of a link's index. What is gone is fine.
fn remove(step: &dyn fmt::Display, machine: &mut Machine, link: &str, del: fn(u32) -> Request) -> Result<(), Failure> {
    let Ok(index) = machine.index(Side::Host, link) else { return Ok(()) };
    match machine.host().and_then(|host| host.call(del(index))) {
        Err(error) if !tc::is_not_there(&error) => {
            Err(Failure::new(step, format_args!("failed to remove the limits of \"{link}\""), &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
