//! IPv6 addresses word for word: read from a link, and given to it again, with their flags and lifetimes.

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::{Address, HEADER, IFA_FLAGS};
use crate::netlink::attribute::{Attributes, number};
use crate::netlink::rtnl::RTM_NEWADDR;
use crate::netlink::{Error, Frame, Request};

/// `RT_SCOPE_UNIVERSE`.
const GLOBAL: u8 = 0;
/// `IFA_F_TEMPORARY`: a privacy address, which the kernel makes and remakes.
const IFA_F_TEMPORARY: u32 = 0x01;

/// An address as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verbatim {
    /// The address, with the length of its prefix.
    pub network: IpNetwork,
    payload: Vec<u8>,
}

impl Verbatim {
    /// Those of the addresses that answer a request which a user or a router has given: link-local and temporary ones
    /// are the kernel's own.
    ///
    /// # Errors
    ///
    /// When an answer is not an address.
    pub fn from_frames(frames: &[Frame]) -> Result<Vec<Self>, Error> {
        let mut addresses = Vec::new();
        for frame in frames {
            let (address, payload) = (Address::parse(frame)?, frame.payload());
            let flags = Attributes(&payload[HEADER..]).find(|(kind, _)| *kind == IFA_FLAGS);
            let is_temporary = flags.is_some_and(|(_, value)| number(value) & IFA_F_TEMPORARY != 0);
            if payload[3] == GLOBAL && !is_temporary {
                addresses.push(Self { network: address.network, payload: payload.to_vec() });
            }
        }
        Ok(addresses)
    }

    /// The request that gives it again. What the kernel reports about an address (tentative, permanent) is no part of
    /// what it takes, and it passes that over.
    #[must_use]
    pub fn add(&self) -> Request {
        Request { kind: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL, payload: self.payload.clone() }
    }
}

#[cfg(test)]
mod tests {
    use crate::Handle;
    use crate::sandbox::{alone, ip};

    #[test]
    fn flags_and_lifetimes_survive() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            ip("link add net1 type veth peer name net2");
            ip("link set net2 up");
            ip("link set net1 up");
            ip("address add 10.0.0.1/24 dev net1");
            ip("-6 address add fd00::1/64 dev net1 nodad");
            ip("-6 address add fd01::1/64 dev net1 nodad noprefixroute valid_lft 1000 preferred_lft 500");
            let index = handle.link("net1").unwrap().unwrap().index;
            let shown = || {
                let all = ip("-6 -o address show dev net1 scope global");
                let mut lines: Vec<String> = all.lines().map(|line| line.replace("tentative ", "")).collect();
                lines.sort();
                lines
            };
            let (before, saved) = (shown(), handle.global_ipv6(index).unwrap());
            let addresses: Vec<String> = saved.iter().map(|address| address.network.to_string()).collect();
            assert_eq!((addresses.len(), addresses.contains(&"fd00::1/64".into())), (2, true), "{addresses:?}");
            assert!(handle.call(saved[0].add()).unwrap_err().is_exists());
            ip("-6 address flush dev net1 scope global");
            assert!(shown().is_empty());
            for address in &saved {
                handle.call(address.add()).unwrap();
            }
            let left = |lines: Vec<String>| {
                lines
                    .iter()
                    .map(|line| line.replace("999sec", "1000sec").replace("499sec", "500sec"))
                    .collect::<Vec<_>>()
            };
            assert_eq!(left(shown()), left(before));
        });
    }
}
