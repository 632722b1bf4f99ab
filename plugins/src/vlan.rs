//! The `vlan` plugin: a VLAN of a link, as a link of the container's.
//!
//! # Theory of operation
//!
//! The link is born inside the container under its final name, by one message to the namespace of its parent, whose
//! hardware address it has. DEL needs nothing but the link's name in the container, in particular not the parent.

use cni::Error;
use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Dns};
use kernel::link::{Kind, NewChild};
use kernel::plan::Machine;
use serde::Deserialize;

use crate::child::{self, Child, Words};
use crate::ipam::NO_ADDRESS;
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::netconf::{WrittenDns, WrittenIpam};
use crate::parent::Parent;

/// The highest VLAN id that can be used (802.1Q reserves 4095).
const VID_MAX: i64 = 4094;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Vlan;

/// The keys as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    master: String,
    vlan_id: i64,
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
    /// The parent's name.
    master: String,
    /// The parent is in the container.
    in_container: bool,
    id: u16,
    /// Bytes as written; looked at by ADD and CHECK only, which see the parent.
    mtu: i64,
    ipam: String,
    dns: Dns,
}

impl Config {
    fn load(call: &Call) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        if written.master.is_empty() {
            let text = "\"master\" field is required. It specifies the host interface name to create the VLAN for";
            return Err(Error::internal(text));
        }
        let id = u16::try_from(written.vlan_id).ok().filter(|_| written.vlan_id <= VID_MAX);
        Ok(Self {
            id: id.ok_or_else(|| {
                let id = written.vlan_id;
                Error::internal(format!("invalid VLAN ID {id} (must be between 0 and 4095 inclusive)"))
            })?,
            master: written.master,
            in_container: written.link_in_container,
            mtu: written.mtu,
            ipam: written.ipam.r#type,
            dns: written.dns.any().unwrap_or_default(),
        })
    }
}

impl Plugin for Vlan {
    const NAME: &'static str = "vlan";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        lifecycle::add(call, attachment, &Config::load(call)?)
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

    fn needs_ipam(&self) -> bool {
        true
    }

    fn status(&self) -> Result<(), Error> {
        child::status(Kind::Vlan(self.id), (!self.in_container).then_some((&self.master, self.mtu)))
    }
}

impl Attach for Config {
    /// The words of the Go suite, for which an answer without addresses is no failure of IPAM's.
    fn ipam_failed(&self, error: Error) -> Error {
        if error.msg == NO_ADDRESS {
            return error;
        }
        Error::internal(format!("failed to execute IPAM delegate: {}", error.msg)).with_details(error.details)
    }

    fn dns(&self, _: Dns) -> Dns {
        self.dns.clone()
    }

    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        let parent = Parent::find(machine, self.in_container, &self.master)?;
        let mtu = parent.mtu(self.mtu)?;
        let name = request.attachment.ifname.to_string();
        child::refuse_taken(request, &format!("failed to rename vlan to \"{name}\""), machine)?;
        let link = NewChild { name, kind: Kind::Vlan(self.id), mtu, mac: None };
        Ok(Box::new(Child { link, parent: Some(parent), announces: true, sandbox: &request.attachment.netns }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        let parent = Parent::look_up(machine, self.in_container, &self.master)?;
        let ifname = &request.attachment.ifname;
        child::check(request, (Kind::Vlan(self.id), Words::Named("vlan")), previous, machine, |found| match found {
            // The text is the Go suite's.
            Some(Kind::Vlan(id)) => Error::internal(format!(
                "Error: Tuning link {ifname} configured promisc is {}, current value is {id}",
                self.id
            ))
            .with_details("these are VLAN ids"),
            _ => Error::internal(format!("Error: Container interface {ifname} not of type vlan")),
        })?;
        child::check_mtu(request, parent.mtu(self.mtu)?, machine)
    }

    fn missing_previous(&self) -> &'static str {
        "vlan: Required prevResult missing"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::tests::call;

    #[test]
    fn ids_have_a_range_and_a_master_is_required() {
        let load = |keys: &str| Config::load(&call("vlan", keys));
        assert_eq!(load(r#""master": "eth0", "vlanId": 4094"#).unwrap().id, 4094);
        for id in [-1, 4095, 5000, 65536 + 5] {
            let refused = load(&format!(r#""master": "eth0", "vlanId": {id}"#)).unwrap_err().msg;
            assert_eq!(refused, format!("invalid VLAN ID {id} (must be between 0 and 4095 inclusive)"));
        }
        assert!(load(r#""vlanId": 5"#).unwrap_err().msg.starts_with("\"master\" field is required."));
    }
}
