//! The `ipvlan` plugin: a link of the container's own that shares the hardware address of a link of the host.
//!
//! # Theory of operation
//!
//! The link is born inside the container under its final name, by one message to the namespace of its parent. In a chain,
//! behind a plugin that made an interface and asked for addresses, that interface can be the parent and those addresses
//! the link's.
//!
//! DEL needs nothing but the link's name in the container: neither the parent nor a default route that leads to it.

use cni::Error;
use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::quote::quote;
use cni::result::{AddResult, Dns};
use kernel::link::{Ipvlan as Mode, Kind, NewChild};
use kernel::plan::Machine;
use serde::Deserialize;

use crate::child::{self, Child, Words};
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::netconf::{WrittenDns, WrittenIpam};
use crate::parent::Parent;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Ipvlan;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    master: String,
    mode: String,
    mtu: i64,
    link_in_container: bool,
    ipam: WrittenIpam,
    dns: WrittenDns,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What the configuration means.
#[derive(Clone, Debug)]
struct Config {
    /// The parent's name; empty for the link of the default route.
    master: String,
    /// The parent is in the container.
    in_container: bool,
    /// As it is written; looked at by ADD, CHECK and STATUS only.
    mode: String,
    /// Bytes as written; looked at by ADD only, which sees the parent.
    mtu: i64,
    ipam: String,
    dns: Dns,
    /// The addresses and routes of the plugin before this one, for a link without IPAM.
    inherited: Option<AddResult>,
}

impl Config {
    fn load(call: &Call) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        Ok(Self {
            mode: written.mode,
            master: written.master,
            in_container: written.link_in_container,
            mtu: written.mtu,
            ipam: written.ipam.r#type,
            dns: written.dns.any().unwrap_or_default(),
            inherited: None,
        })
    }

    /// The same for an ADD, which in a chain may take its parent and addresses from the plugin before it.
    fn load_chained(call: &Call) -> Result<Self, Error> {
        let mut config = Self::load(call)?;
        let Some(previous) = call.prev_result()? else { return Ok(config) };
        if config.master.is_empty() {
            let mut named = previous.interfaces.iter().filter(|interface| !interface.name.is_empty());
            config.master = match (named.next(), named.next()) {
                (Some(only), None) => only.name.clone(),
                _ => {
                    let text = "chained master failure. PrevResult lacks a single named interface";
                    return Err(Error::internal(text));
                }
            };
        }
        if config.ipam.is_empty() && !previous.ips.is_empty() {
            let AddResult { ips, routes, .. } = previous;
            config.inherited = Some(AddResult { ips, routes, ..AddResult::default() });
        }
        Ok(config)
    }
}

fn mode(written: &str) -> Result<Mode, Error> {
    Ok(match written {
        "" | "l2" => Mode::L2,
        "l3" => Mode::L3,
        "l3s" => Mode::L3s,
        other => return Err(Error::internal(format!("unknown ipvlan mode: {}", quote(other)))),
    })
}

impl Plugin for Ipvlan {
    const NAME: &'static str = "ipvlan";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        lifecycle::add(call, attachment, &Config::load_chained(call)?)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::del(call, attachment, &Config::load(call)?)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::check(call, attachment, &Config::load(call)?)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        lifecycle::gc(call, valid, &Config::load(call)?)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        lifecycle::status(call, &Config::load(call)?)
    }
}

impl Network for Config {
    fn ipam(&self) -> &str {
        &self.ipam
    }

    /// Without `master` it may be the one that the plugin before names, which nobody knows yet.
    fn status(&self) -> Result<(), Error> {
        let parent = (!self.in_container && !self.master.is_empty()).then_some((self.master.as_str(), self.mtu));
        child::status(Kind::Ipvlan(mode(&self.mode)?), parent)
    }
}

impl Attach for Config {
    fn inherited(&self) -> Option<AddResult> {
        self.inherited.clone()
    }

    fn dns(&self, _: Dns) -> Dns {
        self.dns.clone()
    }

    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        if self.ipam.is_empty() && self.inherited.is_none() {
            return Err(Error::internal("no plugin name provided").with_details(
                "ipvlan needs addresses: name an IPAM plugin, or chain it behind a plugin that has them",
            ));
        }
        let mode = mode(&self.mode)?;
        let parent = Parent::look_up(machine, self.in_container, &self.master)?;
        let mtu = parent.mtu(self.mtu)?;
        let name = request.attachment.ifname.to_string();
        child::refuse_taken(request, &format!("failed to rename ipvlan to \"{name}\""), machine)?;
        let link = NewChild { name, kind: Kind::Ipvlan(mode), mtu, mac: None };
        Ok(Box::new(Child { link, parent: Some(parent), announces: true, sandbox: &request.attachment.netns }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        if !self.master.is_empty() {
            Parent::look_up(machine, self.in_container, &self.master)?;
        }
        let expected = mode(&self.mode)?;
        child::check(request, (Kind::Ipvlan(expected), Words::Plain), previous, machine, |found| {
            let found = match found {
                Some(Kind::Ipvlan(mode)) => mode.to_string(),
                _ => "unknown".to_owned(),
            };
            Error::internal(format!("Container IPVlan mode {found} does not match expected value: {expected}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::tests::call;

    #[test]
    fn modes_are_those_of_ip_link() {
        let load = |keys: &str| Config::load(&call("ipvlan", keys));
        for (written, expected) in [("", "l2"), ("l2", "l2"), ("l3", "l3"), ("l3s", "l3s")] {
            assert_eq!(mode(&load(&format!(r#""mode": "{written}""#)).unwrap().mode).unwrap().to_string(), expected);
        }
        assert_eq!(mode(&load(r#""mode": "zz""#).unwrap().mode).unwrap_err().msg, "unknown ipvlan mode: \"zz\"");
    }

    #[test]
    fn in_a_chain_the_only_interface_is_the_master_and_addresses_are_inherited() {
        let chained = |interfaces: &str| {
            let keys = format!(
                r#""prevResult": {{"cniVersion": "1.0.0", "interfaces": [{interfaces}], "ips": [{{"address": "10.1.2.3/24"}}]}}"#
            );
            Config::load_chained(&call("ipvlan", &keys))
        };
        let config = chained(r#"{"name": "eth1"}"#).unwrap();
        assert_eq!((config.master.as_str(), config.inherited.unwrap().ips.len()), ("eth1", 1));
        let refused = chained(r#"{"name": "eth1"}, {"name": "eth2"}"#).unwrap_err().msg;
        assert_eq!(refused, "chained master failure. PrevResult lacks a single named interface");
    }
}
