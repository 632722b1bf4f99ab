//! Options about how a container is connected.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::net::bridge::Network;
use crate::spec::{Hostname, Net, NetMode};

/// The network and the names.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::cli) struct NetFlags {
    /// bridge, host, none or container:NAME
    #[arg(long, alias = "network", value_name = "MODE", default_value = "bridge")]
    net: NetMode,
    /// The host name inside; by default the first twelve digits of the id
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) hostname: Option<Hostname>,
    /// The list of CNI plugins that wires the container in bridge mode; by default one bridge, xnet0
    #[arg(long, value_name = "FILE.conflist")]
    conf: Option<PathBuf>,
    /// Where the plugins are, separated by colons; by default they are inside xnet
    #[arg(long, value_name = "DIRS", env = "XNET_CNI_PATH")]
    cni_path: Option<OsString>,
}

impl NetFlags {
    /// What was asked for.
    pub(in crate::cli) fn net(&self) -> Net {
        Net { mode: self.net.clone(), hostname: self.hostname.clone() }
    }

    /// The list of plugins, in bridge mode.
    pub(in crate::cli) fn network(&self) -> Result<Option<Network>> {
        if self.net != NetMode::Bridge {
            return match (&self.conf, &self.cni_path) {
                (Some(_), _) => Err(Error::new("--conf is about --net bridge, and means nothing in another mode")),
                _ => Ok(None),
            };
        }
        let plugin_path = self.cni_path.as_deref().map(|dirs| env::split_paths(dirs).collect()).unwrap_or_default();
        Network::load(self.conf.as_deref(), plugin_path).map(Some)
    }
}
