//! The configuration, as it is meant.

use cni::plugin::Call;
use cni::{Error, IfName};
use serde::Deserialize;

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// The VRF's name.
    pub(super) vrf: String,
    /// Its routing table; none for the one that it has, or the first that is free.
    pub(super) table: Option<u32>,
}

/// The keys as they are written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    vrfname: String,
    table: u32,
}

impl Config {
    pub(super) fn read(call: &Call) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        if written.vrfname.is_empty() {
            return Err(Error::internal("configuration is expected to have a valid vrf name"));
        }
        // A link of no other name can be. The kernel would take `%d` for a number of its own choice.
        let refusal = match written.vrfname.parse::<IfName>() {
            Err(error) => Some(error.msg),
            Ok(_) => written.vrfname.contains('%').then(|| "interface name contains %".to_owned()),
        };
        if let Some(why) = refusal {
            let text = format!("configuration is expected to have a valid vrf name: {why}");
            return Err(Error::internal(text).with_details(written.vrfname));
        }
        Ok(Self { vrf: written.vrfname, table: (written.table != 0).then_some(written.table) })
    }
}
