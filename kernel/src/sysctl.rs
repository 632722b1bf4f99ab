//! Kernel parameters below `/proc/sys`, seen from the calling thread's network namespace.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const ROOT: &str = "/proc/sys";
/// Bytes; nearly every value is shorter.
const FIRST_READ: usize = 256;

/// The name of a parameter as a path below `/proc/sys`.
///
/// As `sysctl(8)` has it: when the first separator is a dot, dots and slashes change places, so that both
/// `net.ipv4.conf.eth0/100.arp_notify` and `net/ipv4/conf/eth0.100/arp_notify` mean the link `eth0.100`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let dotted = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.');
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let relative = if dotted { name.chars().map(swap).collect() } else { name.to_owned() };
    Path::new(ROOT).join(relative)
}

/// Reads a parameter, without the newline behind it.
///
/// Many parameters give a value to the first read of an open file and nothing to the next (`proc_dointvec`,
/// `proc_do_large_bitmap` in `kernel/sysctl.c`), so that one which does not fit is cut. So whatever fills the buffer is
/// read again, from the start, into a larger one.
///
/// # Errors
///
/// When there is no such parameter or it is not readable.
pub fn read(name: &str) -> io::Result<String> {
    let path = path(name);
    let mut buffer = vec![0; FIRST_READ];
    loop {
        let length = fs::File::open(&path)?.read(&mut buffer)?;
        if length < buffer.len() {
            buffer.truncate(length);
            break;
        }
        buffer.resize(length * 16, 0);
    }
    let mut value = String::from_utf8(buffer).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    value.truncate(value.trim_end_matches('\n').len());
    Ok(value)
}

/// Writes a parameter.
///
/// # Errors
///
/// When there is no such parameter, or the kernel refuses the value.
pub fn write(name: &str, value: &str) -> io::Result<()> {
    // No O_CREAT: a missing parameter must answer "no such file", not "permission denied".
    let mut file = fs::OpenOptions::new().write(true).open(path(name))?;
    io::Write::write_all(&mut file, value.as_bytes())
}

/// Writes a parameter unless it has that value already, because writing can have effects of its own: setting
/// `ip_forward` again resets per-interface parameters. Says whether it wrote.
///
/// # Errors
///
/// As [`read`] and [`write`].
pub fn ensure(name: &str, value: &str) -> io::Result<bool> {
    if read(name)?.trim() == value {
        return Ok(false);
    }
    write(name, value)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_both_spellings() {
        let table = [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/arp_notify", "/proc/sys/net/ipv4/conf/eth0.100/arp_notify"),
            ("net.ipv4.conf.eth0/100.arp_notify", "/proc/sys/net/ipv4/conf/eth0.100/arp_notify"),
        ];
        for (name, expected) in table {
            assert_eq!(path(name), Path::new(expected));
        }
    }

    #[test]
    fn a_long_value_is_read_whole() {
        crate::sandbox::alone(|| {
            const NAME: &str = "net/ipv4/ip_local_reserved_ports";
            for count in [1, 10, 50, 1000, 10_000] {
                let ports: Vec<String> = (0..count).map(|n| (20_000 + 2 * n).to_string()).collect();
                let value = ports.join(",");
                write(NAME, &value).unwrap();
                assert_eq!(read(NAME).unwrap(), value);
            }
        });
    }

    #[test]
    fn a_missing_parameter_is_not_found() {
        assert_eq!(write("net/ipv4/nope", "1").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(read("net/ipv4/nope").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
