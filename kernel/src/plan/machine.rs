//! The machine that a plan is carried out on.

use std::collections::HashMap;
use std::fmt;
use std::io;

use crate::handle::Handle;
use crate::link::Link;
use crate::netlink::Error;
use crate::netns::NetNs;
use crate::nft::Nft;

/// Which of the two namespaces of an attachment a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The namespace of the process.
    Host,
    /// The namespace of the container.
    Container,
}

/// What stands before the command line of a step in a namespace: nothing for the host's.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => Ok(()),
            Self::Container => f.write_str("[container] "),
        }
    }
}

/// Handles for the host's namespace and, where there is one, the container's; opened when first needed.
#[derive(Debug, Default)]
pub struct Machine {
    host: Option<Handle>,
    container: Option<Handle>,
    nft: Option<Nft>,
    indices: HashMap<(Side, String), u32>,
}

impl Machine {
    /// The calling thread's namespace alone.
    #[must_use]
    pub fn host_only() -> Self {
        Self::default()
    }

    /// The calling thread's namespace and `container`.
    ///
    /// # Errors
    ///
    /// When no socket can be opened inside the container's namespace.
    pub fn with_container(container: NetNs) -> io::Result<Self> {
        Ok(Self { container: Some(Handle::inside(container)?), ..Self::default() })
    }

    /// The handle for a side.
    ///
    /// # Errors
    ///
    /// When the socket can't be opened, or there is no container.
    pub fn side(&mut self, side: Side) -> Result<&mut Handle, Error> {
        match side {
            Side::Host => self.host(),
            Side::Container => {
                self.container.as_mut().ok_or_else(|| io::Error::other("there is no container namespace").into())
            }
        }
    }

    /// The handle for the host's namespace.
    ///
    /// # Errors
    ///
    /// When the socket can't be opened.
    pub fn host(&mut self) -> Result<&mut Handle, Error> {
        let host = match self.host.take() {
            Some(host) => host,
            None => Handle::here()?,
        };
        Ok(self.host.insert(host))
    }

    /// The namespace of the container, if there is one.
    #[must_use]
    pub fn container_netns(&self) -> Option<&NetNs> {
        self.container.as_ref().map(Handle::netns)
    }

    /// nf_tables in the host's namespace.
    ///
    /// # Errors
    ///
    /// When the socket can't be opened.
    pub fn nft(&mut self) -> Result<&mut Nft, crate::nft::Error> {
        let nft = match self.nft.take() {
            Some(nft) => nft,
            None => Nft::open()?,
        };
        Ok(self.nft.insert(nft))
    }

    /// The index of the link `name`, remembered from its last lookup.
    ///
    /// # Errors
    ///
    /// When there is no such link, with the kernel's `ENODEV`.
    pub fn index(&mut self, side: Side, name: &str) -> Result<u32, Error> {
        if let Some(index) = self.indices.get(&(side, name.to_owned())) {
            return Ok(*index);
        }
        match self.side(side)?.link(name)? {
            Some(link) => {
                self.remember(side, &link);
                Ok(link.index)
            }
            None => Err(crate::netlink::Refusal { errno: nix::errno::Errno::ENODEV, message: None }.into()),
        }
    }

    /// Keeps the index of a link that was just looked up.
    pub fn remember(&mut self, side: Side, link: &Link) {
        self.indices.insert((side, link.name.clone()), link.index);
    }

    /// Forgets the index of a link that is gone.
    pub fn forget(&mut self, side: Side, name: &str) {
        self.indices.remove(&(side, name.to_owned()));
    }
}
