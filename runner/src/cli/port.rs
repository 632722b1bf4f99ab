//! `xnet port`.

use clap::Args;

use crate::error::{Error, Result};
use crate::net::Connected;
use crate::spec::{Dirs, Expose};
use crate::state::Store;

/// Which container, and which of its ports.
#[derive(Debug, Args)]
pub(super) struct Port {
    /// The container
    container: String,
    /// A port of the container, and its protocol
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<Expose>,
}

impl Port {
    /// Prints where on the host the container's published ports are.
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = Store::open(dirs)?;
        let id = store.find(&self.container)?;
        let mut ports = Connected::read(&store, &id).map(|connected| connected.ports).unwrap_or_default();
        ports.sort_by_key(|port| (port.container_port, port.protocol, port.host_port));
        let Some(asked) = self.port else {
            for port in &ports {
                port.host_sides().iter().for_each(|side| println!("{port} -> {side}"));
            }
            return Ok(0);
        };
        ports.retain(|port| (port.container_port, port.protocol) == (asked.port, asked.protocol));
        if ports.is_empty() {
            return Err(Error::new(format!("container {} does not publish port {asked}", self.container)));
        }
        ports.iter().flat_map(|port| port.host_sides()).for_each(|side| println!("{side}"));
        Ok(0)
    }
}
