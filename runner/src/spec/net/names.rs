//! Names and addresses that a container is known by, checked once.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::written::written_as_text;

/// A host name that the kernel takes: 1 to 64 bytes of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname(String);

/// A domain name, as the kernel's own (`setdomainname`) and behind the host name in `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

/// A hardware address that a link can have: neither of a group nor all zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(kernel::Mac);

/// `--add-host NAME:ADDRESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: Hostname,
    /// What it stands for.
    pub address: HostAddress,
}

/// The address of an extra host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAddress {
    /// This one.
    Address(IpAddr),
    /// `host-gateway`: an address at which the container reaches the host.
    Gateway,
}

fn is_name(text: &str, longest: usize) -> bool {
    let fits = (1..=longest).contains(&text.len()) && !text.starts_with(['-', '.']);
    fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl Hostname {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Domain {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Mac {
    /// The address itself.
    #[must_use]
    pub fn address(self) -> kernel::Mac {
        self.0
    }
}

impl FromStr for Hostname {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_name(text, 64) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(format!(
            "invalid host name {text:?}: it takes 1 to 64 letters, digits, '-', '_' and '.', and begins with a letter or digit"
        )))
    }
}

impl FromStr for Domain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if is_name(text, 64) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(format!("invalid domain name {text:?}: it takes 1 to 64 letters, digits, '-', '_' and '.'")))
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mac: kernel::Mac = text.replace('-', ":").parse().map_err(|_| {
            Error::new(format!("invalid hardware address {text:?}: expected six bytes such as 02:42:ac:11:00:02"))
        })?;
        if mac.is_assignable() {
            return Ok(Self(mac));
        }
        Err(Error::new(format!("no link can have the hardware address {text}: it is all zeroes or a group's")))
    }
}

impl FromStr for ExtraHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::new(format!("invalid extra host {text:?}: {why}"));
        let (name, address) = text
            .split_once(['=', ':'])
            .ok_or_else(|| invalid("expected NAME:ADDRESS, where the address may be host-gateway"))?;
        let name = name.parse().map_err(|error: Error| invalid(&error.message))?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match bare {
            "host-gateway" => HostAddress::Gateway,
            other => HostAddress::Address(
                other.parse().map_err(|_| invalid(&format!("{other:?} is neither an address nor host-gateway")))?,
            ),
        };
        Ok(Self { name, address })
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            HostAddress::Address(address) => write!(f, "{}:{address}", self.name),
            HostAddress::Gateway => write!(f, "{}:host-gateway", self.name),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

written_as_text!(Hostname, Domain, Mac, ExtraHost);

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: S3-3.
    #[test]
    fn host_names_longer_than_the_kernel_takes_are_refused() {
        assert!("a".repeat(64).parse::<Hostname>().is_ok());
        for bad in ["", &"a".repeat(65), "-a", ".a", "a b", "a/b"] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn extra_hosts_are_read_in_all_spellings() {
        let read = |text: &str| text.parse::<ExtraHost>().map(|host| host.to_string());
        assert_eq!(read("db:10.0.0.1").unwrap(), "db:10.0.0.1");
        assert_eq!(read("db=fd00::1").unwrap(), "db:fd00::1");
        assert_eq!(read("db:[fd00::1]").unwrap(), "db:fd00::1");
        assert_eq!(read("db:::1").unwrap(), "db:::1");
        assert_eq!(read("host.docker.internal:host-gateway").unwrap(), "host.docker.internal:host-gateway");
        for bad in ["db", "db:", "a b:1.2.3.4", "db:1.2.3", "db:x\n1.2.3.4 y"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hardware_addresses_that_no_link_can_have_are_refused() {
        assert_eq!("02-42-AC-11-00-02".parse::<Mac>().unwrap().to_string(), "02:42:ac:11:00:02");
        for bad in ["", "02:42", "01:00:00:00:00:01", "00:00:00:00:00:00", "zz:42:ac:11:00:02"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad:?}");
        }
    }
}
