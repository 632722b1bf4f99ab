//! Conditions in the language of nftables: what else must hold of a packet that is to be mapped.
//!
//! `nft` itself is not asked, and its language is large, so this reads the part in which such conditions are: addresses,
//! interfaces and marks, each compared with one value. The rest is refused by name.

use std::net::IpAddr;

use cni::quote::quote;
use cni::{Code, Error};
use ipnetwork::IpNetwork;
use kernel::nft::{Comparison, Field, Operand, Statement, Value};

use super::config::Config;

/// What can be asked.
const SUPPORTED: &str = "supported are ip and ip6 saddr and daddr, iifname, oifname and meta mark, each with == or != or neither and one value";

/// The conditions of a configuration for packets of one family.
///
/// # Errors
///
/// As [`parse`].
pub(super) fn of(config: &Config, is_ipv6: bool) -> Result<Vec<Statement>, Error> {
    parse(if is_ipv6 { &config.conditions_v6 } else { &config.conditions_v4 }, is_ipv6)
}

/// Reads conditions for packets of one family, one word or several an entry, as the Go suite joins them.
///
/// # Errors
///
/// The first word that is not understood, with code 7.
fn parse(words: &[String], is_ipv6: bool) -> Result<Vec<Statement>, Error> {
    let key = if is_ipv6 { "conditionsV6" } else { "conditionsV4" };
    let joined = words.join(" ");
    let mut reader = Reader { key, is_ipv6, words: joined.split_whitespace() };
    let mut statements = Vec::new();
    while let Some(word) = reader.words.next() {
        statements.push(reader.statement(word)?);
    }
    Ok(statements)
}

struct Reader<'a> {
    key: &'static str,
    is_ipv6: bool,
    words: std::str::SplitWhitespace<'a>,
}

/// What a field is compared with.
enum Kind {
    Address,
    Interface,
    Mark,
}

impl<'a> Reader<'a> {
    fn statement(&mut self, word: &'a str) -> Result<Statement, Error> {
        let word = if word == "meta" { self.next("a key after meta")? } else { word };
        let (field, kind) = match word {
            "ip" | "ip6" => (self.address_field(word)?, Kind::Address),
            // By name even where `nft` goes by index: an index is lost with its interface.
            "iifname" | "iif" => (Field::IifName, Kind::Interface),
            "oifname" | "oif" => (Field::OifName, Kind::Interface),
            "mark" => (Field::Mark, Kind::Mark),
            _ => return Err(self.refuse(word)),
        };
        let (comparison, value) = match self.next("a value")? {
            "==" | "eq" => (Comparison::Equal, self.next("a value")?),
            "!=" | "ne" => (Comparison::NotEqual, self.next("a value")?),
            value => (Comparison::Equal, value),
        };
        let operand = match kind {
            Kind::Address => self.network(value),
            Kind::Interface => interface(value),
            Kind::Mark => number(value).map(|mark| Value::Mark(mark).into()),
        };
        Ok(Statement::Match(field, comparison, operand.ok_or_else(|| self.refuse(value))?))
    }

    fn address_field(&mut self, protocol: &str) -> Result<Field, Error> {
        if (protocol == "ip6") != self.is_ipv6 {
            return Err(self.error(format_args!("{protocol} never matches here")));
        }
        match (self.next("saddr or daddr")?, self.is_ipv6) {
            ("saddr", false) => Ok(Field::IpSaddr),
            ("daddr", false) => Ok(Field::IpDaddr),
            ("saddr", true) => Ok(Field::Ip6Saddr),
            ("daddr", true) => Ok(Field::Ip6Daddr),
            (other, _) => Err(self.refuse(other)),
        }
    }

    /// An address, or a network without bits of a host.
    fn network(&self, text: &str) -> Option<Operand> {
        let network: IpNetwork = text.parse().ok()?;
        (network.is_ipv6() == self.is_ipv6).then_some(())?;
        let is_host = network.prefix() == if self.is_ipv6 { 128 } else { 32 };
        let address: IpAddr = network.network();
        Some(if is_host { Value::from(address).into() } else { network.into() })
    }

    fn next(&mut self, wanted: &str) -> Result<&'a str, Error> {
        let next = self.words.next();
        next.ok_or_else(|| self.error(format_args!("it ends where {wanted} should be")))
    }

    fn refuse(&self, word: &str) -> Error {
        self.error(format_args!("{} is not understood", quote(word)))
    }

    fn error(&self, text: std::fmt::Arguments<'_>) -> Error {
        Error::new(Code::INVALID_CONFIG, format!("{}: {text}", self.key)).with_details(SUPPORTED)
    }
}

/// An interface's name, in quotes or not, or the beginning of names with an asterisk behind it.
fn interface(text: &str) -> Option<Operand> {
    let name = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let (name, is_prefix) = name.strip_suffix('*').map_or((name, false), |prefix| (prefix, true));
    let is_name = (1..16).contains(&name.len()) && !name.contains(['"', '*', '{', '}', '@', '$', ',', '/', ':']);
    let value = if is_prefix { Value::IfPrefix(name.to_owned()) } else { Value::IfName(name.to_owned()) };
    is_name.then(|| value.into())
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_ipv6: bool) -> Result<String, String> {
        // Entries are one word each, several, or halves of what belongs together.
        let words: Vec<String> = text.split('|').map(str::to_owned).collect();
        let statements = parse(&words, is_ipv6).map_err(|error| error.msg)?;
        Ok(statements.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_understood() {
        let table = [
            ("", ""),
            ("ip saddr 192.0.2.0/24", "ip saddr 192.0.2.0/24"),
            ("ip|daddr|!=|192.0.2.9/24", "ip daddr != 192.0.2.0/24"),
            ("ip daddr 192.0.2.1", "ip daddr 192.0.2.1"),
            ("ip daddr == 192.0.2.1/32", "ip daddr 192.0.2.1"),
            ("iifname eth0", "iifname \"eth0\""),
            ("meta|iifname|!=|\"eth*\"", "iifname != \"eth*\""),
            ("iif eth0 oif ne eth1", "iifname \"eth0\" oifname != \"eth1\""),
            ("meta mark 0x2000", "meta mark 0x00002000"),
            ("mark != 7", "meta mark != 0x00000007"),
            ("iifname eth0 ip saddr 10.0.0.0/8", "iifname \"eth0\" ip saddr 10.0.0.0/8"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text, false).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(read("ip6 saddr != fd00::/8", true).as_deref(), Ok("ip6 saddr != fd00::/8"));
        assert_eq!(read("ip6 daddr fd00::1", true).as_deref(), Ok("ip6 daddr fd00::1"));
    }

    #[test]
    fn what_is_not_is_named() {
        let table = [
            ("zz yy", "conditionsV4: \"zz\" is not understood"),
            ("ip saddr @set", "conditionsV4: \"@set\" is not understood"),
            ("ip saddr { 10.0.0.1, 10.0.0.2 }", "conditionsV4: \"{\" is not understood"),
            ("ip ttl 1", "conditionsV4: \"ttl\" is not understood"),
            ("ip saddr fd00::1", "conditionsV4: \"fd00::1\" is not understood"),
            ("ip6 saddr fd00::1", "conditionsV4: ip6 never matches here"),
            ("iifname", "conditionsV4: it ends where a value should be"),
            ("iifname !=", "conditionsV4: it ends where a value should be"),
            ("meta", "conditionsV4: it ends where a key after meta should be"),
            ("ip", "conditionsV4: it ends where saddr or daddr should be"),
            ("iifname 0123456789abcdef", "conditionsV4: \"0123456789abcdef\" is not understood"),
            ("meta mark 0x100000000", "conditionsV4: \"0x100000000\" is not understood"),
            ("ct state new", "conditionsV4: \"ct\" is not understood"),
            ("tcp dport 80", "conditionsV4: \"tcp\" is not understood"),
            ("accept", "conditionsV4: \"accept\" is not understood"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text, false).unwrap_err(), expected, "{text}");
        }
        assert_eq!(read("ip saddr 10.0.0.1", true).unwrap_err(), "conditionsV6: ip never matches here");
    }
}
