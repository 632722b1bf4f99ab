//! What a person would type to get the same network: commands of `ip`.

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use kernel::link::NewEnd;

/// Where a command works.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// Where it is typed.
    Here,
    /// In a namespace that `ip` knows by a name.
    Name(&'a str),
    /// In the namespace of a file.
    File(&'a Path),
}

impl<'a> At<'a> {
    /// The namespace of a file, by its name if it has one: that of a file in /run/netns.
    pub(crate) fn of_file(path: &'a Path) -> Self {
        let name = path.strip_prefix("/run/netns").ok().and_then(Path::to_str);
        name.filter(|name| !name.is_empty() && !name.contains('/')).map_or(Self::File(path), Self::Name)
    }

    /// `ip` there.
    fn ip(self) -> String {
        match self {
            Self::Here => "ip".to_owned(),
            Self::Name(name) => format!("ip -n {name}"),
            Self::File(path) => format!("nsenter --net={} ip", path.display()),
        }
    }

    /// Makes the namespace.
    pub(crate) fn made(self) -> Vec<String> {
        match self {
            Self::Here => Vec::new(),
            Self::Name(name) => vec![format!("ip netns add {name}")],
            Self::File(path) => {
                let dir = path.parent().unwrap_or(Path::new("/")).display();
                let path = path.display();
                vec![format!("mkdir -p {dir} && touch {path}"), format!("unshare --net={path} true")]
            }
        }
    }

    /// Makes a veth pair, whose other end is born in the namespace `there`.
    pub(crate) fn pair(self, near: &NewEnd, far: &NewEnd, there: At<'_>) -> String {
        let netns = match there {
            At::Here => String::new(),
            At::Name(name) => format!(" netns {name}"),
            At::File(path) => format!(" netns {}", path.display()),
        };
        let (near, near_is, far, far_is) = (&near.name, born(near), &far.name, born(far));
        format!("{} link add {near}{near_is} type veth peer name {far}{netns}{far_is}", self.ip())
    }

    /// Makes a bridge.
    pub(crate) fn bridge(self, name: &str, mtu: Option<u32>) -> String {
        format!("{} link add {name}{} type bridge", self.ip(), of_size(mtu))
    }

    /// Makes a link a port of a bridge.
    pub(crate) fn port(self, name: &str, bridge: &str) -> String {
        format!("{} link set {name} master {bridge}", self.ip())
    }

    /// Sets a link up.
    pub(crate) fn up(self, name: &str) -> String {
        format!("{} link set {name} up", self.ip())
    }

    /// Gives a link an address, at once: nobody else is asked whether he has it.
    pub(crate) fn address(self, address: IpNetwork, name: &str) -> String {
        let at_once = if address.is_ipv6() { " nodad" } else { "" };
        format!("{} address add {address} dev {name}{at_once}", self.ip())
    }

    /// As [`At::address`], for a link that may have it already.
    pub(crate) fn shared_address(self, address: IpNetwork, name: &str) -> String {
        self.address(address, name).replacen(" add ", " replace ", 1)
    }

    /// The way to `to` by `gateway`, if there is one.
    pub(crate) fn route(self, to: IpNetwork, gateway: Option<IpAddr>, name: &str) -> String {
        let family = if to.is_ipv6() { " -6" } else { "" };
        let to = if to.prefix() == 0 { "default".to_owned() } else { to.to_string() };
        let via = gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
        format!("{}{family} route add {to}{via} dev {name}", self.ip())
    }
}

/// What an end of a pair is born with.
fn born(end: &NewEnd) -> String {
    format!(" address {}{}", end.mac, of_size(end.mtu))
}

fn of_size(mtu: Option<u32>) -> String {
    mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default()
}
