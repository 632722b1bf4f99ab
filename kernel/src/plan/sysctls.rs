//! Kernel parameters of one namespace, written in one visit.

use std::fmt;
use std::io;

use super::{Deviation, Failure, Machine, Side, Step};
use crate::netlink;
use crate::sysctl;

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name with slashes, `net/ipv4/ip_forward`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What failing to set it means: nothing, or a failure that begins with this text.
    pub required: Option<String>,
}

impl Setting {
    /// A parameter which is good to have, but which the kernel may lack (`ipv6.disable=1`).
    #[must_use]
    pub fn wish(name: impl Into<String>, value: &str) -> Self {
        Self { name: name.into(), value: value.to_owned(), required: None }
    }

    /// A parameter without which the attachment does not work; `attempt` says what it was for.
    #[must_use]
    pub fn required(name: impl Into<String>, value: &str, attempt: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.to_owned(), required: Some(attempt.into()) }
    }

    fn write(&self) -> Result<(), String> {
        match (sysctl::ensure(&self.name, &self.value), &self.required) {
            (Err(error), Some(attempt)) => Err(format!("{attempt}: {}", reason(&error))),
            _ => Ok(()),
        }
    }
}

/// The parameters of one namespace. Shared, or gone with the link that they are about: never undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctls {
    /// Where.
    pub side: Side,
    /// In this order.
    pub settings: Vec<Setting>,
}

impl fmt::Display for Sysctls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, setting) in self.settings.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{}sysctl -w {}={}", self.side, setting.name, setting.value)?;
        }
        Ok(())
    }
}

impl Step for Sysctls {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "set kernel parameters", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let write = || self.settings.iter().try_for_each(Setting::write);
        let result = match (self.side, machine.container_netns()) {
            (Side::Host, _) | (Side::Container, None) => write(),
            (Side::Container, Some(netns)) => {
                netns.run(write).map_err(|error| error.to_string()).and_then(|inner| inner)
            }
        };
        result.map_err(|text| Failure::other(self, text))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let required = || {
            let settings = self.settings.iter().filter(|setting| setting.required.is_some());
            settings.map(|setting| (setting.clone(), sysctl::read(&setting.name))).collect::<Vec<_>>()
        };
        let found = match (self.side, machine.container_netns()) {
            (Side::Host, _) | (Side::Container, None) => required(),
            (Side::Container, Some(netns)) => {
                netns.run(required).map_err(|error| Deviation::Unknown(error.to_string()))?
            }
        };
        for (setting, value) in found {
            let value =
                value.map_err(|error| Deviation::Unknown(format!("sysctl {}: {}", setting.name, reason(&error))))?;
            if value.trim() != setting.value {
                return Err(Deviation::Sysctl { name: setting.name, expected: setting.value, found: value });
            }
        }
        Ok(())
    }
}

fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |raw| crate::sentence(nix::errno::Errno::from_raw(raw)))
}
