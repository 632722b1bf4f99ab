//! The `macvlan` plugin: a link of the container's own, with its own hardware address, on a link of the host.
//!
//! # Theory of operation
//!
//! The link is born inside the container under its final name, by one message to the namespace of its parent. The kernel
//! chooses the hardware address if nobody else does: an address that derives from names, as that of a veth, could meet
//! itself on the wire when two machines use the same names.
//!
//! DEL needs nothing but the link's name in the container, and nothing at all when the namespace is gone: the link went
//! with it.

use cni::Error;
use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::quote::quote;
use cni::result::{AddResult, Dns};
use kernel::Mac;
use kernel::link::{Kind, Macvlan as Mode, NewChild};
use kernel::plan::Machine;
use serde::Deserialize;

use crate::child::{self, Child, Words};
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::netconf::{self, WithMac, WrittenDns, WrittenIpam};
use crate::parent::Parent;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Macvlan;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    master: String,
    mode: String,
    mtu: i64,
    mac: String,
    link_in_container: bool,
    bcqueuelen: u32,
    ipam: WrittenIpam,
    dns: WrittenDns,
    runtime_config: WithMac,
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
    /// The length of the queue for broadcasts in packets; none for the kernel's default.
    queue: Option<u32>,
    /// Bytes as written; looked at by ADD and CHECK only, which see the parent.
    mtu: i64,
    /// The container's hardware address as it is written; looked at by ADD only.
    mac: String,
    ipam: String,
    dns: Dns,
}

impl Config {
    fn load(call: &Call, attachment: Option<&Attachment>) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        let macs = [written.runtime_config.mac, netconf::mac_argument(attachment)?, written.mac];
        Ok(Self {
            mode: written.mode,
            queue: (written.bcqueuelen != 0).then_some(written.bcqueuelen),
            master: written.master,
            in_container: written.link_in_container,
            mtu: written.mtu,
            mac: macs.into_iter().find(|mac| !mac.is_empty()).unwrap_or_default(),
            ipam: written.ipam.r#type,
            dns: written.dns.any().unwrap_or_default(),
        })
    }

    fn kind(&self) -> Result<Kind, Error> {
        Ok(Kind::Macvlan(mode(&self.mode)?, self.queue))
    }

    fn mac(&self) -> Result<Option<Mac>, Error> {
        netconf::mac(&self.mac, &format!("invalid args {} for MAC addr", self.mac))
    }
}

fn mode(written: &str) -> Result<Mode, Error> {
    Ok(match written {
        "" | "bridge" => Mode::Bridge,
        "private" => Mode::Private,
        "vepa" => Mode::Vepa,
        "passthru" => Mode::Passthru,
        other => return Err(Error::internal(format!("unknown macvlan mode: {}", quote(other)))),
    })
}

impl Plugin for Macvlan {
    const NAME: &'static str = "macvlan";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        lifecycle::add(call, attachment, &Config::load(call, Some(attachment))?)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::del(call, attachment, &Config::load(call, Some(attachment))?)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::check(call, attachment, &Config::load(call, Some(attachment))?)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        lifecycle::gc(call, valid, &Config::load(call, None)?)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        lifecycle::status(call, &Config::load(call, None)?)
    }
}

impl Network for Config {
    fn ipam(&self) -> &str {
        &self.ipam
    }

    fn status(&self) -> Result<(), Error> {
        child::status(self.kind()?, (!self.in_container).then_some((&self.master, self.mtu)))
    }
}

impl Attach for Config {
    fn dns(&self, _: Dns) -> Dns {
        self.dns.clone()
    }

    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        let parent = Parent::find(machine, self.in_container, &self.master)?;
        let (mtu, mac) = (parent.mtu(self.mtu)?, self.mac()?);
        let name = request.attachment.ifname.to_string();
        child::refuse_taken(request, &format!("failed to rename macvlan to \"{name}\""), machine)?;
        let link = NewChild { name, kind: self.kind()?, mtu, mac };
        Ok(Box::new(Child { link, parent: Some(parent), announces: true, sandbox: &request.attachment.netns }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        Parent::find(machine, self.in_container, &self.master)?.mtu(self.mtu)?;
        let expected = mode(&self.mode)?;
        child::check(request, (self.kind()?, Words::Small), previous, machine, |found| {
            let found = match found {
                Some(Kind::Macvlan(mode, _)) => mode.to_string(),
                _ => "unknown".to_owned(),
            };
            Error::internal(format!("container macvlan mode {found} does not match expected value: {expected}"))
        })
    }

    fn missing_previous(&self) -> &'static str {
        "required prevResult missing"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::tests::call;

    fn config(keys: &str) -> Result<Config, Error> {
        Config::load(&call("macvlan", keys), None)
    }

    #[test]
    fn modes_are_those_of_ip_link() {
        for (written, kind) in [
            ("", "macvlan mode bridge"),
            ("bridge", "macvlan mode bridge"),
            ("private", "macvlan mode private"),
            ("vepa", "macvlan mode vepa"),
            ("passthru", "macvlan mode passthru"),
        ] {
            assert_eq!(config(&format!(r#""mode": "{written}""#)).unwrap().kind().unwrap().to_string(), kind);
        }
        assert_eq!(config(r#""mode": "zz""#).unwrap().kind().unwrap_err().msg, "unknown macvlan mode: \"zz\"");
        let queue = config(r#""bcqueuelen": 2000"#).unwrap().kind().unwrap().to_string();
        assert_eq!(queue, "macvlan mode bridge bcqueuelen 2000");
    }

    #[test]
    fn the_runtime_has_the_first_word_on_the_address() {
        let keys = r#""mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:02"}"#;
        assert_eq!(config(keys).unwrap().mac().unwrap(), Some(Mac::new([2, 0, 0, 0, 0, 2])));
        let bad = config(r#""mac": "zz""#).unwrap().mac().unwrap_err();
        assert_eq!(bad.msg, "invalid args zz for MAC addr: address zz: invalid MAC address");
    }
}
