//! The keys that interface plugins have in common: as they are written, and as they are meant.

use cni::Error;
use cni::plugin::Attachment;
use cni::quote::quote;
use cni::result::Dns;
use kernel::Mac;
use kernel::link::Pair;
use serde::Deserialize;

/// The largest MTU of a virtual link, `ETH_MAX_MTU`.
const MTU_MAX: i64 = 65535;
/// The smallest MTU of IPv4, `ETH_MIN_MTU`.
const MTU_MIN: i64 = 68;

/// The key `ipam`, of which an interface plugin reads the plugin's name; the rest is that plugin's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrittenIpam {
    /// The IPAM plugin's name; empty on a network without addresses.
    pub r#type: String,
}

/// The key `dns`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrittenDns {
    nameservers: Option<Vec<String>>,
    domain: Option<String>,
    search: Option<Vec<String>>,
    options: Option<Vec<String>>,
}

/// An object in which only a hardware address is looked at: `runtimeConfig`, `args.cni`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WithMac {
    /// As it is written; empty for none.
    pub mac: String,
}

impl WrittenDns {
    /// What is written, when any of the four members is, be it as an empty list.
    #[must_use]
    pub fn any(self) -> Option<Dns> {
        let Self { nameservers, domain, search, options } = self;
        let any = nameservers.is_some() || domain.is_some() || search.is_some() || options.is_some();
        any.then(|| Dns {
            nameservers: nameservers.unwrap_or_default(),
            domain: domain.unwrap_or_default(),
            search: search.unwrap_or_default(),
            options: options.unwrap_or_default(),
        })
    }
}

/// The MTU in bytes; none for the kernel's default.
///
/// # Errors
///
/// When no link can have it.
pub fn mtu(written: i64) -> Result<Option<u32>, Error> {
    match u32::try_from(written) {
        Ok(bytes) if (MTU_MIN..=MTU_MAX).contains(&written) => Ok(Some(bytes)),
        // The Go suite takes anything below one for "not set".
        _ if written <= 0 => Ok(None),
        _ => Err(Error::internal(format!("invalid MTU {written} (must be between {MTU_MIN} and {MTU_MAX})"))),
    }
}

/// What a pair of links is to be made of (`linkType`, which the Go suite does not have): veth unless written otherwise.
///
/// # Errors
///
/// When it is nothing that pairs are made of.
pub fn link_type(written: &str) -> Result<Pair, Error> {
    match written {
        "" | "veth" => Ok(Pair::Veth),
        "netkit" => Ok(Pair::Netkit),
        other => Err(Error::internal(format!("unknown linkType {} (must be veth or netkit)", quote(other)))),
    }
}

/// The hardware address in the `CNI_ARGS` of an attachment; empty when there is none.
///
/// # Errors
///
/// When the arguments can't be read.
pub fn mac_argument(attachment: Option<&Attachment>) -> Result<String, Error> {
    let arguments = attachment.map_or("", |attachment| &attachment.args);
    Ok(cni::args::parse(arguments, &["MAC"])?.remove("MAC").unwrap_or_default())
}

/// A hardware address that a link can have; none when nothing is written. `attempt` begins the text of a refusal.
///
/// # Errors
///
/// When it is not an address, or none that a link can have.
pub fn mac(written: &str, attempt: &str) -> Result<Option<Mac>, Error> {
    if written.is_empty() {
        return Ok(None);
    }
    let mac: Mac = written.parse().map_err(|error| Error::internal(format!("{attempt}: {error}")))?;
    if !mac.is_assignable() {
        let text = format!("{attempt}: address {mac}: a link can't have a group address or all zeros");
        return Err(Error::internal(text));
    }
    Ok(Some(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_that_no_link_can_have_is_refused() {
        for written in [1, 67, 65536, i64::MAX] {
            let expected = format!("invalid MTU {written} (must be between 68 and 65535)");
            assert_eq!(mtu(written).unwrap_err().msg, expected);
        }
        assert_eq!(mtu(1400).unwrap(), Some(1400));
        assert_eq!(mtu(-1).unwrap(), None);
    }

    #[test]
    fn an_empty_list_of_name_servers_is_a_word_too() {
        let dns = |json: &str| serde_json::from_str::<WrittenDns>(json).unwrap().any();
        assert_eq!(dns("{}"), None);
        assert_eq!(dns(r#"{"nameservers": []}"#), Some(Dns::default()));
    }

    #[test]
    fn pairs_are_veth_or_netkit() {
        assert_eq!(link_type("").unwrap(), Pair::Veth);
        assert_eq!(link_type("netkit").unwrap(), Pair::Netkit);
        assert_eq!(link_type("x").unwrap_err().msg, "unknown linkType \"x\" (must be veth or netkit)");
    }

    #[test]
    fn addresses_that_no_link_can_have_are_refused() {
        assert_eq!(mac("", "x").unwrap(), None);
        assert_eq!(mac("02:00:00:00:00:01", "x").unwrap(), Some(Mac::new([2, 0, 0, 0, 0, 1])));
        assert_eq!(mac("zz", "failed").unwrap_err().msg, "failed: address zz: invalid MAC address");
        assert!(mac("01:00:00:00:00:01", "x").is_err() && mac("00:00:00:00:00:00", "x").is_err());
    }
}
