//! Policy routing through a [`Handle`]: rules, and whole tables; and what tells one namespace's life from another's.

use std::os::fd::{AsFd, AsRawFd};

use super::Handle;
use crate::netlink::Error;
use crate::netns::{NetNs, number};
use crate::route::{self, Verbatim};
use crate::rule::{self, Rule};

impl Handle {
    /// The routes of both families in a table that lead through the link with `index`, and through no other.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn link_routes(&mut self, table: u32, index: u32) -> Result<Vec<Verbatim>, Error> {
        let mut routes = self.verbatim(table, Some(index))?;
        routes.retain(|route| route.hops().iter().all(|hop| hop.table == Some(table) && hop.oif == Some(index)));
        Ok(routes)
    }

    /// The routes of both families in a table.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn table_routes(&mut self, table: u32) -> Result<Vec<Verbatim>, Error> {
        let mut routes = self.verbatim(table, None)?;
        routes.retain(|route| route.hops().iter().all(|hop| hop.table == Some(table)));
        Ok(routes)
    }

    fn verbatim(&mut self, table: u32, oif: Option<u32>) -> Result<Vec<Verbatim>, Error> {
        match self.socket.dump(&route::list_all(table, oif)) {
            Ok(frames) => Verbatim::from_frames(&frames),
            // A table that was never used does not exist.
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The policy routing rules of every family.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        Rule::from_frames(&self.socket.dump(&rule::list())?)
    }

    /// Whether the kernel goes by rules at all (`CONFIG_IP_MULTIPLE_TABLES`): it has three from the start.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn has_rules(&mut self) -> Result<bool, Error> {
        Ok(!self.socket.dump(&rule::list_ipv4())?.is_empty())
    }

    /// The number by which this namespace knows `other`, as [`Link::peer_namespace`](crate::link::Link) has it; none if no link
    /// leads there.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn number_of(&mut self, other: &NetNs) -> Result<Option<u32>, Error> {
        Ok(number::from_frames(&self.socket.request(number::get(other.as_fd()))?))
    }

    /// A number that this namespace has and no other had since the machine started (`SO_NETNS_COOKIE`, Linux 5.14):
    /// unlike the inode of its file, which the next namespace gets.
    #[must_use]
    pub fn netns_cookie(&self) -> Option<u64> {
        let mut cookie = 0u64;
        let mut length = nix::libc::socklen_t::try_from(size_of::<u64>()).ok()?;
        // SAFETY: the kernel writes at most `length` bytes, which is the size of `cookie`; both outlive the call.
        #[expect(unsafe_code, reason = "no wrapper knows this option")]
        let answer = unsafe {
            nix::libc::getsockopt(
                self.socket.as_raw_fd(),
                nix::libc::SOL_SOCKET,
                nix::libc::SO_NETNS_COOKIE,
                (&raw mut cookie).cast(),
                &raw mut length,
            )
        };
        (answer == 0 && cookie != 0).then_some(cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{NewEnd, new_veth};
    use crate::mac::Mac;
    use crate::sandbox::container;

    #[test]
    fn a_namespace_keeps_its_number_and_shares_it_with_none() {
        let one = Handle::inside(container()).unwrap();
        let again = Handle::inside(crate::netns::NetNs::open(path(&one)).unwrap()).unwrap();
        let other = Handle::inside(container()).unwrap();
        assert!(one.netns_cookie().is_some());
        assert_eq!(one.netns_cookie(), again.netns_cookie());
        assert_ne!(one.netns_cookie(), other.netns_cookie());
    }

    #[test]
    fn a_link_says_in_which_namespace_its_other_end_is() {
        crate::sandbox::alone(|| {
            let (mut here, there, elsewhere) = (Handle::here().unwrap(), container(), container());
            let end = |name: &str, last| NewEnd { name: name.into(), mac: Mac::new([2, 0, 0, 0, 0, last]), mtu: None };
            assert_eq!(here.number_of(&there).unwrap(), None);
            here.call(new_veth(&end("a", 1), None, &end("b", 2), there.as_fd())).unwrap();
            let link = here.link("a").unwrap().unwrap();
            assert!(link.peer_namespace.is_some());
            assert_eq!(here.number_of(&there).unwrap(), link.peer_namespace);
            assert_ne!(here.number_of(&elsewhere).unwrap(), link.peer_namespace);
        });
    }

    fn path(handle: &Handle) -> String {
        format!("/proc/self/fd/{}", handle.netns().as_fd().as_raw_fd())
    }
}
