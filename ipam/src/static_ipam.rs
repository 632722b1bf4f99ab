//! static: the addresses that the configuration or the caller names, and nothing else.
//!
//! Nothing is reserved and nothing stored, so DEL and GC have nothing to do. Addresses come from three places: those of
//! the configuration, to which those of `CNI_ARGS` are added; `args.cni.ips` takes the place of all of them, and
//! `runtimeConfig.ips` of these.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use cni::address::{parse_cidr, parse_ip};
use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Dns, IpConfig, Route};
use cni::{Error, Version, args};
use ipnetwork::IpNetwork;
use serde::Deserialize;

/// The plugin.
#[derive(Debug)]
pub(crate) struct Static;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    cni_version: String,
    ipam: Option<Ipam>,
    runtime_config: Asked,
    args: Arguments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ipam {
    addresses: Vec<Option<WrittenAddress>>,
    routes: Vec<Option<Route>>,
    dns: Dns,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WrittenAddress {
    address: String,
    gateway: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    ips: Vec<Option<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Arguments {
    cni: Asked,
}

/// A validated configuration.
#[derive(Debug)]
struct Config {
    ips: Vec<IpConfig>,
    routes: Vec<Route>,
    dns: Dns,
}

impl Config {
    fn load(call: &Call, cni_args: &str) -> Result<Self, Error> {
        let Document { cni_version, ipam, runtime_config, args } = call.config()?;
        let ipam = ipam.ok_or_else(|| Error::internal("IPAM config missing 'ipam' key"))?;
        // Gateways are read with the document, before anything else is looked at.
        let written: Vec<(String, Option<IpAddr>)> =
            ipam.addresses.into_iter().flatten().map(read).collect::<Result<_, _>>()?;
        let added = from_args(cni_args)?;
        let asked = [args.cni, runtime_config].into_iter().rev().find(|asked| !asked.ips.is_empty());
        let ips: Vec<IpConfig> = match asked {
            Some(asked) => asked.ips.iter().flatten().map(|text| replacement(text)).collect::<Result<_, _>>()?,
            None => written.into_iter().map(configured).chain(added.into_iter().map(Ok)).collect::<Result<_, _>>()?,
        };
        refuse_two_of_a_family(&ips, &cni_version, call.version)?;
        Ok(Self { ips, routes: ipam.routes.into_iter().flatten().collect(), dns: ipam.dns })
    }
}

/// An entry of `addresses`, its gateway read.
fn read(written: WrittenAddress) -> Result<(String, Option<IpAddr>), Error> {
    let gateway = match written.gateway.as_str() {
        "" => None,
        text => Some(parse_ip(text).map_err(|error| {
            Error::internal(error.to_string()).with_details(format!("the gateway of {}", written.address))
        })?),
    };
    Ok((written.address, gateway))
}

fn configured((text, gateway): (String, Option<IpAddr>)) -> Result<IpConfig, Error> {
    let refused = |_| Error::internal(format!("the 'address' field is expected to be in CIDR notation, got: '{text}'"));
    Ok(IpConfig { interface: None, address: parse_cidr(&text).map_err(refused)?, gateway })
}

/// An entry of `ips`.
fn replacement(text: &str) -> Result<IpConfig, Error> {
    let refused = |_| Error::internal(format!("an entry in the 'ips' field is NOT in CIDR notation, got: '{text}'"));
    Ok(IpConfig { interface: None, address: parse_cidr(text).map_err(refused)?, gateway: None })
}

/// The addresses of `CNI_ARGS`: `IP=10.1.0.2/24,fd00::2/64;GATEWAY=10.1.0.1,fd00::1`. A gateway belongs to each of these
/// addresses whose network it is in.
fn from_args(cni_args: &str) -> Result<Vec<IpConfig>, Error> {
    let arguments = args::parse(cni_args, &["IP", "GATEWAY"])?;
    let list = |key: &str| arguments.get(key).map_or("", String::as_str).split(',').filter(|text| !text.is_empty());
    let mut added = Vec::new();
    for text in list("IP") {
        let refused = |_| Error::internal(format!("the 'ip' field is expected to be in CIDR notation, got: '{text}'"));
        added.push(IpConfig { interface: None, address: parse_cidr(text).map_err(refused)?, gateway: None });
    }
    for text in list("GATEWAY") {
        let gateway = parse_ip(text).map_err(|_| Error::internal(format!("invalid gateway address: {text}")))?;
        for ip in added.iter_mut().filter(|ip| ip.address.contains(gateway)) {
            ip.gateway = Some(gateway);
        }
    }
    Ok(added)
}

/// Documents before 0.3.0 hold one address a family.
fn refuse_two_of_a_family(ips: &[IpConfig], stated: &str, version: Version) -> Result<(), Error> {
    let of = |is_ipv6: bool| ips.iter().filter(|ip| ip.address.is_ipv6() == is_ipv6).count();
    if version < Version::V0_3_0 && (of(false) > 1 || of(true) > 1) {
        let text = format!("CNI version {stated} does not support more than 1 address per family");
        return Err(Error::internal(text));
    }
    Ok(())
}

impl Plugin for Static {
    const NAME: &'static str = "static";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let Config { ips, routes, dns } = Config::load(call, &attachment.args)?;
        Ok(AddResult { ips, routes, dns, ..AddResult::default() })
    }

    fn del(&self, _: &Call, _: &Attachment) -> Result<(), Error> {
        Ok(())
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call, &attachment.args)?;
        let previous = call.prev_result()?.ok_or_else(|| Error::internal("Required prevResult missing"))?;
        match config.ips.iter().find(|wanted| !previous.ips.iter().any(|found| is_same(wanted, found))) {
            Some(missing) => Err(mismatch(missing, &previous, attachment)),
            None => Ok(()),
        }
    }

    fn gc(&self, _: &Call, _: &ValidAttachments) -> Result<(), Error> {
        Ok(())
    }

    /// The configuration is all that there is. Addresses that the runtime names are not in it yet.
    fn status(&self, call: &Call) -> Result<(), Error> {
        Config::load(call, "").map(drop)
    }
}

/// Whether a previous result has a configured address. A gateway that is not configured may be anything.
fn is_same(wanted: &IpConfig, found: &IpConfig) -> bool {
    wanted.address == found.address && (wanted.gateway.is_none() || wanted.gateway == found.gateway)
}

/// The text of the Go suite, and what is there instead.
fn mismatch(wanted: &IpConfig, previous: &AddResult, attachment: &Attachment) -> Error {
    let line = |address: IpNetwork, gateway: Option<IpAddr>| {
        format!("{address}{}", gateway.map_or_else(String::new, |gateway| format!(" via {gateway}")))
    };
    let found: Vec<String> = previous.ips.iter().map(|ip| line(ip.address, ip.gateway)).collect();
    let ip = wanted.address.ip();
    Error::internal(format!("static: Failed to match addr {ip} on interface {}", attachment.ifname)).with_details(
        format!("configured is {}, prevResult has: {}", line(wanted.address, wanted.gateway), found.join(", ")),
    )
}
