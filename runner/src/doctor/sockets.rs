//! Who listens, from the kernel's tables of sockets (`/proc/net/tcp` and its like, proc_pid_net(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::Result;
use crate::spec::Protocol;

use super::path::Path;

/// `TCP_LISTEN`, and for UDP `TCP_CLOSE`: bound, and connected to nobody (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// The addresses and ports at which the container takes what comes. None where the kernel has no such table to read.
pub(super) fn listeners(path: &Path, protocol: Protocol) -> Result<Option<Vec<SocketAddr>>> {
    let (files, state) = match protocol {
        Protocol::Tcp => (["tcp", "tcp6"], LISTEN),
        Protocol::Udp => (["udp", "udp6"], UNCONNECTED),
        Protocol::Sctp => return Ok(None),
    };
    let mut found = Vec::new();
    for file in files {
        found.extend(parse(&path.table(file)?, state));
    }
    found.sort_unstable();
    found.dedup();
    Ok(Some(found))
}

fn parse(table: &str, wanted: &str) -> Vec<SocketAddr> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (address, port) = local.split_once(':')?;
        let found = SocketAddr::new(address_of(address)?, u16::from_str_radix(port, 16).ok()?);
        (state == wanted).then_some(found)
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// An address is printed as numbers of 32 bits, each in the machine's order.
fn address_of(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..text.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn only_those_that_wait_for_others_listen() {
        let four = "  sl  local_address rem_address   st tx_queue\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   \
            1: 0200D50A:0050 0100D50A:9C40 01 00000000:00000000\n";
        assert_eq!(parse(four, LISTEN), ["127.0.0.1:8080".parse().unwrap()]);
        let six = "  sl  local_address                         remote_address                        st\n   \
            0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n   \
            1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0\n   \
            2: 00000000000000000000000001000000:0052 00000000000000000000000000000000:0000 0A 0\n";
        let found: Vec<String> = parse(six, LISTEN).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["[::]:80", "127.0.0.1:81", "[::1]:82"]);
    }
}
