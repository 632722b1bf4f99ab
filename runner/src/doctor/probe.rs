//! Asking the neighbours, by ARP.
//!
//! The question has no sender's address (RFC 5227, 2.1.1), so nobody learns anything by it, and whoever has the address
//! answers. The answer says from which hardware address it comes.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ::kernel::link::Link;
use ::kernel::{Mac, neighbour};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::{Context, Result};
use crate::sys;

use super::path::Path;
use super::report::word;
use super::{Report, gateway as ways, refused};

/// How long an answer is waited for that should come.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one is waited for that should not. A neighbour on the same host answers within a tenth of a millisecond.
const SILENCE: Duration = Duration::from_millis(250);
/// A question is asked again after this.
const AGAIN: Duration = Duration::from_millis(200);

/// `ETH_P_ARP`.
const ARP: u16 = 0x0806;
/// An Ethernet header, and ARP for IPv4.
const LENGTH: usize = 14 + 28;
/// Ethernet, IPv4, six bytes and four.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Whether somebody else has the addresses of the link.
pub(super) fn duplicates(report: &mut Report, path: &mut Path, link: &Link) -> Result<()> {
    for address in path.addresses(link, false)? {
        let IpAddr::V4(ip) = address.network.ip() else { continue };
        if let Some(other) = ask(path, link, ip, SILENCE)? {
            report.bad(
                &format!("{} address", link.name),
                format!("{ip} is somebody else's, too: {other} answers for it"),
                format!("xnet netns ls --format '{{{{.Owner}}}} {{{{.Links}}}}' | grep -F '{ip}/'"),
            );
        }
    }
    Ok(())
}

/// Whether the gateway answers, and is the one that the container sends to.
pub(super) fn gateway(report: &mut Report, path: &mut Path, link: &Link) -> Result<()> {
    let own: Vec<_> = path.addresses(link, false)?.iter().map(|address| address.network).collect();
    let routes = path.default_routes(false)?;
    let through = routes.iter().filter(|route| route.oif == Some(link.index)).filter_map(|route| route.gateway);
    for gateway in through.filter(|gateway| ways::is_on(*gateway, &own)) {
        let IpAddr::V4(ip) = gateway else { continue };
        if link.mac.is_none() {
            report.skip("neighbour", format!("{} has no hardware address to ask from", link.name));
            continue;
        }
        let Some(mac) = ask(path, link, ip, PATIENCE)? else {
            let is_here = !link.is("veth") && path.host.is_local(gateway).map_err(refused)?;
            let why =
                if is_here { ": it is this host, which is not reached over a link on a device of its own" } else { "" };
            let fix = offer(path, link, ip)?;
            report.bad("neighbour", format!("nobody answers for the gateway {ip}{why}"), fix);
            continue;
        };
        match known(path, link, gateway)? {
            Some(stale) if stale != mac => {
                let fix = path.command(&format!("ip neighbour del {ip} dev {}", word(&link.name)));
                report.bad("neighbour", format!("the gateway {ip} is {mac}, and the container sends to {stale}"), fix);
            }
            _ => report.ok("neighbour", format!("the gateway {ip} answers from {mac}")),
        }
    }
    Ok(())
}

/// What to do about a gateway that does not answer: the bridge's address, if that is another one.
fn offer(path: &mut Path, link: &Link, gateway: Ipv4Addr) -> Result<String> {
    let end = path.host.link_at(link.peer.unwrap_or_default()).map_err(refused)?;
    let bridge = match end.and_then(|end| end.master) {
        Some(index) => path.host.link_at(index).map_err(refused)?,
        None => None,
    };
    let Some(bridge) = bridge else { return Ok(path.command(&format!("ip neighbour show {gateway}"))) };
    let has = path.networks_of(&bridge, false)?;
    let ours = path.addresses(link, false)?;
    let fits = |ip: &IpAddr| ours.iter().any(|address| address.network.contains(*ip));
    Ok(match has.iter().map(|network| network.ip()).find(fits) {
        Some(ip) if ip != IpAddr::V4(gateway) => {
            path.command(&format!("ip route replace default via {ip} dev {}", word(&link.name)))
        }
        Some(_) => format!("sysctl net.ipv4.conf.{}.arp_ignore net.ipv4.conf.all.arp_ignore", word(&bridge.name)),
        None => {
            let prefix = ours.first().map_or(24, |address| address.network.prefix());
            format!("ip address add {gateway}/{prefix} dev {}", word(&bridge.name))
        }
    })
}

/// What the container's kernel believes about a neighbour.
fn known(path: &mut Path, link: &Link, ip: IpAddr) -> Result<Option<Mac>> {
    let answers = path.inside.exchange(&[neighbour::get(link.index, ip)]).map_err(refused)?;
    Ok(answers
        .into_iter()
        .next()
        .and_then(std::result::Result::ok)
        .and_then(|frames| neighbour::hardware_address(&frames)))
}

/// Who else than the link itself has `ip`, as far as it says so within `patience`.
fn ask(path: &Path, link: &Link, ip: Ipv4Addr, patience: Duration) -> Result<Option<Mac>> {
    let Some(own) = link.mac else { return Ok(None) };
    let socket = path.visit(|| sys::packet::frames(link.index, ARP))?.context(|| format!("listen at {}", link.name))?;
    let (begin, question) = (Instant::now(), question(own, ip));
    let mut asked = None;
    while begin.elapsed() < patience {
        if asked.is_none_or(|then: Instant| then.elapsed() >= AGAIN) {
            send(socket.as_raw_fd(), &question, MsgFlags::empty())
                .context(|| format!("ask at {} for {ip}", link.name))?;
            asked = Some(Instant::now());
        }
        let left = patience.saturating_sub(begin.elapsed()).min(AGAIN);
        if let Some(frame) = next(&socket, left)?
            && let Some(mac) = answer(&frame, ip)
            && mac != own
        {
            return Ok(Some(mac));
        }
    }
    Ok(None)
}

/// The next frame; none if there is none in time.
fn next(socket: &OwnedFd, patience: Duration) -> Result<Option<Vec<u8>>> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(0) | Err(Errno::EINTR) => return Ok(None),
        polled => polled.context(|| "wait for an answer")?,
    };
    let mut frame = vec![0; 256];
    match recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
        Ok(length) => {
            frame.truncate(length);
            Ok(Some(frame))
        }
        // Also the link's end while one listens.
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => Ok(None),
        Err(errno) => Err(errno).context(|| "read an answer"),
    }
}

fn question(own: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LENGTH);
    frame.extend([0xff; 6]);
    frame.extend(own.bytes());
    frame.extend(ARP.to_be_bytes());
    frame.extend(KIND);
    frame.extend(REQUEST);
    frame.extend(own.bytes());
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(ip.octets());
    frame
}

/// Whose answer about `ip` a frame is.
fn answer(frame: &[u8], ip: Ipv4Addr) -> Option<Mac> {
    let arp = frame.get(14..LENGTH)?;
    let is_one = arp.starts_with(&KIND) && arp.get(6..8) == Some(&REPLY) && arp.get(14..18) == Some(&ip.octets());
    Mac::try_from(arp.get(8..14)?).ok().filter(|_| is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_about_the_address_that_was_asked_for() {
        let (own, other) = (Mac::new([2, 0, 0, 0, 0, 1]), Mac::new([2, 0, 0, 0, 0, 2]));
        let ip = Ipv4Addr::new(10, 0, 0, 1);
        let question = question(own, ip);
        assert_eq!((question.len(), answer(&question, ip)), (LENGTH, None));
        let mut reply = question;
        reply[20..22].copy_from_slice(&REPLY);
        reply[22..28].copy_from_slice(&other.bytes());
        reply[28..32].copy_from_slice(&ip.octets());
        assert_eq!(answer(&reply, ip), Some(other));
        assert_eq!(answer(&reply, Ipv4Addr::new(10, 0, 0, 2)), None);
        assert_eq!(answer(&reply[..LENGTH - 1], ip), None);
    }
}
