//! Documents of every version into [`AddResult`].

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::Value;

use crate::address;
use crate::decode;
use crate::error::{Code, Error};
use crate::quote::quote;
use crate::result::{AddResult, Dns, Interface, IpConfig, Route};
use crate::version::{Format, Version};

impl AddResult {
    /// Reads a result as a document of `version`'s format. The document's own `cniVersion` must belong to that format too;
    /// only 0.1.0 and 0.2.0 may leave it out.
    pub fn parse(document: &Value, version: Version) -> Result<AddResult, Error> {
        let format = version.format();
        let stated: Stated = decode::from_value(document)?;
        check_stated(format, &stated.cni_version)?;
        match format {
            Format::Families => Ok(decode::from_value::<Families>(document)?.into()),
            Format::Tagged => Ok(decode::from_value::<Interfaces>(document)?.without_modern_fields()),
            Format::Plain => Ok(decode::from_value::<Interfaces>(document)?.into()),
        }
    }

    /// Reads what a plugin printed for an ADD whose configuration was of version `config`. The answer's own `cniVersion`
    /// decides; when it is missing or empty, the answer is taken to be of the configuration's version.
    pub fn parse_answer(stdout: &[u8], config: Version) -> Result<AddResult, Error> {
        let answer: Option<serde_json::Map<String, Value>> =
            decode::from_slice(stdout).map_err(|error| error.context("failed to unmarshal raw result"))?;
        let mut answer = answer.unwrap_or_default();
        let stated = answer.get("cniVersion").and_then(Value::as_str).filter(|stated| !stated.is_empty());
        let version = match stated {
            Some(stated) => known(stated)?,
            None => {
                answer.insert("cniVersion".to_owned(), config.as_str().into());
                config
            }
        };
        AddResult::parse(&Value::Object(answer), version)
    }
}

fn known(version: &str) -> Result<Version, Error> {
    version.parse().map_err(|_| unsupported(version))
}

pub(crate) fn unsupported(version: &str) -> Error {
    Error::internal(format!("unsupported CNI result version {}", quote(version)))
}

/// A document of another format would decode into a half-empty result without any error.
fn check_stated(format: Format, stated: &str) -> Result<(), Error> {
    let matching = match format {
        Format::Families => &["", "0.1.0", "0.2.0"][..],
        Format::Tagged => &["0.3.0", "0.3.1", "0.4.0"][..],
        Format::Plain => &["1.0.0", "1.1.0"][..],
    };
    if matching.contains(&stated) {
        return Ok(());
    }
    let (matching, stated) = (matching.join(" "), quote(stated));
    Err(Error::new(
        Code::INTERNAL,
        format!("result type supports [{matching}] but unmarshalled CNIVersion is {stated}"),
    ))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stated {
    cni_version: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Interfaces {
    interfaces: Vec<Interface>,
    ips: Vec<IpConfig>,
    routes: Vec<Route>,
    dns: Dns,
}

impl Interfaces {
    /// Fields of 1.1.0 mean nothing in an older document.
    fn without_modern_fields(self) -> AddResult {
        let mut result = AddResult::from(self);
        for interface in &mut result.interfaces {
            interface.mtu = None;
            interface.socket_path.clear();
            interface.pci_id.clear();
        }
        result
    }
}

impl From<Interfaces> for AddResult {
    fn from(document: Interfaces) -> AddResult {
        let Interfaces { interfaces, ips, routes, dns } = document;
        AddResult { interfaces, ips, routes, dns }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Families {
    ip4: Option<Family>,
    ip6: Option<Family>,
    dns: Dns,
}

#[derive(Deserialize)]
struct Family {
    #[serde(deserialize_with = "address::cidr")]
    ip: IpNetwork,
    #[serde(default, deserialize_with = "address::ip")]
    gateway: Option<IpAddr>,
    #[serde(default)]
    routes: Vec<Route>,
}

impl From<Families> for AddResult {
    fn from(document: Families) -> AddResult {
        let mut result = AddResult { dns: document.dns, ..AddResult::default() };
        for family in [document.ip4, document.ip6].into_iter().flatten() {
            result.ips.push(IpConfig { interface: None, address: family.ip, gateway: family.gateway });
            result.routes.extend(family.routes);
        }
        result
    }
}
