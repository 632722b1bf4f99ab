//! An attachment as a runtime calls the plugin about it.

use std::ffi::OsString;

use cni::plugin::Stderr;

use super::*;

/// An attachment of network `n1` in namespace `/run/netns/ID`, with a port `v-ID` on a bridge.
#[derive(Clone, Debug)]
pub(super) struct Fixture {
    pub(super) net: String,
    pub(super) id: String,
    /// The rest of the configuration: `"backend": "nftables", "ingressPolicy": "isolated"`.
    pub(super) config: String,
    pub(super) bridge: String,
    pub(super) ips: Vec<String>,
    /// Where the environment says that the system bus is.
    pub(super) bus: Option<String>,
}

/// One of the ways in which an attachment goes.
pub(super) type Deletion = fn(&Fixture) -> Result<(), Error>;

impl Fixture {
    pub(super) fn new(id: &str, bridge: &str, ips: &[&str], config: &str) -> Self {
        Self {
            net: "n1".to_owned(),
            id: id.to_owned(),
            config: config.to_owned(),
            bridge: bridge.to_owned(),
            ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
            bus: None,
        }
    }

    pub(super) fn in_network(mut self, net: &str) -> Self {
        self.net = net.to_owned();
        self
    }

    pub(super) fn on_bus(mut self, address: &str) -> Self {
        self.bus = Some(address.to_owned());
        self
    }

    pub(super) fn attachment(&self) -> Attachment {
        Attachment {
            container_id: self.id.parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
            netns: format!("/run/netns/{}", self.id),
            args: String::new(),
        }
    }

    pub(super) fn owner(&self) -> Owner {
        self.attachment().owner(&self.net.parse().unwrap())
    }

    /// The host's end of its veth pair.
    pub(super) fn port(&self) -> String {
        let network = if self.net == "n1" { "v" } else { &self.net };
        format!("{network}-{}", self.id)
    }

    /// The result of the bridge plugin.
    fn previous(&self) -> String {
        let Self { bridge, id, .. } = self;
        let port = self.port();
        let ips: Vec<String> = self.ips.iter().map(|ip| format!(r#"{{"address": "{ip}", "interface": 2}}"#)).collect();
        format!(
            r#"{{"cniVersion": "1.1.0", "ips": [{}], "interfaces": [{{"name": "{bridge}"}}, {{"name": "{port}"}},
               {{"name": "eth0", "sandbox": "/run/netns/{id}"}}]}}"#,
            ips.join(", ")
        )
    }

    /// A call with this as its previous result; none if empty.
    pub(super) fn call_with(&self, previous: &str) -> Call {
        let Self { net, config, .. } = self;
        let mut document = format!(r#"{{"cniVersion": "1.1.0", "name": "{net}", "type": "firewall""#);
        for (key, value) in [("", config.as_str()), (r#""prevResult": "#, previous)] {
            if !value.is_empty() {
                document.push_str(&format!(", {key}{value}"));
            }
        }
        document.push('}');
        let env = self.bus.iter().map(|bus| (OsString::from(BUS_ADDRESS), OsString::from(bus))).collect();
        Call::new(document.into_bytes(), env, Stderr::buffered().0).unwrap()
    }

    pub(super) fn call(&self) -> Call {
        self.call_with(&self.previous())
    }

    pub(super) fn add(&self) -> Result<AddResult, Error> {
        Firewall.add(&self.call(), &self.attachment())
    }

    /// What CHECK finds wrong.
    pub(super) fn check(&self) -> Option<String> {
        Firewall.check(&self.call(), &self.attachment()).err().map(|error| error.msg)
    }

    pub(super) fn del(&self) -> Result<(), Error> {
        Firewall.del(&self.call(), &self.attachment())
    }

    /// DEL as a runtime calls it that has lost the result.
    pub(super) fn del_without_result(&self) -> Result<(), Error> {
        Firewall.del(&self.call_with(""), &self.attachment())
    }

    pub(super) fn status(&self) -> Result<(), Error> {
        Firewall.status(&self.call_with(""))
    }

    /// GC of the network with these containers alive.
    pub(super) fn collect(&self, valid: &[&str]) -> Result<(), Error> {
        let valid = ValidAttachments::new(valid.iter().map(|id| (*id, "eth0")));
        Firewall.gc(&self.call_with(""), &valid)
    }
}

/// The elements of all our sets, a line each: the set's name, the key and the owner's container.
pub(super) fn elements() -> Vec<String> {
    let mut nft = kernel::nft::Nft::open().unwrap();
    let mut lines = Vec::new();
    for table in [nftables::ROUTED, nftables::BRIDGED] {
        for set in nft.sets(&table).unwrap() {
            for entry in nft.elements(&set).unwrap() {
                let bytes = entry.key.bytes();
                let key = match bytes.len() {
                    4 | 8 => bytes[..4].iter().map(u8::to_string).collect::<Vec<_>>().join("."),
                    _ => String::from_utf8_lossy(&bytes)
                        .split('\0')
                        .filter(|name| !name.is_empty())
                        .collect::<Vec<_>>()
                        .join(" "),
                };
                let owner = entry.comment.unwrap_or_default();
                let id = owner.rsplit_once(", id: ").map_or("nobody", |(_, id)| id).to_owned();
                lines.push(format!("{} {}: {key} ({id})", table.family, set.name));
            }
        }
    }
    lines.sort();
    lines
}
