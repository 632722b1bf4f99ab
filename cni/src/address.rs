//! Addresses in the text forms of Go's `net` package, which configurations and results are written in.
//!
//! They differ from Rust's own in small ways that a node's files depend on: an address with its prefix must have the
//! prefix, host bits are kept, an IPv4-mapped IPv6 address is an IPv4 address, and the empty text means "not set".

use std::fmt;
use std::net::IpAddr;

use ipnetwork::{IpNetwork, Ipv4Network};
use serde::{Deserialize as _, Deserializer, de};

/// A text that is no address of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind}: {text}")]
pub struct InvalidAddress {
    kind: &'static str,
    text: String,
}

/// An IP address without prefix or zone.
pub fn parse_ip(text: &str) -> Result<IpAddr, InvalidAddress> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical()),
        Err(_) => Err(InvalidAddress { kind: "IP address", text: text.to_owned() }),
    }
}

/// An IP address with the length of its prefix, such as `10.1.0.2/16`. The host bits are kept.
pub fn parse_cidr(text: &str) -> Result<IpNetwork, InvalidAddress> {
    let invalid = || InvalidAddress { kind: "CIDR address", text: text.to_owned() };
    let (ip, prefix) = text.split_once('/').ok_or_else(invalid)?;
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let ip: IpAddr = ip.parse().map_err(|_| invalid())?;
    let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
    Ok(canonical(IpNetwork::new(ip, prefix).map_err(|_| invalid())?))
}

/// An IPv4-mapped IPv6 network as the IPv4 network that it stands for; any other as it is.
pub fn canonical(net: IpNetwork) -> IpNetwork {
    match net.ip().to_canonical() {
        IpAddr::V4(ip) if net.is_ipv6() => {
            Ipv4Network::new(ip, net.prefix().saturating_sub(96)).map_or(net, IpNetwork::V4)
        }
        _ => net,
    }
}

/// For `#[serde(default, deserialize_with = "cni::address::ip")]`: an address; `""` is none.
pub fn ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    unset_or(deserializer, parse_ip)
}

/// For `#[serde(deserialize_with = "cni::address::cidr")]`: an address with its prefix.
pub fn cidr<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNetwork, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_cidr(&text).map_err(de::Error::custom)
}

/// For `#[serde(default, deserialize_with = "cni::address::opt_cidr")]`: an address with its prefix; `""` is none.
pub fn opt_cidr<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpNetwork>, D::Error> {
    unset_or(deserializer, parse_cidr)
}

fn unset_or<'de, D, T, E>(deserializer: D, parse: fn(&str) -> Result<T, E>) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    parse(&text).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for (text, printed) in [
            ("10.1.0.2/16", "10.1.0.2/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("FD77:0:0::2/64", "fd77::2/64"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.1/120", "10.0.0.1/24"),
            ("10.0.0.1/024", "10.0.0.1/24"),
        ] {
            assert_eq!(parse_cidr(text).unwrap().to_string(), printed);
        }
        assert_eq!(parse_ip("::ffff:10.0.0.1").unwrap().to_string(), "10.0.0.1");
    }

    #[test]
    fn refuses_with_the_known_texts() {
        for text in [
            "bogus",
            "",
            "10.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0.1/255.0.0.0",
            "10.0.0.1/+8",
            "fe80::1%eth0/64",
        ] {
            assert_eq!(parse_cidr(text).unwrap_err().to_string(), format!("invalid CIDR address: {text}"));
        }
        for text in ["bogus", "10.0.0", "010.0.0.1", "fe80::1%eth0", "10.0.0.1/8"] {
            assert_eq!(parse_ip(text).unwrap_err().to_string(), format!("invalid IP address: {text}"));
        }
    }
}
