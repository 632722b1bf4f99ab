//! The container's link when it is all that there is: macvlan, ipvlan, VLAN, dummy.

use cni::Error;
use cni::result::{AddResult, Interface};
use kernel::link::{Kind, NewChild};
use kernel::plan::{CreateChild, Deviation, Machine, Plan, Reachable, Running, SetUp, Setting, Side, Step, Sysctls};

use crate::container::{self, Dad, Neighbours};
use crate::error::{attempt, from_deviation};
use crate::lifecycle::{Request, Wiring};
use crate::parent::Parent;

/// A link about to be made.
#[derive(Clone, Debug)]
pub struct Child<'a> {
    /// The link.
    pub link: NewChild,
    /// What it is on.
    pub parent: Option<Parent>,
    /// It tells its neighbours when it comes up, because they may know its addresses from another link.
    pub announces: bool,
    /// The container's namespace, as the runtime called it.
    pub sandbox: &'a str,
}

impl Wiring for Child<'_> {
    fn links(&self) -> Plan {
        let mut plan = Plan::new();
        let parent = self.parent.as_ref().map(|parent| (parent.side, parent.link.name.clone()));
        plan.push(CreateChild { link: self.link.clone(), parent });
        plan
    }

    /// The only interface. What is not decided beforehand is read from the kernel at the end.
    fn interfaces(&self) -> Vec<Interface> {
        let (name, sandbox) = (self.link.name.clone(), self.sandbox.to_owned());
        vec![Interface { name, sandbox, ..Interface::default() }]
    }

    fn addresses(&self, result: &AddResult) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        if self.announces {
            let announce = Setting::wish(format!("net/ipv6/conf/{}/ndisc_notify", self.link.name), "1");
            plan.push(Sysctls { side: Side::Container, settings: vec![announce] });
        }
        plan.extend(container::configure(&self.link.name, result, Dad::Off, Neighbours::OnLink)?);
        Ok(plan)
    }

    /// On a parent without a carrier there is nothing to wait for.
    fn ready(&self, result: &AddResult) -> Plan {
        let mut plan = Plan::new();
        if self.parent.as_ref().is_some_and(|parent| !parent.link.running) {
            return plan;
        }
        if self.parent.is_some() {
            plan.push(Running { side: Side::Container, link: self.link.name.clone() });
        }
        for ip in result.ips.iter().filter(|ip| ip.address.is_ipv6()) {
            plan.push(Reachable { side: Side::Container, address: ip.address.ip() });
        }
        plan
    }
}

/// Refuses an ADD whose name is taken in the container, before anything is made.
///
/// # Errors
///
/// That it is, in the words in which the Go suite fails later.
pub fn refuse_taken(request: &Request<'_>, failure: &str, machine: &mut Machine) -> Result<(), Error> {
    let found = machine.side(Side::Container).and_then(|side| side.link(request.attachment.ifname.as_str()));
    match found.map_err(|error| attempt("look at the links", error))? {
        Some(link) => Err(Error::internal(format!("{failure}: file exists")).with_details(format!(
            "the container has a link {} already{}",
            link.name,
            link.kind.map_or_else(String::new, |kind| format!(", of type {kind}"))
        ))),
        None => Ok(()),
    }
}

/// Checks the link of a previous result: that it is of `kind`, has the address, is up, and has the result's addresses and
/// routes. `wrong_options` words a link of the same kind with other options.
///
/// # Errors
///
/// What does not hold.
pub fn check(
    request: &Request<'_>,
    kind: Kind,
    previous: &AddResult,
    machine: &mut Machine,
    wrong_options: impl Fn(Option<Kind>) -> Error,
) -> Result<(), Error> {
    let mine = container::recorded(previous, request.attachment)?;
    let name = mine.name.clone();
    let mac = match mine.mac.as_str() {
        "" => None,
        written => Some(written.parse().map_err(|error| attempt("prevResult", error))?),
    };
    let step = CreateChild { link: NewChild { name: name.clone(), kind, mtu: None, mac }, parent: None };
    step.check(machine).map_err(|deviation| match deviation {
        Deviation::WrongOptions { .. } => {
            let found = machine.side(Side::Container).and_then(|side| side.link(&name)).ok().flatten();
            wrong_options(found.and_then(|link| link.child))
        }
        other => from_deviation(other),
    })?;
    container::check(machine, &name, previous)?;
    SetUp { side: Side::Container, link: name }.check(machine).map_err(from_deviation)
}

/// Checks that the link has the MTU `mtu`, if that is one.
///
/// # Errors
///
/// That it has another, in the words of the Go suite.
pub fn check_mtu(request: &Request<'_>, mtu: Option<u32>, machine: &mut Machine) -> Result<(), Error> {
    let ifname = &request.attachment.ifname;
    let found = machine.side(Side::Container).and_then(|side| side.link(ifname.as_str()));
    let found = found.map_err(|error| attempt("look at the links", error))?;
    match (mtu, found) {
        (Some(wanted), Some(link)) if link.mtu != wanted => Err(Error::internal(format!(
            "Error: Tuning configured MTU of {ifname} is {wanted}, current value is {}",
            link.mtu
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use cni::plugin::{Call, Stderr};
    use cni::result::IpConfig;
    use kernel::link::{Ipvlan, Link, Macvlan};

    use super::*;

    fn child(kind: Kind) -> Child<'static> {
        let link = NewChild { name: "eth0".into(), kind, mtu: Some(1400), mac: None };
        let parent = Parent { side: Side::Host, link: Link { name: "up0".into(), running: true, ..Link::default() } };
        let parent = (kind != Kind::Dummy).then_some(parent);
        Child { link, parent, announces: true, sandbox: "/run/netns/c1" }
    }

    #[test]
    fn plans_print_as_commands() {
        let line = |kind| child(kind).links().to_string();
        let on = "ip link add link up0 name eth0 mtu 1400 netns [container] type";
        for (kind, expected) in [
            (Kind::Macvlan(Macvlan::Bridge, Some(9)), format!("{on} macvlan mode bridge bcqueuelen 9\n")),
            (Kind::Ipvlan(Ipvlan::L3s), format!("{on} ipvlan mode l3s\n")),
            (Kind::Vlan(100), format!("{on} vlan id 100\n")),
            (Kind::Dummy, "[container] ip link add name eth0 mtu 1400 type dummy\n".to_owned()),
        ] {
            assert_eq!(line(kind), expected);
        }
    }

    #[test]
    fn a_parent_without_a_carrier_is_not_waited_for() {
        let mut child = child(Kind::Vlan(5));
        let ips = vec![IpConfig { interface: Some(0), address: "fd00::2/64".parse().unwrap(), gateway: None }];
        let result = AddResult { ips, ..AddResult::default() };
        assert_ne!(child.ready(&result).to_string(), "");
        child.parent.iter_mut().for_each(|parent| parent.link.running = false);
        assert_eq!(child.ready(&result).to_string(), "");
    }

    /// A call of the plugin `kind` with these keys in its configuration.
    pub(crate) fn call(kind: &str, keys: &str) -> Call {
        let (stderr, _) = Stderr::buffered();
        let document = format!(r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "{kind}", {keys}}}"#);
        Call::new(document.into_bytes(), Vec::new(), stderr).unwrap()
    }
}
