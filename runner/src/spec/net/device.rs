//! `--netdev`: network devices of the host that a container gets.

use std::fmt;
use std::str::FromStr;

use cni::IfName;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A device, and what it is called inside: `eth1`, `eth1:wan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetDevice {
    /// Its name in the host.
    pub host: String,
    /// Its name in the container.
    pub name: String,
}

impl NetDevice {
    /// The device `host` as `name`.
    ///
    /// # Errors
    /// One of them is no name of a device, or the device is the loopback, which every container has.
    pub fn new(host: &str, name: &str) -> Result<Self> {
        for each in [host, name] {
            each.parse::<IfName>().map_err(|error| Error::new(format!("invalid network device {each:?}: {error}")))?;
            if each == "lo" {
                return Err(Error::new("invalid network device \"lo\": every container has a loopback of its own"));
            }
        }
        Ok(Self { host: host.to_owned(), name: name.to_owned() })
    }
}

impl FromStr for NetDevice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (host, name) = text.split_once(':').unwrap_or((text, text));
        Self::new(host, name)
    }
}

impl fmt::Display for NetDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.name)
    }
}

impl TryFrom<String> for NetDevice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<NetDevice> for String {
    fn from(device: NetDevice) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_back_as_printed() {
        for (text, printed) in [("eth1", "eth1:eth1"), ("eth1:wan", "eth1:wan"), ("enp3s0.7:v7", "enp3s0.7:v7")] {
            assert_eq!(text.parse::<NetDevice>().unwrap().to_string(), printed);
        }
        for text in ["", ":", "eth1:", ":wan", "a/b", "lo", "eth1:lo", "sixteen-letters0", "a b", "..", "a:b:c"] {
            assert!(text.parse::<NetDevice>().is_err(), "{text:?}");
        }
    }
}
