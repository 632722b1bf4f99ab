//! Attributes: length, type, value, padding to four bytes (`struct nlattr`).

use std::net::IpAddr;

use super::frame::{align, u16_at};

/// `NLA_TYPE_MASK`: the type without the flags for nesting and byte order.
const TYPE_MASK: u16 = 0x3fff;
/// `NLA_HDRLEN`.
const HEADER: usize = 4;

/// The attributes in a buffer, each with its type and value. A truncated one ends them.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0.get(..HEADER)?, 0)).max(HEADER);
        let value = self.0.get(HEADER..length)?;
        let kind = u16_at(self.0, 2) & TYPE_MASK;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Appends an attribute to a message.
pub(crate) fn put(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Attributes are at most 65,535 bytes long, and ours are names, numbers and addresses.
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(align(message.len()), 0);
}

/// One attribute, as [`put`] writes it.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(align(HEADER + value.len()));
    put(&mut bytes, kind, value);
    bytes
}

/// A value of four bytes in the machine's order; zero when it is shorter.
pub(crate) fn number(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// An address of either family.
pub(crate) fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found_again() {
        let mut message = Vec::new();
        put(&mut message, 3, b"eth0\0");
        put(&mut message, 29, &8u32.to_ne_bytes());
        assert_eq!(message.len(), 20);
        let all: Vec<_> = Attributes(&message).collect();
        assert_eq!(all, [(3, &b"eth0\0"[..]), (29, &8u32.to_ne_bytes())]);
    }

    #[test]
    fn attributes_are_padded_and_may_be_cut() {
        let bytes = [5, 0, 3, 0x80, b'x', 0, 0, 0, 8, 0, 4, 0, 1, 2, 3, 4];
        let all: Vec<_> = Attributes(&bytes).collect();
        assert_eq!(all, [(3, &b"x"[..]), (4, &[1, 2, 3, 4])]);
        for cut in 0..bytes.len() {
            assert!(Attributes(&bytes[..cut]).count() < 2);
        }
        // The last one of a message may lack its padding.
        assert_eq!(Attributes(&bytes[..5]).count(), 1);
    }
}
