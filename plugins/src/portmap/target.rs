//! Where mapped ports lead: the container, and what is known of it.

use std::net::IpAddr;

use cni::result::{AddResult, IpConfig};
use cni::{Code, Error, Owner};
use ipnetwork::IpNetwork;

use super::config::{Config, Mapping};

/// The container of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The attachment.
    pub(super) owner: Owner,
    /// Its first address of each family, where it has one, with the length of its network's prefix.
    pub(super) ips: Vec<IpNetwork>,
    /// The link of the host that leads to it and to nobody else, if the result of its ADD names one. It is gone when the
    /// attachment is, however that came about.
    pub(super) dev: Option<String>,
}

impl Target {
    /// The container as the plugins before this one describe it.
    pub(super) fn of(owner: Owner, previous: &AddResult) -> Self {
        let ifname = owner.ifname.as_str();
        let first = |is_ipv6: bool| {
            let mut mine = previous.ips.iter().filter(|ip| is_container(previous, ip, ifname));
            mine.find(|ip| ip.address.is_ipv6() == is_ipv6).map(|ip| ip.address)
        };
        let ips = [first(false), first(true)].into_iter().flatten().collect();
        let dev = host_link(previous, ifname);
        Self { owner, ips, dev }
    }

    /// Its address of a family.
    pub(super) fn ip(&self, is_ipv6: bool) -> Option<IpNetwork> {
        self.ips.iter().copied().find(|ip| ip.is_ipv6() == is_ipv6)
    }

    /// Whether the address is its own.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.ips.iter().any(|ip| ip.ip() == address)
    }

    /// The addresses of the mapping's families.
    pub(super) fn serving<'a>(&'a self, mapping: &'a Mapping) -> impl Iterator<Item = IpNetwork> + 'a {
        self.ips.iter().copied().filter(|ip| mapping.is_for(ip.is_ipv6()))
    }

    /// What says whose a thing is. Behind the hashes, which tell, are words for people; the link comes first of them,
    /// because it is needed, and what is too long for a comment is cut.
    pub(super) fn tag(&self) -> String {
        let Some(dev) = &self.dev else { return self.owner.tag() };
        let Owner { net, id, ifname } = &self.owner;
        let prefix = self.owner.tag_prefix();
        format!("{prefix}, dev: {dev}, net: {net}, if: {ifname}, id: {id}").replace('"', "")
    }

    /// Refuses mappings of a certain address of the host that no address of the container can serve: they are asked for,
    /// and would never work. One of any address (`::`) is left out instead, since runtimes ask for both families without
    /// knowing what the container has.
    pub(super) fn refuse_unreachable(&self, config: &Config) -> Result<(), Error> {
        let lost = config.mappings.iter().find(|mapping| self.serving(mapping).next().is_none());
        let Some((ip, port)) = lost.and_then(|mapping| Some((mapping.specific_ip()?, mapping.host_port))) else {
            return Ok(());
        };
        let family = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
        let text = format!("hostIP {ip} of host port {port} is an {family} address, and the container has none");
        Err(Error::new(Code::INVALID_CONFIG, text))
    }
}

/// Whether an address is the container's: on its interface, or on none in particular.
fn is_container(previous: &AddResult, ip: &IpConfig, ifname: &str) -> bool {
    let interface = ip.interface.and_then(|index| previous.interfaces.get(index));
    interface.is_none_or(|interface| interface.name == ifname && !interface.sandbox.is_empty())
}

/// The link of the host that stands before the container's interface: bridge plugins list the bridge, the host's end and
/// the container's end in this order, others have no bridge. Plugins behind them append.
fn host_link(previous: &AddResult, ifname: &str) -> Option<String> {
    let interfaces = &previous.interfaces;
    let at = interfaces.iter().position(|interface| interface.name == ifname && !interface.sandbox.is_empty())?;
    let before = interfaces[..at].last()?;
    (before.sandbox.is_empty() && !before.name.is_empty()).then(|| before.name.clone())
}

/// What a tag says about its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claimant<'a> {
    /// The link of the host that lives as long as the attachment does.
    pub(super) dev: Option<&'a str>,
    net: Option<&'a str>,
    ifname: Option<&'a str>,
    id: Option<&'a str>,
}

impl<'a> Claimant<'a> {
    /// Takes a tag apart. Names have no `, `, and the last of them may be cut.
    pub(super) fn parse(tag: &'a str) -> Self {
        let mut claimant = Self::default();
        for word in tag.split(", ").skip(1) {
            match word.split_once(": ") {
                Some(("dev", dev)) => claimant.dev = Some(dev),
                Some(("net", net)) => claimant.net = Some(net),
                Some(("if", ifname)) => claimant.ifname = Some(ifname),
                Some(("id", id)) => claimant.id = Some(id),
                _ => {}
            }
        }
        claimant
    }

    /// The attachment, for people.
    pub(super) fn attachment(&self) -> Option<String> {
        let (net, ifname, id) = (self.net?, self.ifname.unwrap_or("?"), self.id.unwrap_or("?"));
        Some(format!("container {id} ({ifname}) in network {net}"))
    }

    /// How to get rid of it.
    pub(super) fn advice(&self) -> String {
        match self.net {
            Some(net) => format!("DEL that attachment, or GC network {net} if the container is gone"),
            None => "delete that element if nobody needs it".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(json: &str) -> AddResult {
        let document: serde_json::Value = serde_json::from_str(json).unwrap();
        AddResult::parse(&document, cni::Version::V1_0_0).unwrap()
    }

    fn owner() -> Owner {
        Owner::new("n1".parse().unwrap(), "cid1".parse().unwrap(), "eth0".parse().unwrap())
    }

    fn target(interfaces: &str, ips: &str) -> Target {
        let json = format!(r#"{{"cniVersion": "1.0.0", "interfaces": [{interfaces}], "ips": [{ips}]}}"#);
        Target::of(owner(), &result(&json))
    }

    const BRIDGED: &str = r#"{"name": "cni0"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/c"}"#;

    #[test]
    fn the_first_address_of_each_family_counts() {
        let ips = |list: &str| {
            let found = target(BRIDGED, list).ips;
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let both = r#"{"interface": 2, "address": "10.0.0.2/24"}, {"interface": 2, "address": "10.0.0.3/24"},
                      {"interface": 2, "address": "fd00::2/64"}"#;
        assert_eq!(ips(both), ["10.0.0.2/24", "fd00::2/64"]);
        assert_eq!(ips(r#"{"address": "10.0.0.2/24"}"#), ["10.0.0.2/24"]);
        assert_eq!(ips(r#"{"interface": 9, "address": "10.0.0.2/24"}"#), ["10.0.0.2/24"]);
        // Of the host, not of the container.
        assert_eq!(
            ips(r#"{"interface": 1, "address": "10.0.0.2/24"}, {"interface": 0, "address": "fd00::2/64"}"#),
            [""; 0]
        );
        assert_eq!(
            ips(r#"{"interface": 0, "address": "10.0.0.1/24"}, {"interface": 2, "address": "10.0.0.2/24"}"#),
            ["10.0.0.2/24"]
        );
    }

    #[test]
    fn the_link_before_the_containers_is_its_own() {
        let dev = |interfaces: &str| target(interfaces, "").dev;
        assert_eq!(dev(BRIDGED).as_deref(), Some("veth1"));
        assert_eq!(
            dev(r#"{"name": "veth1"}, {"name": "eth0", "sandbox": "/c"}, {"name": "ifb1"}"#).as_deref(),
            Some("veth1")
        );
        assert_eq!(dev(r#"{"name": "eth0", "sandbox": "/c"}"#), None);
        assert_eq!(dev(r#"{"name": "eth1", "sandbox": "/c"}, {"name": "eth0", "sandbox": "/c"}"#), None);
        assert_eq!(dev(""), None);
    }

    #[test]
    fn tags_tell_the_link_and_read_back() {
        let mut target = target(BRIDGED, "");
        assert_eq!(target.tag(), "43d91f8451058a70-0b65a318f52e521b, dev: veth1, net: n1, if: eth0, id: cid1");
        let tag = target.tag();
        let claimant = Claimant::parse(&tag);
        assert_eq!(claimant.dev, Some("veth1"));
        assert_eq!(claimant.attachment().as_deref(), Some("container cid1 (eth0) in network n1"));
        target.dev = None;
        assert_eq!(target.tag(), target.owner.tag());
        assert_eq!(Claimant::parse("an administrator's"), Claimant::default());
    }

    #[test]
    fn a_family_that_the_container_lacks() {
        let refused = |host_ip: &str| {
            let target = target(BRIDGED, r#"{"interface": 2, "address": "10.0.0.2/24"}"#);
            let mapping = Mapping {
                host_port: 8080,
                container_port: 80,
                protocol: super::super::config::Protocol::Tcp,
                host_ip: (!host_ip.is_empty()).then(|| host_ip.parse().unwrap()),
            };
            let (stderr, _) = cni::plugin::Stderr::buffered();
            let call = cni::plugin::Call::new(br#"{"name": "n1"}"#.to_vec(), Vec::new(), stderr).unwrap();
            let config = Config { mappings: vec![mapping], ..Config::load(&call).unwrap() };
            target.refuse_unreachable(&config).err().map(|error| error.msg)
        };
        for fine in ["", "0.0.0.0", "::", "192.0.2.1", "127.0.0.1"] {
            assert_eq!(refused(fine), None, "{fine}");
        }
        let expected = "hostIP 2001:db8::1 of host port 8080 is an IPv6 address, and the container has none";
        assert_eq!(refused("2001:db8::1").as_deref(), Some(expected));
    }
}
