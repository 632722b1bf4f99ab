//! Tap devices: links whose other end is a file descriptor (`drivers/net/tun.c`, `Documentation/networking/tuntap.rst`).
//!
//! They are made by ioctl alone; rtnetlink refuses. The device belongs to the network namespace in which
//! `/dev/net/tun` was opened.

use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc::{self, c_int};

use crate::errno::sentence;

const DEVICE: &str = "/dev/net/tun";
/// The first of [`NewTap::words`].
const CREATE: &str = "create-tap";

/// A tap device to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTap {
    /// `ifname`.
    pub name: String,
    /// Several readers at a time, each with a queue of its own (`IFF_MULTI_QUEUE`).
    pub multi_queue: bool,
    /// Each packet has a header with its protocol in front (`IFF_NO_PI` is not set).
    pub packet_information: bool,
    /// Each packet has a header for offloads in front (`IFF_VNET_HDR`).
    pub vnet_header: bool,
    /// The user that may open it besides root.
    pub owner: Option<u32>,
    /// The group that may.
    pub group: Option<u32>,
}

/// Whether devices can be made.
///
/// # Errors
///
/// Why `/dev/net/tun` can't be opened.
pub fn available() -> io::Result<()> {
    OpenOptions::new().read(true).write(true).open(DEVICE).map(drop)
}

/// An error without the number that Rust adds.
pub(crate) fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| sentence(Errno::from_raw(number)))
}

mod request {
    nix::ioctl_write_ptr_bad!(set_interface, nix::request_code_write!(b'T', 202, size_of::<i32>()), nix::libc::ifreq);
    nix::ioctl_write_int_bad!(set_persistent, nix::request_code_write!(b'T', 203, size_of::<i32>()));
    nix::ioctl_write_int_bad!(set_owner, nix::request_code_write!(b'T', 204, size_of::<i32>()));
    nix::ioctl_write_int_bad!(set_group, nix::request_code_write!(b'T', 206, size_of::<i32>()));
}

impl NewTap {
    /// Makes it in the network namespace of the calling thread, to stay after the last descriptor is closed, and down.
    ///
    /// # Errors
    ///
    /// `EEXIST` when the name is taken; otherwise the kernel's refusal.
    pub fn create(&self) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(DEVICE)?;
        self.attach(&file)?;
        // Without persistence it goes with the descriptor, so that a refusal leaves nothing.
        for (request, value) in [(Request::Owner, self.owner), (Request::Group, self.group)] {
            value.map_or(Ok(()), |id| request.send(&file, id))?;
        }
        Request::Persist.send(&file, 1)?;
        Ok(())
    }

    /// The same in a process with the SELinux context `label`, because a device has the context of whoever makes it
    /// (`selinux_tun_dev_alloc_security`). The process is the running program again, called with [`NewTap::words`].
    ///
    /// # Errors
    ///
    /// When SELinux does not accept the context, and as [`NewTap::create`].
    pub fn create_as(&self, label: &str) -> io::Result<()> {
        const EXEC: &str = "/proc/thread-self/attr/exec";
        let refused = |error| io::Error::other(format!("failed set socket label: {}", words(&error)));
        fs::write(EXEC, label).map_err(refused)?;
        let mut again = Command::new("/proc/self/exe");
        // A program of many names goes by the one that it was called by.
        again.arg0(env::args_os().next().unwrap_or_default());
        let output = again.args(self.words()).env_clear().stdin(Stdio::null()).output();
        let _ = fs::write(EXEC, "");
        let output = output?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("the process with the label {label} failed ({}): {said}", output.status)))
    }

    /// Arguments for a program that makes the device by [`NewTap::from_words`].
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let id = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let flag = |on: bool| u8::from(on).to_string();
        let flags = [self.multi_queue, self.packet_information, self.vnet_header].map(flag);
        let [multi_queue, packet_information, vnet_header] = flags;
        let (owner, group) = (id(self.owner), id(self.group));
        vec![CREATE.to_owned(), self.name.clone(), multi_queue, packet_information, vnet_header, owner, group]
    }

    /// The device that [`NewTap::words`] describes; none when they are other words.
    #[must_use]
    pub fn from_words(words: &[String]) -> Option<Self> {
        let [create, name, multi_queue, packet_information, vnet_header, owner, group] = words else { return None };
        let id = |word: &String| word.parse().ok();
        let flag = |word: &String| word == "1";
        (create == CREATE).then(|| Self {
            name: name.clone(),
            multi_queue: flag(multi_queue),
            packet_information: flag(packet_information),
            vnet_header: flag(vnet_header),
            owner: id(owner),
            group: id(group),
        })
    }

    #[expect(unsafe_code, reason = "nix has no wrapper for TUNSETIFF")]
    fn attach(&self, file: &File) -> io::Result<()> {
        // SAFETY: a structure of integers and arrays of them, for which zeros are values.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if self.name.len() >= request.ifr_name.len() {
            return Err(Errno::ENAMETOOLONG.into());
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *place = libc::c_char::from_ne_bytes([byte]);
        }
        request.ifr_ifru.ifru_flags = self.flags();
        // SAFETY: the kernel reads an `ifreq` at the pointer and keeps no reference to it.
        match unsafe { request::set_interface(file.as_raw_fd(), &raw const request) } {
            Ok(_) => Ok(()),
            // With IFF_TUN_EXCL a device of that name is "busy" (`tun_set_iff`).
            Err(Errno::EBUSY) => Err(Errno::EEXIST.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn flags(&self) -> i16 {
        let bit = |on: bool, flag: c_int| if on { flag } else { 0 };
        let flags = libc::IFF_TAP
            | IFF_TUN_EXCL
            | bit(self.multi_queue, libc::IFF_MULTI_QUEUE)
            | bit(self.vnet_header, libc::IFF_VNET_HDR)
            | bit(!self.packet_information, libc::IFF_NO_PI);
        // The flags fill sixteen bits, of which the highest is the sign of the field.
        let [low, high, ..] = flags.to_le_bytes();
        i16::from_le_bytes([low, high])
    }
}

/// Do not attach to a device that is there (`include/uapi/linux/if_tun.h`).
const IFF_TUN_EXCL: c_int = 0x8000;

/// The requests that take a number.
#[derive(Clone, Copy)]
enum Request {
    Owner,
    Group,
    Persist,
}

impl Request {
    #[expect(unsafe_code, reason = "nix has no wrapper for them")]
    fn send(self, file: &File, value: u32) -> io::Result<()> {
        // User and group ids have all 32 bits; the argument is read as an unsigned long and cut to them.
        let (descriptor, value) = (file.as_raw_fd(), c_int::from_ne_bytes(value.to_ne_bytes()));
        // SAFETY: these requests take their argument as a number and touch no memory of ours.
        let answer = unsafe {
            match self {
                Self::Owner => request::set_owner(descriptor, value),
                Self::Group => request::set_group(descriptor, value),
                Self::Persist => request::set_persistent(descriptor, value),
            }
        };
        answer.map(drop).map_err(io::Error::from)
    }
}

/// As `ip tuntap` takes it.
impl fmt::Display for NewTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip tuntap add mode tap name {}", self.name)?;
        for (on, word) in
            [(self.multi_queue, "multi_queue"), (self.packet_information, "pi"), (self.vnet_header, "vnet_hdr")]
        {
            if on {
                write!(f, " {word}")?;
            }
        }
        self.owner.map_or(Ok(()), |owner| write!(f, " user {owner}"))?;
        self.group.map_or(Ok(()), |group| write!(f, " group {group}"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sandbox::alone;

    fn tap() -> NewTap {
        NewTap {
            name: "tap0".into(),
            multi_queue: false,
            packet_information: false,
            vnet_header: false,
            owner: None,
            group: None,
        }
    }

    fn shown() -> String {
        let output = Command::new("ip").args(["-d", "link", "show", "tap0"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn every_option_is_seen_by_iproute2() {
        for (tap, expected) in [
            (tap(), "pi off vnet_hdr off persist on"),
            (NewTap { multi_queue: true, ..tap() }, "multi_queue"),
            (NewTap { packet_information: true, vnet_header: true, ..tap() }, "pi on vnet_hdr on"),
            (NewTap { owner: Some(5), group: Some(6), ..tap() }, "user games group disk"),
        ] {
            alone(move || {
                tap.create().unwrap();
                assert!(shown().contains(expected), "{expected} in {}", shown());
            });
        }
    }

    #[test]
    fn a_device_in_words_is_the_same_again() {
        let whole = NewTap { multi_queue: true, vnet_header: true, owner: Some(7), ..tap() };
        assert_eq!(NewTap::from_words(&whole.words()), Some(whole));
        assert_eq!(NewTap::from_words(&["create-tap".to_owned()]), None);
    }

    #[test]
    fn a_device_that_is_there_is_not_taken_over() {
        alone(|| {
            tap().create().unwrap();
            assert_eq!(tap().create().unwrap_err().raw_os_error(), Some(libc::EEXIST));
        });
    }
}
