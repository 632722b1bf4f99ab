//! `-p` and `--expose`: ports of the container that the host passes on.
//!
//! The grammar is Docker's: `[[HOST-IP:][HOST-PORT]:]CONTAINER-PORT[/PROTOCOL]`, where a port may be a range
//! `FIRST-LAST`, and an IPv6 address stands in brackets. Ranges of the same length are mapped one to one; a range of the
//! host for a single port means any free one of it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::written::written_as_text;

/// A transport that has ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One port of the container, and where on the host it shall appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// A certain address of the host; none for all of both families.
    pub host_ip: Option<IpAddr>,
    /// The port of the host.
    pub host_port: HostPort,
    /// The port of the container.
    pub container_port: u16,
    /// The transport.
    pub protocol: Protocol,
}

/// A port of the host, as far as it is settled before the container starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostPort {
    /// Any that is free.
    Any,
    /// The first free one from the first to the second.
    OneOf(u16, u16),
    /// This one.
    Exactly(u16),
}

/// A port that an image or `--expose` names, for `-P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expose {
    /// The port of the container.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl Publish {
    /// What one `-p` means, a value a port of the container.
    ///
    /// # Errors
    /// The text is none of the spellings.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let invalid = |why: &str| Error::new(format!("invalid port mapping {text:?}: {why}"));
        let (ports, protocol) = split_protocol(text).map_err(|why| invalid(&why))?;
        let (host_ip, ports) = split_address(ports).map_err(|why| invalid(&why))?;
        let (host, container) = match ports.rsplit_once(':') {
            Some((host, container)) => (host, container),
            None if host_ip.is_some() => return Err(invalid("an address needs HOST-PORT:CONTAINER-PORT behind it")),
            None => ("", ports),
        };
        let container = range(container).map_err(|why| invalid(&why))?;
        let host = if host.is_empty() { None } else { Some(range(host).map_err(|why| invalid(&why))?) };
        let length = container.1 - container.0;
        let host_port = |offset: u16| match host {
            None => Ok(HostPort::Any),
            Some((first, last)) if last - first == length => Ok(HostPort::Exactly(first + offset)),
            Some((first, last)) if length == 0 => Ok(HostPort::OneOf(first, last)),
            Some(_) => Err(invalid("the two ranges differ in length")),
        };
        (0..=length)
            .map(|offset| {
                Ok(Self { host_ip, host_port: host_port(offset)?, container_port: container.0 + offset, protocol })
            })
            .collect()
    }
}

impl Expose {
    /// What one `--expose`, or one key of an image's `ExposedPorts`, means.
    ///
    /// # Errors
    /// The text is no `PORT[-LAST][/PROTOCOL]`.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let invalid = |why: String| Error::new(format!("invalid port {text:?}: {why}"));
        let (ports, protocol) = split_protocol(text).map_err(invalid)?;
        let (first, last) = range(ports).map_err(invalid)?;
        Ok((first..=last).map(|port| Self { port, protocol }).collect())
    }
}

fn split_protocol(text: &str) -> Result<(&str, Protocol), String> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((ports, name)) => match name.to_ascii_lowercase().as_str() {
            "tcp" => Ok((ports, Protocol::Tcp)),
            "udp" => Ok((ports, Protocol::Udp)),
            "sctp" => Ok((ports, Protocol::Sctp)),
            _ => Err(format!("the protocol is tcp, udp or sctp, not {name:?}")),
        },
    }
}

/// The address in front, if there is one, and the rest behind its colon.
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), String> {
    let (address, rest) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or("the bracket is not closed")?;
        (address, rest.strip_prefix(':').ok_or("a colon is missing behind the address")?)
    } else if text.matches(':').count() > 1 {
        text.split_once(':').unwrap_or_default()
    } else {
        return Ok((None, text));
    };
    // Docker takes an empty address for any.
    if address.is_empty() {
        return Ok((None, rest));
    }
    let address = address.parse().map_err(|_| format!("{address:?} is not an IP address (IPv6 needs brackets)"))?;
    Ok((Some(address), rest))
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(format!("{text:?} is not a port from 1 to 65535")),
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if last < first { Err(format!("the range {text} ends before it begins")) } else { Ok((first, last)) }
}

impl Protocol {
    /// Its name, in small letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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

impl fmt::Display for Expose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

impl FromStr for Expose {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::parse(text)?.as_slice() {
            [one] => Ok(*one),
            _ => Err(Error::new(format!("{text:?} is a range where one port is expected"))),
        }
    }
}

written_as_text!(Expose);

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        let show = |p: &Publish| {
            let ip = p.host_ip.map_or_else(|| "*".into(), |ip| ip.to_string());
            let host = match p.host_port {
                HostPort::Any => "?".to_owned(),
                HostPort::OneOf(first, last) => format!("{first}..{last}"),
                HostPort::Exactly(port) => port.to_string(),
            };
            format!("{ip} {host} {}/{}", p.container_port, p.protocol)
        };
        Publish::parse(text).unwrap().iter().map(show).collect()
    }

    /// Requirement: S4-5, F-ports.
    #[test]
    fn every_spelling_of_a_mapping_is_understood() {
        assert_eq!(parsed("80"), ["* ? 80/tcp"]);
        assert_eq!(parsed("8080:80"), ["* 8080 80/tcp"]);
        assert_eq!(parsed("53:53/udp"), ["* 53 53/udp"]);
        assert_eq!(parsed("9:9/SCTP"), ["* 9 9/sctp"]);
        assert_eq!(parsed("127.0.0.1:8080:80"), ["127.0.0.1 8080 80/tcp"]);
        assert_eq!(parsed("127.0.0.1::80"), ["127.0.0.1 ? 80/tcp"]);
        assert_eq!(parsed("[::1]:8080:80"), ["::1 8080 80/tcp"]);
        assert_eq!(parsed("[fd00::1]::80/udp"), ["fd00::1 ? 80/udp"]);
        assert_eq!(parsed("8000-8001:80-81"), ["* 8000 80/tcp", "* 8001 81/tcp"]);
        assert_eq!(parsed("8000-8010:80"), ["* 8000..8010 80/tcp"]);
        assert_eq!(parsed("80-82"), ["* ? 80/tcp", "* ? 81/tcp", "* ? 82/tcp"]);
        assert_eq!(parsed(":8080:80"), ["* 8080 80/tcp"]);
        assert_eq!(parsed(":80"), ["* ? 80/tcp"]);
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        let bad = [
            "",
            "x",
            "0",
            "65536",
            "+80",
            "80/icmp",
            "80:",
            "1.2.3.4:80",
            "1.2.3:8080:80",
            "::1:8080:80",
            "[::1:80:80",
            "[::1]80:80",
            "8000-8001:80-82",
            "81-80",
            "8080:80:90:1",
            "-80",
            "80-",
        ];
        for text in bad {
            assert!(Publish::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn exposed_ports_are_read_as_images_write_them() {
        let read = |text: &str| Expose::parse(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(read("80"), ["80/tcp"]);
        assert_eq!(read("53/udp"), ["53/udp"]);
        assert_eq!(read("80-81/tcp"), ["80/tcp", "81/tcp"]);
        assert!(Expose::parse("80:80").is_err());
    }
}
