//! The configuration of the `tuning` plugin: as it is written, and as it is meant.

use std::path::PathBuf;

use cni::plugin::{Attachment, Call};
use cni::{Error, args};
use kernel::link::Settings;
use serde::Deserialize;

use super::sysctls::{self, Written as WrittenSysctls};
use crate::netconf::{self, WithMac};

/// Where backups are kept; gone after a restart of the machine, as are the links that they are about.
const DATA_DIR: &str = "/run/cni/tuning";

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    sysctl: WrittenSysctls,
    mac: String,
    promisc: bool,
    mtu: i64,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_qlen: Option<i64>,
    data_dir: String,
    runtime_config: WithMac,
    args: Option<Args>,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: Option<Overrides>,
}

/// What whoever starts the container may put in the place of the administrator's words.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Overrides {
    sysctl: Option<WrittenSysctls>,
    mac: Option<String>,
    promisc: Option<bool>,
    mtu: Option<i64>,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_qlen: Option<i64>,
}

/// What the configuration says, with everybody's words in their places. What can be wrong about values is found out when
/// they are asked for, as the order of refusals wants it.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The parameters.
    pub(super) sysctls: sysctls::Wanted,
    /// The hardware address as it is written; empty for none.
    pub(super) mac: String,
    /// Promiscuous.
    pub(super) promisc: bool,
    mtu: i64,
    allmulti: Option<bool>,
    tx_qlen: Option<i64>,
    /// Where backups are kept.
    pub(super) data_dir: PathBuf,
}

impl Config {
    /// Reads the configuration for an attachment, or for the network.
    ///
    /// # Errors
    ///
    /// When it does not decode, or `CNI_ARGS` can't be read.
    pub(super) fn load(call: &Call, attachment: Option<&Attachment>) -> Result<Self, Error> {
        let mut written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        let args = attachment.map_or(Ok(args::Args::new()), |attachment| args::parse(&attachment.args, &["MAC"]))?;
        if let Some(mac) = args.get("MAC").filter(|mac| !mac.is_empty()) {
            written.mac.clone_from(mac);
        }
        if !written.runtime_config.mac.is_empty() {
            written.mac = written.runtime_config.mac;
        }
        let over = written.args.unwrap_or_default().cni.unwrap_or_default();
        let data_dir = if written.data_dir.is_empty() { DATA_DIR } else { &written.data_dir };
        Ok(Self {
            sysctls: sysctls::Wanted::new(written.sysctl, over.sysctl.unwrap_or_default()),
            mac: over.mac.unwrap_or(written.mac),
            promisc: over.promisc.unwrap_or(written.promisc),
            mtu: over.mtu.unwrap_or(written.mtu),
            allmulti: over.allmulti.or(written.allmulti),
            tx_qlen: over.tx_qlen.or(written.tx_qlen),
            data_dir: data_dir.into(),
        })
    }

    /// The attributes of the link that are to be set. Promiscuous mode is only ever switched on.
    ///
    /// # Errors
    ///
    /// When no link can have one of them.
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        let mac = netconf::mac(&self.mac, &format!("invalid args {} for MAC addr", self.mac))?;
        let number = |name: &str, written: i64| {
            u32::try_from(written).map_err(|_| Error::internal(format!("invalid {name} {written}")))
        };
        Ok(Settings {
            mac,
            mtu: Some(number("MTU", self.mtu)?).filter(|&mtu| mtu != 0),
            promiscuous: self.promisc.then_some(true),
            all_multicast: self.allmulti,
            queue_length: self.tx_qlen.map(|length| number("txQLen", length)).transpose()?,
        })
    }
}
