//! As much of SCTP as a port mapping has to carry: an INIT and its answer, as raw packets, since not every kernel speaks
//! SCTP itself. RFC 9260, section 3.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const IPPROTO_SCTP: i32 = 132;
const HEADER: usize = 12;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// The chunk that both packets carry: type, flags, length, tag, window, streams out and in, first sequence number.
const CHUNK: usize = 20;
const STATE_COOKIE: [u8; 2] = [0, 7];
const CLIENT_TAG: u32 = 0x786e_6574;
const SERVER_TAG: u32 = 0x7274_7369;

/// A raw socket for one family, which hears all SCTP packets of its namespace.
pub(crate) fn socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_SCTP)))
}

/// Answers one packet, if it is an INIT to this port. What the client hears in the cookie is its own address as the
/// server sees it.
pub(crate) fn answer(socket: &Socket, domain: Domain, port: u16) -> io::Result<()> {
    let (packet, from) = receive(socket, domain)?;
    if packet.kind() != Some(INIT) || packet.ports().1 != port {
        return Ok(());
    }
    let text = from.ip().to_canonical().to_string();
    let cookie = [&STATE_COOKIE[..], &u16::try_from(4 + text.len()).expect("short").to_be_bytes(), text.as_bytes()];
    let reply = build([port, packet.ports().0], packet.initiate_tag(), INIT_ACK, SERVER_TAG, &cookie.concat());
    socket.send_to(&reply, &SocketAddr::new(from.ip(), 0).into()).map(drop)
}

/// Sends an INIT and waits for its answer. Returns the cookie.
pub(crate) fn ask(to: SocketAddr, patience: Duration) -> io::Result<IpAddr> {
    static PORT: AtomicU16 = AtomicU16::new(40_000);
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    let domain = Domain::for_address(to);
    let socket = socket(domain)?;
    let init = build([port, to.port()], 0, INIT, CLIENT_TAG, &[]);
    socket.send_to(&init, &SocketAddr::new(to.ip(), 0).into())?;
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let (packet, _) = receive(&socket, domain)?;
        if packet.kind() == Some(INIT_ACK) && packet.ports() == (to.port(), port) {
            return packet.cookie().ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no cookie"));
        }
    }
}

fn receive(socket: &Socket, domain: Domain) -> io::Result<(Packet, SocketAddr)> {
    let mut bytes = vec![0; 2048];
    let mut reader = socket;
    // The sender's address of a raw IPv6 socket comes with the packet only; peek for it, then take the packet.
    let (_, from) = peek(socket)?;
    let length = reader.read(&mut bytes)?;
    bytes.truncate(length);
    // A raw IPv4 socket sees the IP header, whose length is in its first byte; a raw IPv6 one does not.
    let header = if domain == Domain::IPV4 { usize::from(bytes.first().map_or(0, |byte| byte & 15)) * 4 } else { 0 };
    Ok((Packet(bytes.split_off(header.min(bytes.len()))), from))
}

fn peek(socket: &Socket) -> io::Result<(usize, SocketAddr)> {
    let (length, from) = socket.peek_from(&mut [])?;
    Ok((length, from.as_socket().ok_or_else(|| io::Error::from(ErrorKind::InvalidData))?))
}

struct Packet(Vec<u8>);

impl Packet {
    fn kind(&self) -> Option<u8> {
        (self.0.len() >= HEADER + CHUNK).then(|| self.0[HEADER])
    }

    fn ports(&self) -> (u16, u16) {
        let port = |at: usize| u16::from_be_bytes([self.0[at], self.0[at + 1]]);
        (port(0), port(2))
    }

    fn initiate_tag(&self) -> u32 {
        let at = HEADER + 4;
        u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn cookie(&self) -> Option<IpAddr> {
        let parameter = self.0.get(HEADER + CHUNK..)?;
        let length = usize::from(u16::from_be_bytes([*parameter.get(2)?, *parameter.get(3)?]));
        std::str::from_utf8(parameter.get(4..length)?).ok()?.parse().ok()
    }
}

fn build(ports: [u16; 2], verification_tag: u32, kind: u8, tag: u32, parameter: &[u8]) -> Vec<u8> {
    let length = u16::try_from(CHUNK + parameter.len()).expect("short");
    let mut packet =
        [&ports[0].to_be_bytes()[..], &ports[1].to_be_bytes(), &verification_tag.to_be_bytes(), &[0; 4]].concat();
    packet.extend([kind, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    packet.extend(65_535_u32.to_be_bytes());
    packet.extend([0, 1, 0, 1]);
    packet.extend(tag.to_be_bytes());
    packet.extend(parameter);
    packet.resize(packet.len().next_multiple_of(4), 0);
    let checksum = crc32c(&packet);
    packet[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
    packet
}

/// RFC 9260, appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let shift = |crc: u32, _| (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_checksum_of_the_usual_digits() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
