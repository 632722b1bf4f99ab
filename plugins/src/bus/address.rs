//! Where the system bus is: addresses as the D-Bus specification writes them (`unix:path=/run/dbus/system_bus_socket`).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Where every distribution has it today. The specification's older `/var/run` is a link to `/run`.
const DEFAULT: &str = "/run/dbus/system_bus_socket";

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A file.
    Path(PathBuf),
    /// A name that is in no folder.
    Abstract(Vec<u8>),
}

impl Address {
    /// The sockets of a list as `DBUS_SYSTEM_BUS_ADDRESS` has it, the default where there is none. Transports other than
    /// unix sockets are left out: they are for buses that are not this machine's.
    pub(super) fn list(written: Option<&OsStr>) -> Vec<Self> {
        match written.filter(|written| !written.is_empty()) {
            None => vec![Self::Path(DEFAULT.into())],
            Some(written) => written.as_bytes().split(|byte| *byte == b';').filter_map(Self::parse).collect(),
        }
    }

    fn parse(written: &[u8]) -> Option<Self> {
        let pairs = written.strip_prefix(b"unix:")?.split(|byte| *byte == b',');
        pairs.into_iter().find_map(|pair| {
            if let Some(path) = pair.strip_prefix(b"path=") {
                return Some(Self::Path(OsString::from_vec(unescape(path)?).into()));
            }
            pair.strip_prefix(b"abstract=").and_then(unescape).map(Self::Abstract)
        })
    }
}

/// `%20` for a byte that may not stand for itself.
fn unescape(written: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = written.iter();
    let mut unescaped = Vec::with_capacity(written.len());
    while let Some(byte) = bytes.next() {
        unescaped.push(match byte {
            b'%' => digit(*bytes.next()?)? << 4 | digit(*bytes.next()?)?,
            other => *other,
        });
    }
    Some(unescaped)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(written: &str) -> Vec<String> {
        Address::list(Some(OsStr::new(written))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_of_the_specification() {
        assert_eq!(Address::list(None), [Address::Path(DEFAULT.into())]);
        assert_eq!(list(""), [DEFAULT]);
        assert_eq!(list("unix:path=/run/bus"), ["/run/bus"]);
        assert_eq!(list("unix:guid=0a1b,path=/run/my%20bus"), ["/run/my bus"]);
        assert_eq!(list("tcp:host=example,port=1;unix:abstract=bus%2C1;unix:path=/b"), ["@bus,1", "/b"]);
        assert_eq!(list("unix:dir=/tmp;autolaunch:;nonsense;unix:path=/x%"), [""; 0]);
    }
}
