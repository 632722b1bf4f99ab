//! The configuration of the `bridge` plugin: as it is written, and as it is meant.

use std::collections::BTreeSet;

use cni::Error;
use cni::plugin::{Attachment, Call};
use cni::result::Dns;
use kernel::Mac;
use kernel::link::Pair;
use kernel::vlan::Vlan;
use serde::Deserialize;

use crate::masquerade::Backend;
use crate::netconf::{self, WithMac, WrittenDns, WrittenIpam};

/// The highest VLAN id that can be used (802.1Q reserves 4095).
const VID_MAX: i64 = 4094;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "these are the keys of the configuration format")]
struct Written {
    bridge: String,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: Option<String>,
    mtu: i64,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    vlan_trunk: Option<Vec<Trunk>>,
    preserve_default_vlan: bool,
    macspoofchk: bool,
    enabledad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
    #[serde(rename = "macFromIP")]
    mac_from_ip: bool,
    link_type: String,
    ipam: WrittenIpam,
    dns: WrittenDns,
    runtime_config: WithMac,
    args: Args,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// One entry of `vlanTrunk`: a range, an id, or both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trunk {
    #[serde(rename = "minID")]
    min_id: Option<i64>,
    #[serde(rename = "maxID")]
    max_id: Option<i64>,
    id: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: WithMac,
}

/// What the configuration means. Every value in it is usable.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Config {
    /// The bridge's name.
    pub(super) bridge: String,
    /// The bridge has the gateways' addresses, and the host forwards.
    pub(super) is_gateway: bool,
    /// The container's default routes go to the bridge.
    pub(super) is_default_gateway: bool,
    /// The gateway's address replaces others on the bridge.
    pub(super) force_address: bool,
    /// What leaves the container's network does so with the host's address.
    pub(super) ip_masq: bool,
    /// By which means, as it is written; looked at by ADD only.
    ip_masq_backend: Option<String>,
    /// Bytes as written; looked at by ADD only.
    mtu: i64,
    /// The container reaches itself through the bridge.
    pub(super) hairpin: bool,
    /// The bridge takes every frame.
    pub(super) promiscuous: bool,
    /// The access VLAN.
    pub(super) vlan: Option<u16>,
    /// Whether VLANs are configured at all, be it by an empty list.
    pub(super) vlan_filtering: bool,
    /// The tagged VLANs, sorted.
    trunk: Vec<u16>,
    /// The port stays in the bridge's default VLAN.
    pub(super) preserve_default_vlan: bool,
    /// Frames with another source address than the container's are dropped.
    pub(super) mac_spoof_check: bool,
    /// IPv6 addresses are tried for duplicates.
    pub(super) enable_dad: bool,
    /// The container's link stays down.
    pub(super) disable_container_interface: bool,
    /// The port talks to non-isolated ports only.
    pub(super) port_isolation: bool,
    /// The container's hardware address derives from its IPv4 address, unless one was asked for.
    pub(super) mac_from_ip: bool,
    /// What the pair of links is made of.
    pub(super) link_type: Pair,
    /// The IPAM plugin's name; empty on a network without addresses.
    pub(super) ipam: String,
    /// Replaces what IPAM says, when any of its keys is written.
    pub(super) dns: Option<Dns>,
    /// The container's hardware address as it is written; looked at by ADD only.
    mac: String,
}

impl Config {
    /// Reads and validates the configuration for an attachment.
    ///
    /// # Errors
    ///
    /// When it does not decode or a value is out of its range.
    pub(super) fn load(call: &Call, attachment: &Attachment) -> Result<Self, Error> {
        let config = Self::load_network(call)?;
        let mut arguments = cni::args::parse(&attachment.args, &["MAC"])?;
        let mac = match config.mac.as_str() {
            "" => arguments.remove("MAC").unwrap_or_default(),
            _ => config.mac,
        };
        Ok(Self { mac, ..config })
    }

    /// Reads and validates the configuration of the network alone, for GC and STATUS.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub(super) fn load_network(call: &Call) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        Self::validate(written)
    }

    fn validate(written: Written) -> Result<Self, Error> {
        let trunk = written.vlan_trunk.as_deref().map(trunk).transpose()?;
        let vlan = access_vlan(written.vlan)?;
        let macs = [written.runtime_config.mac, written.args.cni.mac];
        Ok(Self {
            bridge: if written.bridge.is_empty() { "cni0".into() } else { written.bridge },
            is_gateway: written.is_gateway || written.is_default_gateway,
            is_default_gateway: written.is_default_gateway,
            force_address: written.force_address,
            ip_masq: written.ip_masq,
            ip_masq_backend: written.ip_masq_backend,
            mtu: written.mtu,
            hairpin: written.hairpin_mode,
            promiscuous: written.promisc_mode,
            vlan,
            vlan_filtering: vlan.is_some() || trunk.is_some(),
            trunk: trunk.unwrap_or_default(),
            preserve_default_vlan: written.preserve_default_vlan,
            mac_spoof_check: written.macspoofchk,
            enable_dad: written.enabledad,
            disable_container_interface: written.disable_container_interface,
            port_isolation: written.port_isolation,
            mac_from_ip: written.mac_from_ip,
            link_type: netconf::link_type(&written.link_type)?,
            ipam: written.ipam.r#type,
            dns: written.dns.any(),
            mac: macs.into_iter().find(|mac| !mac.is_empty()).unwrap_or_default(),
        })
    }

    /// The combinations that ADD refuses.
    ///
    /// # Errors
    ///
    /// Which one it is.
    pub(super) fn refuse_contradictions(&self) -> Result<(), Error> {
        if self.disable_container_interface && !self.ipam.is_empty() {
            return Err(Error::internal("cannot use IPAM when DisableContainerInterface flag is set"));
        }
        if self.mac_from_ip && self.mac_spoof_check {
            return Err(Error::internal("cannot set macFromIP and macspoofchk at the same time"));
        }
        if self.hairpin && self.promiscuous {
            return Err(Error::internal("cannot set hairpin mode and promiscuous mode at the same time"));
        }
        Ok(())
    }

    /// The MTU in bytes; none for the kernel's default.
    ///
    /// # Errors
    ///
    /// When no link can have it.
    pub(super) fn mtu(&self) -> Result<Option<u32>, Error> {
        netconf::mtu(self.mtu)
    }

    /// By which means to masquerade; none when not to.
    ///
    /// # Errors
    ///
    /// When the means is not known.
    pub(super) fn masquerade(&self) -> Result<Option<Backend>, Error> {
        let backend = Backend::parse(self.ip_masq_backend.as_deref())?;
        Ok(self.ip_masq.then_some(backend))
    }

    /// The hardware address that the container is to have; none for one of ours.
    ///
    /// # Errors
    ///
    /// When it is not an address, or none that a link can have.
    pub(super) fn mac(&self) -> Result<Option<Mac>, Error> {
        netconf::mac(&self.mac, "failed to make veth pair")
    }

    /// The VLANs of the container's port; none when the bridge's default is right.
    pub(super) fn port_vlans(&self) -> Vec<Vlan> {
        let tagged = self.trunk.iter().copied().map(Vlan::tagged);
        match self.vlan {
            Some(vid) => std::iter::once(Vlan::access(vid)).chain(tagged).collect(),
            None if self.trunk.is_empty() => Vec::new(),
            // Untagged frames of a trunk belong to VLAN 1.
            None => tagged.chain([Vlan::access(1)]).collect(),
        }
    }
}

fn access_vlan(vlan: i64) -> Result<Option<u16>, Error> {
    match u16::try_from(vlan) {
        Ok(vid) if vlan <= VID_MAX => Ok((vid != 0).then_some(vid)),
        _ => Err(Error::internal(format!("invalid VLAN ID {vlan} (must be between 0 and {VID_MAX})"))),
    }
}

/// The union of all entries, sorted.
fn trunk(entries: &[Trunk]) -> Result<Vec<u16>, Error> {
    let vid = |written: i64, name: &str| {
        let usable = u16::try_from(written).ok().filter(|_| (1..=VID_MAX).contains(&written));
        usable.ok_or_else(|| Error::internal(format!("incorrect trunk {name} parameter")))
    };
    let mut vids = BTreeSet::new();
    for entry in entries {
        match (entry.min_id, entry.max_id) {
            (Some(min), Some(max)) => {
                let (min, max) = (vid(min, "minID")?, vid(max, "maxID")?);
                if min > max {
                    return Err(Error::internal("minID is greater than maxID in trunk parameter"));
                }
                vids.extend(min..=max);
            }
            (None, None) => {}
            (min, _) => {
                let missing = if min.is_none() { "minID" } else { "maxID" };
                let text = format!("minID and maxID should be configured simultaneously, {missing} is missing");
                return Err(Error::internal(text));
            }
        }
        if let Some(id) = entry.id {
            vids.insert(vid(id, "id")?);
        }
    }
    Ok(vids.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<Config, Error> {
        let written = cni::decode::from_slice(json.as_bytes()).map_err(|error| Error::internal(error.to_string()))?;
        Config::validate(written)
    }

    fn refusal(json: &str) -> String {
        config(json).unwrap_err().msg
    }

    #[test]
    fn nothing_written_means_the_defaults() {
        let config = config("{}").unwrap();
        assert_eq!(config.bridge, "cni0");
        assert_eq!((config.mtu().unwrap(), config.vlan, config.vlan_filtering), (None, None, false));
        assert!(config.dns.is_none() && config.mac().unwrap().is_none());
    }

    #[test]
    fn a_default_gateway_is_a_gateway() {
        assert!(config(r#"{"isDefaultGateway": true}"#).unwrap().is_gateway);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let table = [
            (r#"{"vlan": 5000}"#, "invalid VLAN ID 5000 (must be between 0 and 4094)"),
            (r#"{"vlan": -1}"#, "invalid VLAN ID -1 (must be between 0 and 4094)"),
            (r#"{"vlanTrunk": [{"id": 0}]}"#, "incorrect trunk id parameter"),
            (r#"{"vlanTrunk": [{"minID": 0, "maxID": 3}]}"#, "incorrect trunk minID parameter"),
            (r#"{"vlanTrunk": [{"minID": 1, "maxID": 4095}]}"#, "incorrect trunk maxID parameter"),
            (r#"{"vlanTrunk": [{"minID": 3, "maxID": 1}]}"#, "minID is greater than maxID in trunk parameter"),
            (
                r#"{"vlanTrunk": [{"maxID": 1}]}"#,
                "minID and maxID should be configured simultaneously, minID is missing",
            ),
            (
                r#"{"vlanTrunk": [{"minID": 1}]}"#,
                "minID and maxID should be configured simultaneously, maxID is missing",
            ),
        ];
        for (json, expected) in table {
            assert_eq!(refusal(json), expected, "{json}");
        }
    }

    #[test]
    fn vlans_of_a_port() {
        let vlans = |json| config(json).unwrap().port_vlans().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(vlans("{}"), [""; 0]);
        assert_eq!(vlans(r#"{"vlanTrunk": []}"#), [""; 0]);
        assert_eq!(vlans(r#"{"vlan": 100}"#), ["100 pvid untagged"]);
        let trunk = r#"{"vlanTrunk": [{"id": 9}, {"minID": 3, "maxID": 5}, {"id": 4}]}"#;
        assert_eq!(vlans(trunk), ["3", "4", "5", "9", "1 pvid untagged"]);
        assert_eq!(vlans(r#"{"vlan": 2, "vlanTrunk": [{"id": 9}]}"#), ["2 pvid untagged", "9"]);
        assert!(config(r#"{"vlanTrunk": []}"#).unwrap().vlan_filtering);
    }

    #[test]
    fn the_runtime_has_the_first_word_on_the_address() {
        let json = r#"{"runtimeConfig": {"mac": "02:00:00:00:00:01"}, "args": {"cni": {"mac": "02:00:00:00:00:02"}}}"#;
        assert_eq!(config(json).unwrap().mac().unwrap(), Some(Mac::new([2, 0, 0, 0, 0, 1])));
        let bad = config(r#"{"runtimeConfig": {"mac": "zz"}}"#).unwrap().mac().unwrap_err();
        assert_eq!(bad.msg, "failed to make veth pair: address zz: invalid MAC address");
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |json| config(json).unwrap().refuse_contradictions().unwrap_err().msg;
        assert_eq!(
            refused(r#"{"hairpinMode": true, "promiscMode": true}"#),
            "cannot set hairpin mode and promiscuous mode at the same time"
        );
        assert_eq!(
            refused(r#"{"disableContainerInterface": true, "ipam": {"type": "host-local"}}"#),
            "cannot use IPAM when DisableContainerInterface flag is set"
        );
    }
}
