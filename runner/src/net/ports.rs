//! Ports of the host that lead to containers: which, and that nobody else has them.
//!
//! Packets are led by rules of the plugins, and a rule does not care whether a process of the host listens at the same
//! port: it would be shadowed without a word. So the container's parent holds a socket at each published port, bound but
//! not listening, from before anything is made until the container has ended. Who has the port already is told at once
//! (`EADDRINUSE`), and who wants it later is told by the kernel. A connection that no rule leads away is refused, as if
//! nobody were there. Between two containers the plugins refuse as well: a port is an element of a map with an owner.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname, setsockopt, socket, sockopt,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::spec::{HostPort, Net, NetMode, Protocol, Publish};

/// One published port, settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mapping {
    /// The host's address; none for all.
    pub(crate) host_ip: Option<IpAddr>,
    /// The host's port.
    pub(crate) host_port: u16,
    /// The container's.
    pub(crate) container_port: u16,
    /// The transport.
    pub(crate) protocol: Protocol,
}

/// The published ports of a container, held until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    pub(crate) mappings: Vec<Mapping>,
    sockets: Vec<OwnedFd>,
}

/// How often another port is tried when a free one was asked for and the one found is taken in the other family.
const ATTEMPTS: usize = 32;

impl Reserved {
    /// Takes the ports that `net` publishes.
    ///
    /// # Errors
    /// One is taken, or its address is not one of this host.
    pub(crate) fn take(net: &Net) -> Result<Self> {
        let mut reserved = Self::default();
        for publish in wanted(net) {
            let (port, sockets) = reserve(&publish, Hold::of(net))?;
            reserved.sockets.extend(sockets);
            reserved.mappings.push(Mapping {
                host_ip: publish.host_ip,
                host_port: port,
                container_port: publish.container_port,
                protocol: publish.protocol,
            });
        }
        Ok(reserved)
    }

    /// Takes what the dead owner of a running container had taken. What somebody has got hold of in between is his: packets
    /// go to the container all the same.
    pub(crate) fn again(mappings: Vec<Mapping>) -> Self {
        let taken = mappings.iter().filter_map(|mapping| take(&mapping.publish(), mapping.host_port, Hold::Alone).ok());
        let sockets = taken.flat_map(|(_, sockets)| sockets).collect();
        Self { mappings, sockets }
    }
}

impl Reserved {
    /// Lets go of the ports, for a program that listens there itself.
    pub(super) fn release(&mut self) {
        self.sockets.clear();
    }
}

/// Whether any port is to be published.
pub(super) fn is_wanted(net: &Net) -> bool {
    !wanted(net).is_empty()
}

/// What was asked for by `-p`, and by `-P` for the rest of what is exposed; nothing twice.
pub(super) fn wanted(net: &Net) -> Vec<Publish> {
    let mut wanted: Vec<Publish> = Vec::new();
    for publish in &net.publish {
        if !wanted.contains(publish) {
            wanted.push(*publish);
        }
    }
    for expose in net.exposed.iter().filter(|_| net.publish_all) {
        if !wanted.iter().any(|p| (p.container_port, p.protocol) == (expose.port, expose.protocol)) {
            let (container_port, protocol) = (expose.port, expose.protocol);
            wanted.push(Publish { host_ip: None, host_port: HostPort::Any, container_port, protocol });
        }
    }
    wanted
}

/// What a port is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// To keep everybody else from it.
    Alone,
    /// To see that nobody listens there, before a program does. Connections that have ended there are no obstacle to either: the kernel
    /// remembers them for a minute.
    ForAnother,
}

impl Hold {
    fn of(net: &Net) -> Self {
        if matches!(net.mode, NetMode::Carried(_)) { Self::ForAnother } else { Self::Alone }
    }
}

fn reserve(publish: &Publish, hold: Hold) -> Result<(u16, Vec<OwnedFd>)> {
    let take = |port: u16| take(publish, port, hold);
    match publish.host_port {
        HostPort::Exactly(port) => take(port).map_err(|refusal| refusal.into_error(publish, port)),
        HostPort::OneOf(first, last) => (first..=last).find_map(|port| take(port).ok()).ok_or_else(|| {
            Error::new(format!("every {} port of the host from {first} to {last} is taken", publish.protocol))
        }),
        HostPort::Any => {
            let mut refusal = None;
            for _ in 0..ATTEMPTS {
                match take(0) {
                    Ok(taken) => return Ok(taken),
                    Err(why) => refusal = Some(why),
                }
            }
            let refusal = refusal.unwrap_or(Refusal { address: None, errno: Errno::EADDRINUSE });
            Err(refusal.into_error(publish, 0))
        }
    }
}

#[derive(Debug)]
struct Refusal {
    address: Option<SocketAddr>,
    errno: Errno,
}

impl Refusal {
    fn into_error(self, publish: &Publish, port: u16) -> Error {
        let (at, protocol) = (self.address.map_or_else(String::new, |at| format!(" at {at}")), publish.protocol);
        Error::new(match self.errno {
            Errno::EADDRINUSE if port > 0 => format!(
                "port {port}/{protocol} of the host is taken{at}: a process of the host or another container has it \
                 (`ss -lntup` or `xnet ps` tells which)"
            ),
            Errno::EADDRINUSE => format!("no {protocol} port of the host is free"),
            Errno::EADDRNOTAVAIL => format!("publish port {port}/{protocol}: this host has no address{at}"),
            Errno::EACCES => format!(
                "take port {port}/{protocol} of the host{at}: {} (those below net.ipv4.ip_unprivileged_port_start, by default \
                 1024, are root's)",
                Errno::EACCES.desc()
            ),
            errno => format!("take port {port}/{protocol} of the host{at}: {}", errno.desc()),
        })
    }
}

/// Takes `port`, or any for 0, at each address that the mapping is about. A family or a protocol that this kernel lacks
/// can't be taken by anybody, and needs no socket.
fn take(publish: &Publish, port: u16, hold: Hold) -> std::result::Result<(u16, Vec<OwnedFd>), Refusal> {
    let addresses = match publish.host_ip {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    let (mut port, mut sockets) = (port, Vec::new());
    for address in addresses {
        let at = SocketAddr::new(address, port);
        match bound(at, publish.protocol, hold) {
            Ok((taken, socket)) => {
                port = taken;
                sockets.push(socket);
            }
            Err(Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT) => {}
            // Without any IPv6 address, as where it is switched off.
            Err(Errno::EADDRNOTAVAIL) if publish.host_ip.is_none() => {}
            Err(errno) => return Err(Refusal { address: Some(at), errno }),
        }
    }
    if port == 0 {
        return Err(Refusal { address: None, errno: Errno::EPROTONOSUPPORT });
    }
    Ok((port, sockets))
}

fn bound(at: SocketAddr, protocol: Protocol, hold: Hold) -> nix::Result<(u16, OwnedFd)> {
    let family = if at.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, number)?;
    if hold == Hold::ForAnother && protocol == Protocol::Tcp {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    if at.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let port = name.as_sockaddr_in().map(|v4| v4.port()).or_else(|| name.as_sockaddr_in6().map(|v6| v6.port()));
    Ok((port.unwrap_or(at.port()), socket))
}

impl Mapping {
    /// What asks for exactly this.
    fn publish(&self) -> Publish {
        Publish {
            host_ip: self.host_ip,
            host_port: HostPort::Exactly(self.host_port),
            container_port: self.container_port,
            protocol: self.protocol,
        }
    }

    /// Whether nobody has the host's side.
    pub(super) fn is_free(&self) -> bool {
        take(&self.publish(), self.host_port, Hold::ForAnother).is_ok()
    }

    /// As plugins are told of it.
    pub(crate) fn to_cni(self) -> Value {
        let mut entry = json!({
            "hostPort": self.host_port,
            "containerPort": self.container_port,
            "protocol": self.protocol.as_str(),
        });
        if let (Some(ip), Value::Object(entry)) = (self.host_ip, &mut entry) {
            entry.insert("hostIP".to_owned(), ip.to_string().into());
        }
        entry
    }

    /// The host's side, one text for each family that it is about.
    pub(crate) fn host_sides(&self) -> Vec<String> {
        let at = |ip: IpAddr| SocketAddr::new(ip, self.host_port).to_string();
        match self.host_ip {
            Some(ip) => vec![at(ip)],
            None => vec![at(Ipv4Addr::UNSPECIFIED.into()), at(Ipv6Addr::UNSPECIFIED.into())],
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container_port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::spec::Expose;

    fn net(publish: &[&str]) -> Net {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        crate::sys::link::loopback_up().unwrap();
        let publish = publish.iter().flat_map(|text| Publish::parse(text).unwrap()).collect();
        Net { publish, ..Net::of(NetMode::None) }
    }

    /// Requirement: S4-5, N-9.
    #[test]
    fn a_port_that_is_held_is_held_from_everybody() {
        let net = net(&["8080:80", "127.0.0.1:5353:53/udp"]);
        let reserved = Reserved::take(&net).unwrap();
        assert_eq!(reserved.mappings.len(), 2);
        assert!(TcpListener::bind("127.0.0.1:8080").is_err());
        assert!(TcpListener::bind("[::1]:8080").is_err());
        assert!(UdpSocket::bind("127.0.0.1:5353").is_err());
        assert!(UdpSocket::bind("127.0.0.2:5353").is_ok());
        let error = Reserved::take(&net).unwrap_err().message;
        assert!(error.contains("port 8080/tcp of the host is taken at 0.0.0.0:8080"), "{error}");
        drop(reserved);
        assert!(TcpListener::bind("127.0.0.1:8080").is_ok());
    }

    #[test]
    fn free_ports_are_found_and_ranges_are_walked() {
        let mut net = net(&["80", "81/udp", "8000-8001:82"]);
        let _taken = TcpListener::bind("127.0.0.1:8000").unwrap();
        (net.publish_all, net.exposed) = (true, vec!["80/tcp".parse().unwrap(), "90/udp".parse::<Expose>().unwrap()]);
        let ports = Reserved::take(&net).unwrap().mappings;
        assert!(ports[0].host_port > 1023 && ports[1].host_port > 1023);
        assert_eq!(ports[2].host_port, 8001);
        assert_eq!((ports.len(), ports[3].container_port), (4, 90));
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let error = Reserved::take(&net(&["192.0.2.77:80:80"])).unwrap_err().message;
        assert!(error.contains("this host has no address at 192.0.2.77:80"), "{error}");
    }
}
