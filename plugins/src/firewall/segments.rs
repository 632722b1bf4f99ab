//! Between what an ingress policy separates: the bridges of an attachment, as the result of the plugin before tells them.

use cni::result::{AddResult, Interface};
use cni::{Error, IfName, Owner};

use super::config::Policy;

/// The links in the host that the traffic of an attachment comes and goes by, and the attachment's own place on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    /// The bridge, which a policy can't do without.
    pub(super) bridge: String,
    /// The gateway of a VLAN on it. What is routed to and from the VLAN comes and goes by this link, not by the bridge.
    pub(super) gateway: Option<String>,
    /// The attachment's port of the bridge, if the result tells it.
    pub(super) port: Option<String>,
    /// What tells the attachment from others on the bridge: its port, or what would be its name.
    pub(super) place: String,
}

impl Segments {
    /// The segments of the attachment with this result, for a policy that needs them.
    ///
    /// # Errors
    ///
    /// When the result does not begin with a bridge, in the words of the Go suite.
    pub(super) fn required(previous: &AddResult, owner: &Owner, policy: Policy) -> Result<Self, Error> {
        // A link inside the container may have the name of one in the host, to which the policy would then apply.
        let Some(first) = previous.interfaces.first().filter(|first| first.sandbox.is_empty()) else {
            let text = format!(
                "interface needs to be set for ingress policy \"{}\", make sure to chain \"firewall\" plugin with \"bridge\"",
                policy.as_str()
            );
            return Err(Error::internal(text));
        };
        if first.name.is_empty() {
            return Err(Error::internal("got empty bridge name"));
        }
        if let Err(error) = first.name.parse::<IfName>() {
            return Err(Error::internal(format!("prevResult names a bridge that can't be: {error}")));
        }
        Ok(Self::of(previous, owner, &first.name))
    }

    /// The segments of the attachment with this result, if it has any.
    pub(super) fn known(previous: &AddResult, owner: &Owner) -> Option<Self> {
        let first = previous.interfaces.first()?;
        if first.name.is_empty() || !first.sandbox.is_empty() {
            return None;
        }
        Some(Self::of(previous, owner, &first.name))
    }

    fn of(previous: &AddResult, owner: &Owner, bridge: &str) -> Self {
        let in_host = |interface: &&Interface| interface.sandbox.is_empty() && interface.name != bridge;
        let names = || previous.interfaces.iter().filter(in_host).map(|interface| interface.name.as_str());
        let is_gateway = |name: &str| {
            let vid = name.strip_prefix(bridge).and_then(|rest| rest.strip_prefix('.'));
            vid.is_some_and(|vid| vid.parse::<u16>().is_ok())
        };
        let port = names().find(|name| !is_gateway(name)).map(str::to_owned);
        Self {
            bridge: bridge.to_owned(),
            gateway: names().find(|name| is_gateway(name)).map(str::to_owned),
            place: port.clone().unwrap_or_else(|| owner.host_veth(0)),
            port,
        }
    }

    /// The names of the links.
    pub(super) fn links(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.bridge.as_str()).chain(self.gateway.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner::new("n1".parse().unwrap(), "cid1".parse().unwrap(), "eth0".parse().unwrap())
    }

    fn result(interfaces: &[(&str, &str)]) -> AddResult {
        let interface = |(name, sandbox): &(&str, &str)| Interface {
            name: (*name).to_owned(),
            sandbox: (*sandbox).to_owned(),
            ..Interface::default()
        };
        AddResult { interfaces: interfaces.iter().map(interface).collect(), ..AddResult::default() }
    }

    #[test]
    fn the_bridge_comes_first_and_the_port_is_the_rest() {
        let plain = result(&[("cni0", ""), ("veth1", ""), ("eth0", "/run/netns/c1")]);
        let expected =
            Segments { bridge: "cni0".into(), gateway: None, port: Some("veth1".into()), place: "veth1".into() };
        assert_eq!(Segments::required(&plain, &owner(), Policy::Isolated), Ok(expected));
        let vlan = result(&[("cni0", ""), ("veth1", ""), ("eth0", "/run/netns/c1"), ("cni0.100", "")]);
        let segments = Segments::required(&vlan, &owner(), Policy::Isolated).unwrap();
        assert_eq!(segments.links().collect::<Vec<_>>(), ["cni0", "cni0.100"]);
        assert_eq!(segments.port.as_deref(), Some("veth1"));
    }

    /// Others may tell no more than the bridge, or have no bridge at all: then the link is the attachment's alone.
    #[test]
    fn without_a_port_there_is_still_a_name_for_it() {
        let alone = result(&[("veth7", ""), ("eth0", "/run/netns/c1")]);
        let segments = Segments::required(&alone, &owner(), Policy::SameBridge).unwrap();
        assert_eq!((segments.bridge.as_str(), segments.port, segments.place), ("veth7", None, owner().host_veth(0)));
    }

    #[test]
    fn results_without_a_bridge_are_refused_in_the_known_words() {
        let refusal = |interfaces: &[(&str, &str)]| {
            Segments::required(&result(interfaces), &owner(), Policy::SameBridge).unwrap_err().msg
        };
        for no_bridge in [&[][..], &[("eth0", "/run/netns/c1")]] {
            assert_eq!(
                refusal(no_bridge),
                "interface needs to be set for ingress policy \"same-bridge\", make sure to chain \"firewall\" plugin \
                 with \"bridge\""
            );
        }
        assert_eq!(refusal(&[("", "")]), "got empty bridge name");
        assert!(refusal(&[("a name that is too long", "")]).starts_with("prevResult names a bridge that can't be: "));
        assert_eq!(Segments::known(&result(&[]), &owner()), None);
    }
}
