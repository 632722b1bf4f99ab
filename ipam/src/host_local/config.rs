//! The configuration: what the JSON says, validated in the Go suite's order and refused in its words.
//!
//! Callers and people match on those texts. What the text leaves out, such as the key that holds a bad address, goes
//! into the details.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::address::{parse_cidr, parse_ip};
use cni::plugin::Call;
use cni::result::Route;
use cni::{Error, args};
use serde::Deserialize;

use super::addr::Addr;
use super::pool::{Cidr, Limits, PoolError, RangeSet};

const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// A validated configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// The range sets, each of which gives an attachment one address. Empty only if [`Config::load`] allows that.
    pub(crate) sets: Vec<RangeSet>,
    /// The addresses that the caller asks for, in the order of asking, each once.
    pub(crate) requested: Vec<Addr>,
    pub(crate) routes: Vec<Route>,
    pub(crate) resolv_conf: Option<PathBuf>,
}

/// Whether a configuration may come without ranges.
///
/// GC and STATUS are not about an attachment, so the ranges that a runtime hands over for each are absent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ranges {
    Required,
    Optional,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    cni_version: String,
    ipam: Option<Ipam>,
    runtime_config: RuntimeConfig,
    args: Arguments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ipam {
    subnet: Option<String>,
    range_start: Option<String>,
    range_end: Option<String>,
    gateway: Option<String>,
    ranges: Vec<Option<Vec<RangeText>>>,
    routes: Vec<Option<Route>>,
    data_dir: String,
    resolv_conf: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RangeText {
    subnet: Option<String>,
    range_start: Option<String>,
    range_end: Option<String>,
    gateway: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    ip_ranges: Vec<Option<Vec<RangeText>>>,
    ips: Vec<Option<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Arguments {
    cni: CniArguments,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CniArguments {
    ips: Vec<Option<String>>,
}

impl Config {
    /// Reads and validates the configuration of a call; `cni_args` is the text of `CNI_ARGS`.
    pub(crate) fn load(call: &Call, cni_args: &str, ranges: Ranges) -> Result<Self, Error> {
        let Document { cni_version, ipam, runtime_config, args } = call.config()?;
        let runtime_sets = parse_sets(&runtime_config.ip_ranges, &"runtimeConfig.ipRanges")?;
        let asked = [(&args.cni.ips, "args.cni.ips"), (&runtime_config.ips, "runtimeConfig.ips")];
        let parsed = ipam.map(|ipam| Ok::<_, Error>((ipam_sets(&ipam)?, ipam))).transpose()?;
        let mut requested = parse_requested(&asked)?;
        let (ipam_sets, ipam) = parsed.ok_or_else(|| Error::internal("IPAM config missing 'ipam' key"))?;
        if let Some(ip) = requested_by_args(cni_args)? {
            requested.insert(0, Some(ip));
        }
        let requested = distinct(requested)?;
        let limits = [runtime_sets, ipam_sets].concat();
        if limits.is_empty() && ranges == Ranges::Required {
            return Err(Error::internal("no IP ranges specified"));
        }
        let data_dir = if ipam.data_dir.is_empty() { DEFAULT_DATA_DIR } else { &ipam.data_dir };
        Ok(Self {
            data_dir: data_dir.into(),
            sets: validate(&limits, &cni_version, call.version)?,
            requested,
            routes: ipam.routes.into_iter().flatten().collect(),
            resolv_conf: (!ipam.resolv_conf.is_empty()).then(|| ipam.resolv_conf.into()),
        })
    }
}

/// Validates each set, then their number, then that no two overlap.
fn validate(limits: &[Vec<Limits>], stated: &str, version: cni::Version) -> Result<Vec<RangeSet>, Error> {
    let invalid = |(i, error): (usize, PoolError)| Error::internal(format!("invalid range set {i}: {error}"));
    let sets: Vec<RangeSet> = limits
        .iter()
        .enumerate()
        .map(|(i, limits)| RangeSet::new(limits).map_err(|error| invalid((i, error))))
        .collect::<Result<_, _>>()?;
    let v4 = sets.iter().filter(|set| set.is_v4()).count();
    if (v4 > 1 || sets.len() - v4 > 1) && version < cni::Version::V0_3_0 {
        let text = format!("CNI version {stated} does not support more than 1 address per family");
        return Err(Error::internal(text));
    }
    for (i, one) in sets.iter().enumerate() {
        if let Some(j) = sets.iter().skip(i + 1).position(|other| one.overlaps(other)) {
            return Err(Error::internal(format!("range set {i} overlaps with {}", i + 1 + j)));
        }
    }
    Ok(sets)
}

/// The sets of `ipam`: the single range, if its subnet is given, and then the list.
fn ipam_sets(ipam: &Ipam) -> Result<Vec<Vec<Limits>>, Error> {
    let single = parse_limits([&ipam.subnet, &ipam.range_start, &ipam.range_end, &ipam.gateway], &"ipam")?;
    let listed = parse_sets(&ipam.ranges, &"ipam.ranges")?;
    let single = single.subnet.is_some().then(|| vec![single]);
    Ok(single.into_iter().chain(listed).collect())
}

fn parse_sets(sets: &[Option<Vec<RangeText>>], key: &dyn fmt::Display) -> Result<Vec<Vec<Limits>>, Error> {
    let set = |(i, set): (usize, &Option<Vec<RangeText>>)| {
        let ranges = set.iter().flatten().enumerate();
        ranges
            .map(|(j, range)| {
                let texts = [&range.subnet, &range.range_start, &range.range_end, &range.gateway];
                parse_limits(texts, &format_args!("{key}[{i}][{j}]"))
            })
            .collect()
    };
    sets.iter().enumerate().map(set).collect()
}

/// Parses `subnet`, `rangeStart`, `rangeEnd` and `gateway` of one range, which stand under this key.
fn parse_limits(texts: [&Option<String>; 4], key: &dyn fmt::Display) -> Result<Limits, Error> {
    let [subnet, start, end, gateway] = texts;
    let at = |name: &str| format!("in {key}.{name}");
    let ip = |text: &Option<String>, name| {
        let given = text.as_deref().filter(|text| !text.is_empty());
        given.map(parse_ip).transpose().map_err(|error| Error::internal(error.to_string()).with_details(at(name)))
    };
    Ok(Limits {
        subnet: subnet
            .as_deref()
            .map(|text| cidr(text).map_err(|error| error.with_details(at("subnet"))))
            .transpose()?,
        start: ip(start, "rangeStart")?,
        end: ip(end, "rangeEnd")?,
        gateway: ip(gateway, "gateway")?,
    })
}

/// A subnet with the spelling of its address kept: an IPv4 address in IPv6 form has an IPv6 mask, and is refused later.
fn cidr(text: &str) -> Result<Cidr, Error> {
    let canonical = parse_cidr(text).map_err(|error| Error::internal(error.to_string()))?;
    let spelled = text.split_once('/').and_then(|(ip, prefix)| Some((ip.parse().ok()?, prefix.parse().ok()?)));
    let (ip, prefix): (IpAddr, u8) = spelled.unwrap_or((canonical.ip(), canonical.prefix()));
    Ok(Cidr { ip, prefix })
}

/// Parses the lists of requested addresses; an empty text is an address that is not there.
fn parse_requested(lists: &[(&Vec<Option<String>>, &str)]) -> Result<Vec<Option<Addr>>, Error> {
    let parse = |(list, key): &(&Vec<Option<String>>, &str)| {
        let given = list.iter().enumerate().filter_map(|(i, text)| Some((i, text.as_deref()?)));
        given
            .map(|(i, text)| {
                let bad = |text: String| Error::internal(text).with_details(format!("in {key}[{i}]"));
                parse_address(text).map_err(bad)
            })
            .collect::<Result<Vec<_>, Error>>()
    };
    Ok(lists.iter().map(parse).collect::<Result<Vec<_>, _>>()?.concat())
}

fn requested_by_args(cni_args: &str) -> Result<Option<Addr>, Error> {
    let args = args::parse(cni_args, &["IP"])?;
    let Some(text) = args.get("IP") else { return Ok(None) };
    parse_address(text).map_err(|reason| args::bad_value(&format!("IP={text}"), &reason))
}

/// An address with or without a prefix, which does not matter; none for an empty text.
fn parse_address(text: &str) -> Result<Option<Addr>, String> {
    let parsed = match text {
        "" => return Ok(None),
        text if text.contains('/') => parse_cidr(text).ok().map(|cidr| cidr.ip()),
        text => parse_ip(text).ok(),
    };
    parsed.map(|ip| Some(Addr::from(ip))).ok_or_else(|| format!("invalid IP address {text}"))
}

fn distinct(requested: Vec<Option<Addr>>) -> Result<Vec<Addr>, Error> {
    let mut seen: Vec<Addr> = Vec::with_capacity(requested.len());
    for addr in requested {
        let addr = addr.ok_or_else(|| Error::internal("cannot understand ip: IP <nil> not v4 nor v6"))?;
        if !seen.contains(&addr) {
            seen.push(addr);
        }
    }
    Ok(seen)
}
