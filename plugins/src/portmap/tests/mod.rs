//! Against the kernel and `nft`, in private namespaces.

mod access;
mod claims;
mod flows;
mod foreign;
mod lifecycle;
mod nftables;

use std::thread;

use cni::ContainerId;
use cni::plugin::Stderr;
use kernel::netns::NetNs;

use super::*;
use crate::masquerade::tests::{namespace, shell};

/// A container in a network, as a runtime and the plugins before this one describe it.
#[derive(Clone, Debug)]
struct Pod {
    net: String,
    id: String,
    ifname: String,
    /// The host's end of its link.
    dev: Option<String>,
    ips: Vec<String>,
    /// More members of the configuration.
    options: String,
    mappings: Vec<String>,
}

impl Pod {
    /// A container with two addresses and no ports.
    fn new(id: &str) -> Self {
        Self {
            net: "n1".into(),
            id: id.into(),
            ifname: "eth0".into(),
            dev: Some("veth1".into()),
            ips: vec!["10.77.0.2/24".into(), "fd00:77::2/64".into()],
            options: String::new(),
            mappings: Vec::new(),
        }
    }

    fn net(self, net: &str) -> Self {
        Self { net: net.into(), ..self }
    }

    fn dev(self, dev: Option<&str>) -> Self {
        Self { dev: dev.map(str::to_owned), ..self }
    }

    fn ips(self, ips: &[&str]) -> Self {
        Self { ips: ips.iter().map(|ip| (*ip).to_owned()).collect(), ..self }
    }

    fn options(self, options: &str) -> Self {
        Self { options: options.into(), ..self }
    }

    /// `8080:80/tcp`, or with the host's address in front `127.0.0.1:8080:80/tcp`, `[::1]:8080:80/tcp`.
    fn ports(self, mappings: &[&str]) -> Self {
        let json = |text: &&str| {
            let (text, protocol) = text.split_once('/').unwrap();
            let (text, container) = text.rsplit_once(':').unwrap();
            let (ip, host) = text.rsplit_once(':').unwrap_or(("", text));
            let ip = ip.trim_matches(['[', ']']);
            format!(
                r#"{{"hostPort": {host}, "containerPort": {container}, "protocol": "{protocol}", "hostIP": "{ip}"}}"#
            )
        };
        Self { mappings: mappings.iter().map(json).collect(), ..self }
    }

    fn previous(&self) -> String {
        let dev =
            self.dev.as_ref().map(|dev| format!(r#"{{"name": "br0"}}, {{"name": "{dev}"}}, "#)).unwrap_or_default();
        let at = if self.dev.is_some() { 2 } else { 0 };
        let ips: Vec<String> =
            self.ips.iter().map(|ip| format!(r#"{{"interface": {at}, "address": "{ip}"}}"#)).collect();
        format!(
            r#"{{"cniVersion": "1.1.0", "interfaces": [{dev}{{"name": "{}", "sandbox": "/c"}}], "ips": [{}]}}"#,
            self.ifname,
            ips.join(", ")
        )
    }

    fn call_with(&self, previous: Option<&str>) -> (Call, Attachment) {
        let previous = previous.map(|previous| format!(r#", "prevResult": {previous}"#)).unwrap_or_default();
        let options = if self.options.is_empty() { String::new() } else { format!(", {}", self.options) };
        let json = format!(
            r#"{{"cniVersion": "1.1.0", "name": "{}", "type": "portmap", "runtimeConfig": {{"portMappings": [{}]}}{options}{previous}}}"#,
            self.net,
            self.mappings.join(", ")
        );
        let (stderr, _) = Stderr::buffered();
        let call = Call::new(json.into_bytes(), Vec::new(), stderr).unwrap();
        let attachment = Attachment {
            container_id: self.id.parse::<ContainerId>().unwrap(),
            ifname: self.ifname.parse().unwrap(),
            netns: "/c".into(),
            args: String::new(),
        };
        (call, attachment)
    }

    fn call(&self) -> (Call, Attachment) {
        self.call_with(Some(&self.previous()))
    }

    fn add(&self) -> Result<AddResult, Error> {
        let (call, attachment) = self.call();
        Portmap.add(&call, &attachment)
    }

    fn refused(&self) -> String {
        self.add().unwrap_err().to_string()
    }

    fn check(&self) -> Result<(), Error> {
        let (call, attachment) = self.call();
        Portmap.check(&call, &attachment)
    }

    fn del(&self) {
        let (call, attachment) = self.call();
        Portmap.del(&call, &attachment).unwrap();
    }

    /// DEL by a runtime that has lost its records.
    fn del_blindly(&self) {
        let (call, attachment) = self.call_with(None);
        Portmap.del(&call, &attachment).unwrap();
    }
}

/// GC of the network with these valid containers.
fn collect(net: &str, valid: &[(&str, &str)]) {
    let (call, _) = Pod::new("nobody").net(net).call_with(None);
    Portmap.gc(&call, &ValidAttachments::new(valid.iter().copied())).unwrap();
}

fn ruleset() -> String {
    shell("nft list ruleset")
}

/// What nft lists of one set or map, on one line.
fn elements(set: &str) -> String {
    let listed =
        shell(&format!("nft list table inet xnet_portmap | sed -n '/ {} {{/,/^\t}}/p'", set.replace('/', "\\/")));
    let inner = listed.split_once("elements = {").map_or("", |(_, rest)| rest);
    inner.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches(['}', ' ']).to_owned()
}
