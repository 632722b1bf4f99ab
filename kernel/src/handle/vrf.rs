//! VRFs through a [`Handle`], and what a link loses when it joins or leaves one.

use super::Handle;
use crate::address;
use crate::link::{self, Link};
use crate::netlink::Error;
use crate::route::{self, Verbatim};

/// `RT_TABLE_UNSPEC`: no table in particular.
const ANY_TABLE: u32 = 0;

impl Handle {
    /// All VRFs.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn vrfs(&mut self) -> Result<Vec<Link>, Error> {
        let frames = self.socket.dump(&link::list("vrf"))?;
        // A kernel that has none of a kind may not know the kind, and then lists everything.
        Ok(Link::from_frames(&frames)?.into_iter().filter(|link| link.is("vrf")).collect())
    }

    /// The ports of the bridge or VRF with index `master`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn ports(&mut self, master: u32) -> Result<Vec<Link>, Error> {
        let frames = self.socket.dump(&link::list_ports(master))?;
        Ok(Link::from_frames(&frames)?.into_iter().filter(|link| link.master == Some(master)).collect())
    }

    /// The IPv6 addresses of global scope that were given to the link with `index`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn global_ipv6(&mut self, index: u32) -> Result<Vec<address::Verbatim>, Error> {
        match self.socket.dump(&address::list(index, true)) {
            Ok(frames) => address::Verbatim::from_frames(&frames),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The routes of both families, in all tables, with a next hop through the link with `index`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn routes_through(&mut self, index: u32) -> Result<Vec<Verbatim>, Error> {
        let frames = match self.socket.dump(&route::list_all(ANY_TABLE, Some(index))) {
            Ok(frames) => frames,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut routes = Verbatim::from_frames(&frames)?;
        routes.retain(|route| route.hops().iter().any(|hop| hop.oif == Some(index)));
        Ok(routes)
    }
}
