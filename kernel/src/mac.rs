//! Hardware addresses.

use std::fmt;
use std::str::FromStr;

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

/// The text is not a 48-bit hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address {0}: invalid MAC address")]
pub struct InvalidMac(String);

impl Mac {
    /// The address with these six bytes, in the order in which they are written.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The six bytes, in the order in which they are written.
    #[must_use]
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// Whether the kernel takes this as the address of a link: neither a group address nor all zeros
    /// (`is_valid_ether_addr` in `include/linux/etherdevice.h`).
    #[must_use]
    pub fn is_assignable(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl From<[u8; 6]> for Mac {
    fn from(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Mac {
    type Error = InvalidMac;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidMac> {
        let bytes = <[u8; 6]>::try_from(bytes).map_err(|_| InvalidMac(format!("{bytes:02x?}")))?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = InvalidMac;

    /// Reads the three spellings in use: `0a:58:..`, `0a-58-..` and `0a58.0a4d.0002`.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac(text.to_owned());
        let (separator, groups, digits) = match text.as_bytes().get(2) {
            Some(b':') => (':', 6, 2),
            Some(b'-') => ('-', 6, 2),
            _ => ('.', 3, 4),
        };
        let parts: Vec<&str> = text.split(separator).collect();
        let whole = parts.len() == groups
            && parts.iter().all(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit()));
        if !whole {
            return Err(invalid());
        }
        let hex = parts.concat();
        let mut bytes = [0; 6];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_spelling() {
        let mac = Mac::new([0x0a, 0x58, 0x0a, 0x4d, 0x00, 0x02]);
        for text in ["0a:58:0a:4d:00:02", "0A-58-0A-4D-00-02", "0a58.0a4d.0002"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "0a:58:0a:4d:00:02");
    }

    #[test]
    fn refuses_everything_else() {
        for text in
            ["", "zz", "0a:58:0a:4d:00", "0a:58:0a:4d:00:2", "0a:58:0a-4d:00:02", "0a:58:0a:4d:00:+2", "0a58.0a4d.00é2"]
        {
            let error = text.parse::<Mac>().unwrap_err();
            assert_eq!(error.to_string(), format!("address {text}: invalid MAC address"));
        }
    }

    #[test]
    fn groups_and_zero_are_not_assignable() {
        assert!(Mac::new([2, 0, 0, 0, 0, 1]).is_assignable());
        assert!(!Mac::new([1, 0, 0, 0, 0, 1]).is_assignable());
        assert!(!Mac::new([0; 6]).is_assignable());
    }
}
