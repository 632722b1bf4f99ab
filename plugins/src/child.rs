//! The container's link when it is all that there is: macvlan, ipvlan, VLAN, dummy.

use cni::result::{AddResult, Interface};
use cni::{Code, Error};
use kernel::link::{Kind, NewChild};
use kernel::plan::{CreateChild, Deviation, Machine, Plan, Reachable, Running, Setting, Side, Step, Sysctls};
use nix::errno::Errno;

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
    /// It tells its IPv6 neighbours when it comes up, because they may know its addresses from another link.
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
        let neighbours = if self.parent.is_some() { Neighbours::OnLink } else { Neighbours::Nobody };
        plan.extend(container::configure(&self.link.name, result, Dad::Off, neighbours)?);
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

/// How a plugin words what CHECK finds. Callers know the words of the Go suite, whose plugins differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// As most of them.
    Plain,
    /// What is said of the link's presence and address begins with the plugin's name.
    Named(&'static str),
    /// All begins with a small letter.
    Small,
}

impl Words {
    /// What the container's link is not any more.
    #[must_use]
    pub fn of(self, deviation: Deviation) -> Error {
        let (error, about_link) = match deviation {
            Deviation::LinkMissing(link) => {
                (Error::internal(format!("Container Interface name in prevResult: {link} not found")), true)
            }
            wrong @ Deviation::WrongMac { .. } => (from_deviation(wrong), true),
            other => (from_deviation(other), false),
        };
        match self {
            Self::Named(plugin) if about_link => Error::internal(format!("{plugin}: {}", error.msg)),
            Self::Small => small(error),
            _ => error,
        }
    }
}

fn small(mut error: Error) -> Error {
    if let Some(first) = error.msg.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    error
}

/// Checks the link of a previous result: that it is of `kind`, has the address, is up, and has the result's addresses and
/// routes. `wrong_options` words a link of the same kind with other options.
///
/// # Errors
///
/// What does not hold.
pub fn check(
    request: &Request<'_>,
    (kind, words): (Kind, Words),
    previous: &AddResult,
    machine: &mut Machine,
    wrong_options: impl Fn(Option<Kind>) -> Error,
) -> Result<(), Error> {
    let in_words = |error| if words == Words::Small { small(error) } else { error };
    let mine = container::recorded(previous, request.attachment).map_err(in_words)?;
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
        other => words.of(other),
    })?;
    container::check_up(machine, &name)?;
    container::check(machine, &name, previous)
}

/// Whether a link of `kind` could be made on the link `parent`: by code 50 if not. Without a `parent` that is not asked.
///
/// # Errors
///
/// Why not.
pub fn status(kind: Kind, parent: Option<(&str, i64)>) -> Result<(), Error> {
    let unavailable = |text: String| Error::new(Code::PLUGIN_NOT_AVAILABLE, text);
    let mut machine = Machine::host_only();
    let refusal = machine.host().and_then(|host| host.call(kind.probe()));
    let name = kind.as_str();
    match refusal.err().map(|error| (error.errno(), error)) {
        Some((Some(Errno::EOPNOTSUPP), error)) => {
            return Err(unavailable(format!("the kernel makes no links of type {name}: {error}"))
                .with_details(format!("load the module {name}, or a kernel that has it")));
        }
        Some((Some(Errno::EPERM), error)) => return Err(unavailable(format!("links can't be made: {error}"))),
        _ => {}
    }
    let Some((parent, mtu)) = parent else { return Ok(()) };
    let parent = Parent::find(&mut machine, false, parent).and_then(|parent| parent.mtu(mtu));
    parent.map(drop).map_err(|error| Error { code: Code::PLUGIN_NOT_AVAILABLE, ..error })
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
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::thread;

    use cni::plugin::{Call, Stderr};
    use cni::result::IpConfig;
    use kernel::link::{Ipvlan, Link, Macvlan};
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::injection;

    fn child(kind: Kind) -> Child<'static> {
        let mtu = (kind != Kind::Dummy).then_some(1400);
        let link = NewChild { name: "eth0".into(), kind, mtu, mac: None };
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
            (Kind::Dummy, "[container] ip link add name eth0 type dummy\n".to_owned()),
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

    fn everything(kind: Kind) -> Plan {
        let ip = |address: &str, gateway: &str| IpConfig {
            interface: Some(0),
            address: address.parse().unwrap(),
            gateway: gateway.parse().ok(),
        };
        let child = child(kind);
        let result = AddResult {
            interfaces: child.interfaces(),
            ips: vec![ip("10.1.0.2/24", "10.1.0.1"), ip("fd00::2/64", "fd00::1")],
            routes: vec![cni::result::Route::new("0.0.0.0/0".parse().unwrap(), None)],
            ..AddResult::default()
        };
        let mut whole = child.links();
        whole.extend(child.addresses(&result).unwrap());
        whole.extend(child.ready(&result));
        whole
    }

    fn parent() {
        let commands = "link add up0 type veth peer name far\nlink set far up\nlink set up0 up\n";
        let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        ip.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success());
    }

    fn nothing_is_left_of(kind: Kind) {
        injection::at_every_step_on(parent, move || everything(kind));
        let traces = &["eth0", "10.1.0.2/24", "fd00::2/64", "default via 10.1.0.1"];
        injection::shows_on(parent, move || everything(kind), traces);
    }

    #[test]
    fn nothing_is_left_of_a_macvlan_whatever_step_fails() {
        nothing_is_left_of(Kind::Macvlan(Macvlan::Private, Some(2000)));
    }

    #[test]
    #[ignore = "needs the virtual machine: make test-vm"]
    fn nothing_is_left_of_the_others_whatever_step_fails() {
        [Kind::Ipvlan(Ipvlan::L2), Kind::Vlan(100), Kind::Dummy].into_iter().for_each(nothing_is_left_of);
    }

    /// A kernel says so either way; macvlan is in that of any machine with containers.
    #[test]
    fn status_asks_the_kernel_for_the_kind() {
        let test = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            parent();
            let macvlan = Kind::Macvlan(Macvlan::Bridge, None);
            assert_eq!(status(macvlan, Some(("up0", 1500))), Ok(()));
            let refused = |parent, mtu| status(macvlan, Some((parent, mtu))).unwrap_err();
            assert_eq!(refused("zork", 0).code, Code::PLUGIN_NOT_AVAILABLE);
            assert_eq!(refused("up0", 9000).msg, "invalid MTU 9000, must be [0, master MTU(1500)]");
            assert_eq!(refused("", 0).msg, "no default route interface found");
            for kind in [Kind::Ipvlan(Ipvlan::L2), Kind::Vlan(5), Kind::Dummy] {
                let answer = status(kind, None);
                let expected = format!("the kernel makes no links of type {}: ", kind.as_str());
                assert!(answer.is_ok() || answer.unwrap_err().msg.starts_with(&expected));
            }
            let links = Command::new("ip").args(["-brief", "link"]).output().unwrap();
            assert_eq!(String::from_utf8(links.stdout).unwrap().lines().count(), 3, "asking makes nothing");
        });
        test.join().unwrap();
    }

    #[test]
    fn each_plugin_has_its_words() {
        let missing = || Deviation::LinkMissing("eth0".into());
        let kind = || Deviation::WrongKind { link: "eth0".into(), expected: "macvlan".into() };
        let text = "Container Interface name in prevResult: eth0 not found";
        assert_eq!(Words::Plain.of(missing()).msg, text);
        assert_eq!(Words::Named("vlan").of(missing()).msg, format!("vlan: {text}"));
        assert_eq!(Words::Small.of(missing()).msg, text.replace("Container", "container"));
        assert_eq!(Words::Small.of(kind()).msg, "error: Container interface eth0 not of type macvlan");
        assert_eq!(Words::Named("vlan").of(kind()).msg, "Error: Container interface eth0 not of type macvlan");
    }

    /// A call of the plugin `kind` with these keys in its configuration.
    pub(crate) fn call(kind: &str, keys: &str) -> Call {
        let (stderr, _) = Stderr::buffered();
        let document = format!(r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "{kind}", {keys}}}"#);
        Call::new(document.into_bytes(), Vec::new(), stderr).unwrap()
    }
}
