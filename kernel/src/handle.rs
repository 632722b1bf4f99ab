//! rtnetlink inside one network namespace.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::link::InfoKind;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::address::{self, Address};
use crate::link::{self, Link};
use crate::netlink::{Error, Outcome, Request, Socket};
use crate::netns::NetNs;
use crate::route::{self, Route};

/// A namespace and a route socket in it.
#[derive(Debug)]
pub struct Handle {
    netns: NetNs,
    socket: Socket,
}

impl Handle {
    /// A handle for the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// When the socket can't be had.
    pub fn here() -> io::Result<Self> {
        let netns = NetNs::current().map_err(io::Error::other)?;
        Ok(Self { netns, socket: Socket::open(NETLINK_ROUTE)? })
    }

    /// A handle for `netns`: the socket is opened there, and the caller stays where it is.
    ///
    /// # Errors
    ///
    /// When the namespace can't be entered or the socket can't be had.
    pub fn inside(netns: NetNs) -> io::Result<Self> {
        let socket = netns.run(|| Socket::open(NETLINK_ROUTE)).map_err(io::Error::other)??;
        Ok(Self { netns, socket })
    }

    /// The namespace.
    #[must_use]
    pub fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// Several requests in one message; see [`Socket::exchange`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn exchange(&mut self, requests: &[Request]) -> Result<Vec<Outcome>, Error> {
        self.socket.exchange(requests)
    }

    /// One request of which only success matters.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn call(&mut self, request: Request) -> Result<(), Error> {
        self.socket.request(request).map(drop)
    }

    /// The link called `name`, by a lookup.
    ///
    /// # Errors
    ///
    /// Any refusal but "there is none".
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        self.lookup(link::get(name))
    }

    /// The link with `index`, by a lookup.
    ///
    /// # Errors
    ///
    /// Any refusal but "there is none".
    pub fn link_at(&mut self, index: u32) -> Result<Option<Link>, Error> {
        self.lookup(link::get_index(index))
    }

    fn lookup(&mut self, request: Request) -> Result<Option<Link>, Error> {
        match self.socket.request(request) {
            Ok(frames) => Ok(Link::from_frames(&frames)?.into_iter().next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All veths.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn veths(&mut self) -> Result<Vec<Link>, Error> {
        let frames = self.socket.dump(&link::list(InfoKind::Veth))?;
        Link::from_frames(&frames)
    }

    /// The addresses of one family on the link with `index`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn addresses(&mut self, index: u32, is_ipv6: bool) -> Result<Vec<Address>, Error> {
        let frames = match self.socket.dump(&address::list(index, is_ipv6)) {
            Ok(frames) => frames,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Address::from_frames(&frames)?.into_iter().filter(|address| address.link == index).collect())
    }

    /// Whether packets to `address` stay here, because it is the machine's own and in use.
    ///
    /// # Errors
    ///
    /// Any refusal but "there is no route".
    pub fn is_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        match self.socket.request(route::get(address)) {
            Ok(frames) => route::is_local(&frames),
            Err(error) if matches!(error.errno(), Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The routes of one family in a table.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn routes(&mut self, is_ipv6: bool, table: u32) -> Result<Vec<Route>, Error> {
        let frames = match self.socket.dump(&route::list(is_ipv6, table)) {
            Ok(frames) => frames,
            // A table that was never used does not exist.
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        Route::from_frames(&frames)
    }
}
