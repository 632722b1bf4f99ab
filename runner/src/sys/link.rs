//! Questions and orders to network interfaces, by the old ioctls: one of each, which needs no netlink socket.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Sets `lo` of the calling thread's network namespace up. The kernel then gives it 127.0.0.1/8 and ::1/128.
pub(crate) fn loopback_up() -> nix::Result<()> {
    let (socket, mut request) = (any_socket()?, request("lo")?);
    // SAFETY: `request` is a valid ifreq and lives through both calls.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: the kernel has just filled this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | UP;
    // SAFETY: as above.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// The MTU of interface `name` of the calling thread's network namespace, in bytes. A sysfs would show the namespace of
/// whoever has mounted it.
pub(crate) fn mtu(name: &str) -> nix::Result<u32> {
    let (socket, mut request) = (any_socket()?, request(name)?);
    // SAFETY: `request` is a valid ifreq and lives through the call.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) })?;
    // SAFETY: the kernel has just filled this member of the union.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| Errno::ERANGE)
}

fn any_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

/// A request about interface `name`.
fn request(name: &str) -> nix::Result<libc::ifreq> {
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// `IFF_UP` in the width of `ifr_flags`.
const UP: libc::c_short = 1;
