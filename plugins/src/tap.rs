//! The `tap` plugin: a link in the container whose other end is a file descriptor, for virtual machines.
//!
//! # Theory of operation
//!
//! The device is made by ioctl, inside the container and under its final name; it stays when nobody has it open. Its
//! carrier comes with its first reader, so nothing is waited for, in particular no duplicate address detection, which
//! can't begin before.
//!
//! Readers rely on the form of the packets: with `owner` and `group` both given, each has a header for offloads in front
//! and, without `multiQueue`, one with its protocol; else neither. That is how the Go suite makes them, by two ways of
//! making a device, and virtual machines are set up for it.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Dns, Interface};
use cni::{Code, Error};
use kernel::Mac;
use kernel::link::Settings;
use kernel::plan::{CreateTap, Deviation, Machine, Plan, Side, Step};
use kernel::tun::NewTap;
use serde::Deserialize;

use crate::error::{attempt, from_deviation};
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::netconf::{self, WithMac, WrittenDns, WrittenIpam};
use crate::{child, container};

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Tap;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    multi_queue: bool,
    mtu: i64,
    mac: String,
    owner: Option<u32>,
    group: Option<u32>,
    selinux_context: String,
    bridge: String,
    ipam: WrittenIpam,
    dns: WrittenDns,
    runtime_config: WithMac,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What the configuration means.
#[derive(Clone, Debug)]
struct Config {
    multi_queue: bool,
    /// Bytes as written; looked at by ADD only.
    mtu: i64,
    /// The device's hardware address as it is written; looked at by ADD only.
    mac: String,
    owner: Option<u32>,
    group: Option<u32>,
    /// The label of whoever makes the device, which the device gets; empty for that of the plugin.
    selinux_context: String,
    /// The bridge, in the container, that it becomes a port of; empty for none.
    bridge: String,
    ipam: String,
    dns: Dns,
}

impl Config {
    fn load(call: &Call, attachment: Option<&Attachment>) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        let macs = [written.runtime_config.mac, netconf::mac_argument(attachment)?, written.mac];
        Ok(Self {
            multi_queue: written.multi_queue,
            mtu: written.mtu,
            mac: macs.into_iter().find(|mac| !mac.is_empty()).unwrap_or_default(),
            owner: written.owner,
            group: written.group,
            selinux_context: written.selinux_context,
            bridge: written.bridge,
            ipam: written.ipam.r#type,
            dns: written.dns.any().unwrap_or_default(),
        })
    }

    fn mac(&self) -> Result<Option<Mac>, Error> {
        netconf::mac(&self.mac, &format!("invalid args {} for MAC addr", self.mac))
    }

    /// The device, with packets in the form that its readers expect.
    fn tap(&self, name: &str) -> NewTap {
        let raw = self.selinux_context.is_empty() && self.owner.is_some() && self.group.is_some();
        NewTap {
            name: name.to_owned(),
            multi_queue: self.multi_queue,
            packet_information: raw && !self.multi_queue,
            vnet_header: raw,
            owner: self.owner,
            group: self.group,
        }
    }

    fn step(&self, name: &str, settings: Settings) -> CreateTap {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        let (label, bridge) = (given(&self.selinux_context), given(&self.bridge));
        CreateTap { tap: self.tap(name), label, settings, bridge }
    }
}

impl Plugin for Tap {
    const NAME: &'static str = "tap";

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
        kernel::tun::available().map_err(|error| {
            Error::new(Code::PLUGIN_NOT_AVAILABLE, format!("tap devices can't be made: {error}"))
                .with_details("load the module tun")
        })
    }
}

impl Attach for Config {
    fn dns(&self, _: Dns) -> Dns {
        self.dns.clone()
    }

    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        let name = request.attachment.ifname.to_string();
        let settings = Settings { mac: self.mac()?, mtu: netconf::mtu(self.mtu)?, ..Settings::default() };
        child::refuse_taken(request, &format!("failed to rename tap to \"{name}\""), machine)?;
        if !self.bridge.is_empty() {
            let found = machine.side(Side::Container).and_then(|side| side.link(&self.bridge));
            match found.map_err(|error| attempt("look at the links", error))? {
                Some(link) if link.is("bridge") => {}
                Some(_) => {
                    return Err(Error::internal(format!("failed to get bridge {0}: {0} is no bridge", self.bridge)));
                }
                None => {
                    let text = format!("failed to get bridge {}: Link not found", self.bridge);
                    return Err(Error::internal(text).with_details("it must be in the container"));
                }
            }
        }
        Ok(Box::new(Addition { step: self.step(&name, settings), sandbox: &request.attachment.netns }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        let mine = container::recorded(previous, request.attachment)?;
        let settings = Settings { mac: mine.mac.parse().ok(), ..Settings::default() };
        self.step(&mine.name, settings).check(machine).map_err(|deviation| match deviation {
            Deviation::LinkMissing(link) => Error::internal(format!("Cannot find container link {link}")),
            other => from_deviation(other),
        })?;
        container::check_up(machine, &mine.name)?;
        container::check(machine, &mine.name, previous)
    }
}

/// A device about to be made.
struct Addition<'a> {
    step: CreateTap,
    sandbox: &'a str,
}

impl Wiring for Addition<'_> {
    fn links(&self) -> Plan {
        let mut plan = Plan::new();
        plan.push(self.step.clone());
        plan
    }

    fn interfaces(&self) -> Vec<Interface> {
        let (name, sandbox) = (self.step.tap.name.clone(), self.sandbox.to_owned());
        vec![Interface { name, sandbox, ..Interface::default() }]
    }
}

/// Runs the plugin as a process, or, called by itself for a device with an SELinux context, makes that device.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let Some(tap) = NewTap::from_words(&words) else { return cni::plugin::main(&Tap) };
    match tap.create() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent reads it; there is nobody else to tell.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::tests::call;
    use crate::injection;

    fn config(keys: &str) -> Config {
        Config::load(&call("tap", keys), None).unwrap()
    }

    #[test]
    fn packets_have_the_form_that_readers_expect() {
        for (keys, expected) in [
            (r#""mtu": 0"#, "ip tuntap add mode tap name tap0"),
            (r#""multiQueue": true"#, "ip tuntap add mode tap name tap0 multi_queue"),
            (r#""owner": 5"#, "ip tuntap add mode tap name tap0 user 5"),
            (r#""owner": 0, "group": 6"#, "ip tuntap add mode tap name tap0 pi vnet_hdr user 0 group 6"),
            (
                r#""owner": 5, "group": 6, "multiQueue": true"#,
                "ip tuntap add mode tap name tap0 multi_queue vnet_hdr user 5 group 6",
            ),
            (
                r#""owner": 5, "group": 6, "selinuxContext": "system_u:system_r:container_t:s0""#,
                "ip tuntap add mode tap name tap0 user 5 group 6",
            ),
        ] {
            assert_eq!(config(keys).tap("tap0").to_string(), expected, "{keys}");
        }
    }

    fn everything() -> Plan {
        let settings = Settings { mac: Some(Mac::new([2, 0, 0, 0, 0, 9])), mtu: Some(1300), ..Settings::default() };
        let step = config(r#""owner": 5"#).step("tap0", settings);
        let wiring = Addition { step, sandbox: "/run/netns/c1" };
        let ip = cni::result::IpConfig { interface: Some(0), address: "fd00::2/64".parse().unwrap(), gateway: None };
        let result = AddResult { interfaces: wiring.interfaces(), ips: vec![ip], ..AddResult::default() };
        let mut whole = wiring.links();
        whole.extend(wiring.addresses(&result).unwrap());
        whole
    }

    #[test]
    fn nothing_is_left_whatever_step_fails() {
        injection::at_every_step(everything);
        injection::shows(everything, &["tap0", "fd00::2/64"]);
    }
}
