//! What a user may tune of any link (`ip link set`).

use std::fmt;

use rtnetlink::LinkUnspec;

use super::Link;
use crate::mac::Mac;
use crate::netlink::Request;
use crate::netlink::rtnl::{RTM_SETLINK, request};

/// Attributes of a link, to be set; none for those that stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Ethernet address.
    pub mac: Option<Mac>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// `IFF_PROMISC`.
    pub promiscuous: Option<bool>,
    /// `IFF_ALLMULTI`.
    pub all_multicast: Option<bool>,
    /// The length of the transmit queue in packets.
    pub queue_length: Option<u32>,
}

impl Settings {
    /// Whether nothing is to be set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What `link` has now of the attributes that are set here.
    #[must_use]
    pub fn of(&self, link: &Link) -> Self {
        Self {
            mac: self.mac.and(link.mac),
            mtu: self.mtu.and(Some(link.mtu)),
            promiscuous: self.promiscuous.and(Some(link.promiscuous)),
            all_multicast: self.all_multicast.and(Some(link.all_multicast)),
            queue_length: self.queue_length.and(Some(link.queue_length)),
        }
    }

    /// Each attribute that is set, alone: for a kernel that refuses them together.
    #[must_use]
    pub fn singly(&self) -> Vec<Self> {
        let none = Self::default();
        let all = [
            Self { mtu: self.mtu, ..none },
            Self { mac: self.mac, ..none },
            Self { promiscuous: self.promiscuous, ..none },
            Self { all_multicast: self.all_multicast, ..none },
            Self { queue_length: self.queue_length, ..none },
        ];
        all.into_iter().filter(|one| !one.is_empty()).collect()
    }

    /// `ip link set NAME ...`, all in one message. The kernel goes through them one by one and stops at the first that
    /// it refuses, so after a refusal some may be set.
    #[must_use]
    pub fn request(&self, name: &str) -> Request {
        let mut link = LinkUnspec::new_with_name(name);
        if let Some(mac) = self.mac {
            link = link.address(mac.bytes().to_vec());
        }
        if let Some(mtu) = self.mtu {
            link = link.mtu(mtu);
        }
        if let Some(on) = self.promiscuous {
            link = link.promiscuous(on);
        }
        if let Some(on) = self.all_multicast {
            link = link.allmulticast(on);
        }
        if let Some(length) = self.queue_length {
            link = link.txqueuelen(length);
        }
        request(RTM_SETLINK, &link.build(), 0)
    }
}

/// As `ip link set dev NAME` takes it.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: Option<bool>| on.map(|on| if on { "on" } else { "off" }.to_owned());
        let words = [
            ("address", self.mac.map(|mac| mac.to_string())),
            ("mtu", self.mtu.map(|mtu| mtu.to_string())),
            ("promisc", switch(self.promiscuous)),
            ("allmulticast", switch(self.all_multicast)),
            ("txqueuelen", self.queue_length.map(|length| length.to_string())),
        ];
        let mut space = "";
        for (word, value) in words {
            let Some(value) = value else { continue };
            write!(f, "{space}{word} {value}")?;
            space = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::Handle;
    use crate::link::{NewEnd, new_veth};
    use crate::sandbox::alone;

    const ALL: Settings = Settings {
        mac: Some(Mac::new([2, 0, 0, 0, 0, 9])),
        mtu: Some(1300),
        promiscuous: Some(true),
        all_multicast: Some(true),
        queue_length: Some(77),
    };

    /// A link called `a`, and what it has of everything.
    fn link(handle: &mut Handle) -> Link {
        let end = |name: &str, last| NewEnd { name: name.into(), mac: Mac::new([2, 0, 0, 0, 0, last]), mtu: None };
        let pair = new_veth(&end("a", 1), None, &end("b", 2), handle.netns().as_fd());
        handle.call(pair).unwrap();
        handle.link("a").unwrap().unwrap()
    }

    #[test]
    fn all_are_set_by_one_message_and_set_back_by_another() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let before = link(&mut handle);
            handle.call(ALL.request("a")).unwrap();
            let tuned = handle.link("a").unwrap().unwrap();
            assert_eq!(ALL.of(&tuned), ALL);
            assert_eq!(tuned.promiscuity, 1);
            handle.call(ALL.of(&before).request("a")).unwrap();
            assert_eq!(ALL.of(&handle.link("a").unwrap().unwrap()), ALL.of(&before));
            assert_ne!(ALL.of(&before), ALL);
        });
    }

    #[test]
    fn what_is_not_set_stays() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let before = link(&mut handle);
            handle.call(Settings { all_multicast: Some(true), ..Settings::default() }.request("a")).unwrap();
            let after = handle.link("a").unwrap().unwrap();
            assert_eq!(after, Link { all_multicast: true, ..before });
        });
    }

    #[test]
    fn reads_as_a_command() {
        assert_eq!(ALL.to_string(), "address 02:00:00:00:00:09 mtu 1300 promisc on allmulticast on txqueuelen 77");
        assert_eq!(Settings::default().to_string(), "");
        let singly: Vec<String> = ALL.singly().iter().map(Settings::to_string).collect();
        assert_eq!(singly.len(), 5);
        assert!(ALL.to_string().split(' ').all(|word| singly.iter().any(|one| one.contains(word))));
    }
}
