//! rtnetlink inside one network namespace.

mod routing;
mod vrf;

use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::address::{self, Address};
use crate::link::{self, Link};
use crate::netlink::{Error, Outcome, Request, Socket};
use crate::netns::NetNs;
use crate::route::{self, Route};
use crate::tc;

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
        self.lookup(link::get_by_index(index))
    }

    fn lookup(&mut self, request: Request) -> Result<Option<Link>, Error> {
        match self.socket.request(request) {
            Ok(frames) => Ok(Link::from_frames(&frames)?.into_iter().next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of the links called `names` that are there, by lookups in one message.
    ///
    /// # Errors
    ///
    /// When the socket fails or an answer can't be read.
    pub fn links_named(&mut self, names: &[String]) -> Result<Vec<Link>, Error> {
        let requests: Vec<Request> = names.iter().map(|name| link::get(name)).collect();
        let frames: Vec<_> = self.socket.exchange(&requests)?.into_iter().filter_map(Result::ok).flatten().collect();
        Link::from_frames(&frames)
    }

    /// The links that several lookups find, each in its place, in one message.
    ///
    /// # Errors
    ///
    /// Any refusal but "there is none".
    pub fn lookups(&mut self, requests: &[Request]) -> Result<Vec<Option<Link>>, Error> {
        let found = |outcome: Outcome| match outcome.map_err(Error::from) {
            Ok(frames) => Ok(Link::from_frames(&frames)?.into_iter().next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
        self.socket.exchange(requests)?.into_iter().map(found).collect()
    }

    /// All intermediate functional blocks.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn ifbs(&mut self) -> Result<Vec<Link>, Error> {
        let frames = self.socket.dump(&link::list_ifbs())?;
        // A kernel that has none of a kind may not know the kind, and then lists everything.
        Ok(Link::from_frames(&frames)?.into_iter().filter(|link| link.is("ifb")).collect())
    }

    /// The links to which everything that arrives at the link with `index` is redirected.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn redirections(&mut self, index: u32) -> Result<Vec<u32>, Error> {
        self.socket.dump(&tc::list_filters(index)).map(|frames| tc::redirections(&frames))
    }

    /// All ends of pairs.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn pairs(&mut self) -> Result<Vec<Link>, Error> {
        let mut found = Link::from_frames(&self.socket.dump(&link::list("veth"))?)?;
        // A kernel that does not know the kind filters nothing.
        let netkits = Link::from_frames(&self.socket.dump(&link::list("netkit"))?)?;
        found.extend(netkits.into_iter().filter(|link| link.is(link::Pair::Netkit.as_str())));
        Ok(found)
    }

    /// All links: for those that only their hardware address or alias tells.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let frames = self.socket.dump(&link::list_all())?;
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

    /// The addresses of one family on all links.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn own_addresses(&mut self, is_ipv6: bool) -> Result<Vec<Address>, Error> {
        Address::from_frames(&self.socket.dump(&address::list(0, is_ipv6))?)
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::link::{NewEnd, new_veth};
    use crate::mac::Mac;
    use crate::sandbox::alone;
    use crate::{neighbour, rule};

    fn ip(words: &str) -> String {
        let output = Command::new("ip").args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A pair with both ends here; the index of one.
    fn pair(handle: &mut Handle) -> u32 {
        use std::os::fd::AsFd;
        let end = |name: &str, last| NewEnd { name: name.into(), mac: Mac::new([2, 0, 0, 0, 0, last]), mtu: None };
        let request = new_veth(&end("a", 1), None, &end("b", 2), handle.netns().as_fd());
        handle.call(request).unwrap();
        handle.link("a").unwrap().unwrap().index
    }

    #[test]
    fn very_many_requests_are_answered_each() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let index = pair(&mut handle);
            let addresses = (0..400u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0001 + n));
            let mut requests: Vec<Request> =
                addresses.map(|ip| address::add(index, IpAddr::from(ip).into(), false)).collect();
            requests.push(requests[0].clone());
            let outcomes = handle.exchange(&requests).unwrap();
            assert_eq!(outcomes.len(), 401);
            assert!(outcomes[..400].iter().all(Result::is_ok));
            assert_eq!(outcomes[400].as_ref().unwrap_err().errno, Errno::EEXIST);
            assert_eq!(handle.addresses(index, false).unwrap().len(), 400);
        });
    }

    #[test]
    fn neighbours_come_and_go() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let index = pair(&mut handle);
            for address in ["10.0.0.9", "fd00::9"] {
                let address: IpAddr = address.parse().unwrap();
                handle.call(neighbour::replace(index, address, Mac::new([2, 0, 0, 0, 0, 9]))).unwrap();
                let shown = ip(&format!("neighbour show {address} dev a"));
                assert!(shown.contains("lladdr 02:00:00:00:00:09 PERMANENT"), "{shown}");
                let found = handle.exchange(&[neighbour::get(index, address)]).unwrap();
                let known = neighbour::hardware_address(found[0].as_ref().unwrap());
                assert_eq!(known, Some(Mac::new([2, 0, 0, 0, 0, 9])));
                handle.call(neighbour::del(index, address)).unwrap();
                assert_eq!(ip(&format!("neighbour show {address} dev a")), "");
            }
        });
    }

    #[test]
    fn rules_come_and_go() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            for (family, source, shown) in [("-4", "10.0.0.9/32", "10.0.0.9"), ("-6", "fd00::/64", "fd00::/64")] {
                let source = source.parse().unwrap();
                handle.call(rule::add(source, 1000)).unwrap();
                let rules = ip(&format!("{family} rule"));
                assert!(rules.contains(&format!("from {shown} lookup 1000")), "{rules}");
                handle.call(rule::del(source, 1000)).unwrap();
                assert!(!ip(&format!("{family} rule")).contains("1000"));
            }
        });
    }
}
