//! The configuration of the `portmap` plugin: as it is written, and as it is meant.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use cni::plugin::Call;
use cni::quote::quote;
use cni::{Code, Error};
use serde::Deserialize;

/// The bit of the packet mark that asks for masquerading, unless another is chosen.
const DEFAULT_MARK_BIT: u8 = 13;
/// The highest bit of a packet mark.
const MARK_BIT_MAX: i64 = 31;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    backend: Option<String>,
    snat: Option<bool>,
    masq_all: bool,
    mark_masq_bit: Option<i64>,
    external_set_mark_chain: Option<String>,
    #[serde(rename = "conditionsV4")]
    conditions_v4: Vec<String>,
    #[serde(rename = "conditionsV6")]
    conditions_v6: Vec<String>,
    runtime_config: RuntimeConfig,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    port_mappings: Vec<WrittenMapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMapping {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

/// By which means destinations are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Elements in a table of our own.
    Nftables,
    /// A chain per container in iptables' `nat`.
    Iptables,
}

/// How iptables tells packets that need masquerading. The nftables back end needs no mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// By this bit of the packet mark, 0 to 31.
    Bit(u8),
    /// By whatever this chain, which somebody else made, does to them.
    Chain(String),
}

/// What can be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One port of the host that leads to one of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// On the host.
    pub host_port: u16,
    /// In the container.
    pub container_port: u16,
    /// Of both.
    pub protocol: Protocol,
    /// The host's address; none for any address of either family, an unspecified one for any of its family.
    pub host_ip: Option<IpAddr>,
}

/// What the configuration means. Every value in it is usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// By which means.
    pub backend: Backend,
    /// Packets whose answers would not come back this way get an address of the host as their source.
    pub snat: bool,
    /// All packets that come through a mapping do.
    pub masq_all: bool,
    /// How iptables tells them.
    pub mark: Mark,
    /// What else must hold for IPv4 packets, in the language of the back end, which reads it: one word or several an
    /// entry.
    pub conditions_v4: Vec<String>,
    /// The same for IPv6.
    pub conditions_v6: Vec<String>,
    /// In the order in which they are written, without repetitions.
    pub mappings: Vec<Mapping>,
}

/// What to do about mappings that can't be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Impossible {
    Refuse,
    /// There can be nothing of them, and a container must not be kept from going by a mapping that kept it from coming.
    Ignore,
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    ///
    /// When it does not decode or does not make sense.
    pub fn load(call: &Call) -> Result<Self, Error> {
        Self::validate(written(call)?, Impossible::Refuse)
    }

    /// Reads the configuration for a deletion: mappings that [`Config::load`] refuses, and the Go suite's DEL does not,
    /// are left out.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_for_deletion(call: &Call) -> Result<Self, Error> {
        Self::validate(written(call)?, Impossible::Ignore)
    }

    fn validate(written: Written, impossible: Impossible) -> Result<Self, Error> {
        let mark = match (written.mark_masq_bit, &written.external_set_mark_chain) {
            (Some(_), Some(_)) => {
                return Err(Error::internal("Cannot specify externalSetMarkChain and markMasqBit"));
            }
            (None, Some(chain)) => Mark::Chain(chain.clone()),
            (Some(bit), None) => Mark::Bit(mark_bit(bit)?),
            (None, None) => Mark::Bit(DEFAULT_MARK_BIT),
        };
        let backend = backend(&written)?;
        let mappings = mappings(&written.runtime_config.port_mappings, impossible)?;
        Ok(Self {
            backend,
            snat: written.snat.unwrap_or(true),
            masq_all: written.masq_all,
            mark,
            conditions_v4: written.conditions_v4,
            conditions_v6: written.conditions_v6,
            mappings,
        })
    }
}

fn written(call: &Call) -> Result<Written, Error> {
    call.config().map_err(|error| error.context("failed to parse network configuration"))
}

fn mark_bit(bit: i64) -> Result<u8, Error> {
    let usable = u8::try_from(bit).ok().filter(|_| bit <= MARK_BIT_MAX);
    usable.ok_or_else(|| Error::internal("MasqMarkBit must be between 0 and 31"))
}

/// The back end that is asked for, or that the options are for. Options of both are a contradiction.
fn backend(written: &Written) -> Result<Backend, Error> {
    let options = [
        ("externalSetMarkChain", written.external_set_mark_chain.as_ref().map(|_| Backend::Iptables)),
        ("conditionsV4", language(&written.conditions_v4)),
        ("conditionsV6", language(&written.conditions_v6)),
    ];
    let only = |backend: Backend| {
        let names = options.iter().filter(|(_, of)| *of == Some(backend)).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(" ")
    };
    let (backend, other) = match written.backend.as_deref() {
        Some("iptables") => (Backend::Iptables, Backend::Nftables),
        Some("nftables") => (Backend::Nftables, Backend::Iptables),
        Some(unknown) => return Err(Error::internal(format!("unrecognized backend {}", quote(unknown)))),
        None if only(Backend::Iptables).is_empty() => (Backend::Nftables, Backend::Iptables),
        None => (Backend::Iptables, Backend::Nftables),
    };
    let wrong = only(other);
    if wrong.is_empty() {
        return Ok(backend);
    }
    let text = format!("{backend} backend was requested but configuration contains {other}-specific options [{wrong}]");
    Err(Error::internal(text))
}

/// In whose language conditions are written: options of iptables begin with a hyphen or are negated.
fn language(conditions: &[String]) -> Option<Backend> {
    match conditions.first()?.chars().next()? {
        '-' | '!' => Some(Backend::Iptables),
        _ => Some(Backend::Nftables),
    }
}

/// All mappings, each once.
fn mappings(written: &[WrittenMapping], impossible: Impossible) -> Result<Vec<Mapping>, Error> {
    // What the Go suite refuses comes first, whatever else is wrong.
    written.iter().try_for_each(WrittenMapping::refuse_missing_ports)?;
    let mut mappings: Vec<Mapping> = Vec::new();
    for one in written {
        let mapping = match one.mapping() {
            Err(_) if impossible == Impossible::Ignore => continue,
            mapping => mapping?,
        };
        if mappings.contains(&mapping) {
            continue;
        }
        if let (Some(other), Impossible::Refuse) =
            (mappings.iter().find(|other| other.contradicts(&mapping)), impossible)
        {
            let (port, protocol) = (mapping.host_port, mapping.protocol);
            let (one, two) = (other.container_port, mapping.container_port);
            let text = format!("host port {port}/{protocol} is mapped to both container port {one} and {two}");
            return Err(Error::new(Code::INVALID_CONFIG, text));
        }
        mappings.push(mapping);
    }
    Ok(mappings)
}

impl WrittenMapping {
    fn refuse_missing_ports(&self) -> Result<(), Error> {
        for (whose, port) in [("container", self.container_port), ("host", self.host_port)] {
            if port <= 0 {
                return Err(invalid_port(whose, port));
            }
        }
        Ok(())
    }

    fn mapping(&self) -> Result<Mapping, Error> {
        let port = |whose, port: i64| u16::try_from(port).map_err(|_| invalid_port(whose, port));
        let container_port = port("container", self.container_port)?;
        let host_port = port("host", self.host_port)?;
        let refuse = |what: &str, value: &str| {
            let text = format!("{what} {} in the mapping of host port {host_port}", quote(value));
            Error::new(Code::INVALID_CONFIG, text)
        };
        let protocol = Protocol::parse(&self.protocol)
            .ok_or_else(|| refuse("unknown protocol", &self.protocol).with_details("known are tcp, udp and sctp"))?;
        let host_ip = match self.host_ip.as_str() {
            "" => None,
            text => Some(text.parse::<IpAddr>().map_err(|_| refuse("invalid hostIP", text))?.to_canonical()),
        };
        Ok(Mapping { host_port, container_port, protocol, host_ip })
    }
}

fn invalid_port(whose: &str, port: i64) -> Error {
    Error::internal(format!("Invalid {whose} port number: {port}"))
}

impl Mapping {
    /// The host's address when it is a certain one.
    #[must_use]
    pub fn specific_ip(&self) -> Option<IpAddr> {
        self.host_ip.filter(|ip| !ip.is_unspecified())
    }

    /// Whether it is about packets of the family.
    #[must_use]
    pub fn is_for(&self, is_ipv6: bool) -> bool {
        self.host_ip.is_none_or(|ip| ip.is_ipv6() == is_ipv6)
    }

    /// Whether some packet would have to go to both targets. A certain address and any address do not contradict each
    /// other, because the certain one wins.
    fn contradicts(&self, other: &Self) -> bool {
        let meet = [false, true].iter().any(|is_ipv6| self.is_for(*is_ipv6) && other.is_for(*is_ipv6));
        meet && self.specific_ip() == other.specific_ip()
            && (self.host_port, self.protocol) == (other.host_port, other.protocol)
            && self.container_port != other.container_port
    }
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Reads `protocol`, in any letter case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// The protocol with this number in IP packets, if it is one of those.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == number)
    }

    /// Its number in IP packets.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name, as nftables, iptables and the configuration know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        })
    }
}
