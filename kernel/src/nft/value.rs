//! Keys and data: their types, their text and their bytes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::mac::Mac;

/// Names in the kernel have this many bytes, the closing NUL included (`IFNAMSIZ`).
const INTERFACE_NAME: usize = 16;
/// `RTN_LOCAL`.
const RTN_LOCAL: u32 = 2;
/// A register is four bytes wide; the parts of a concatenation start at registers (`NFT_REG32_SIZE`).
pub(super) const REGISTER: usize = 4;

/// The type of a key, of data, or of a part of a concatenation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// An IPv4 address.
    Ipv4Addr,
    /// An IPv6 address.
    Ipv6Addr,
    /// A MAC address.
    EtherAddr,
    /// A protocol of the network layer.
    EtherType,
    /// A transport protocol.
    InetProto,
    /// A port.
    InetService,
    /// A packet mark.
    Mark,
    /// An interface by name.
    IfName,
}

/// In what order the bytes of a value are (`enum byteorder` of `nft`).
const HOST_ORDER: u32 = 1;
const NETWORK_ORDER: u32 = 2;

impl Type {
    /// The number by which `nft` knows the type (`enum datatypes`); the kernel only keeps it.
    pub(super) const fn id(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::EtherAddr => 9,
            Self::EtherType => 10,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
            Self::IfName => 41,
        }
    }

    /// Size of a value in bytes.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Ipv4Addr | Self::Mark => 4,
            Self::Ipv6Addr => 16,
            Self::EtherAddr => 6,
            Self::InetProto => 1,
            Self::EtherType | Self::InetService => 2,
            Self::IfName => INTERFACE_NAME,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::EtherAddr => "ether_addr",
            Self::EtherType => "ether_type",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::Mark => "mark",
            Self::IfName => "ifname",
        }
    }

    const fn order(self) -> u32 {
        match self {
            Self::Mark | Self::IfName => HOST_ORDER,
            _ => NETWORK_ORDER,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The type of a whole key: one type, or several in a concatenation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyType(pub Vec<Type>);

impl KeyType {
    /// Six bits a part, the first part highest (`concat_subtype_add` of `nft`).
    pub(super) fn id(&self) -> u32 {
        self.0.iter().fold(0, |id, part| id << 6 | part.id())
    }

    /// Size in bytes; in a concatenation each part fills whole registers.
    pub(super) fn size(&self) -> usize {
        match self.0.as_slice() {
            [single] => single.size(),
            parts => parts.iter().map(|part| part.size().next_multiple_of(REGISTER)).sum(),
        }
    }

    /// The byte order of a single type; a concatenation has none of its own.
    pub(super) fn order(&self) -> u32 {
        match self.0.as_slice() {
            [single] => single.order(),
            _ => 0,
        }
    }
}

impl From<Type> for KeyType {
    fn from(single: Type) -> Self {
        Self(vec![single])
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.0)
    }
}

/// A key, data, or what a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A MAC address.
    Ether(Mac),
    /// A protocol of the network layer by number (`ETH_P_IP`).
    EtherType(u16),
    /// A transport protocol by number (`IPPROTO_TCP`).
    Protocol(u8),
    /// A port.
    Port(u16),
    /// A packet mark.
    Mark(u32),
    /// An interface name of up to 15 bytes.
    IfName(String),
    /// The beginning of interface names.
    IfPrefix(String),
    /// The kind of address that is this host's own (`RTN_LOCAL`).
    Local,
    /// Several in a row, for a key of several types.
    Concat(Vec<Value>),
    /// The bytes as the kernel returned them, of a type that nobody asked for.
    Raw(Vec<u8>),
}

impl Value {
    /// The bytes in a register, an element or a comparison.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Ipv4(address) => address.octets().to_vec(),
            Self::Ipv6(address) => address.octets().to_vec(),
            Self::Ether(mac) => mac.bytes().to_vec(),
            Self::EtherType(number) => number.to_be_bytes().to_vec(),
            Self::Protocol(number) => vec![*number],
            Self::Port(port) => port.to_be_bytes().to_vec(),
            Self::Mark(mark) => mark.to_ne_bytes().to_vec(),
            Self::IfName(name) => {
                let mut bytes: Vec<u8> = name.bytes().take(INTERFACE_NAME - 1).collect();
                bytes.resize(INTERFACE_NAME, 0);
                bytes
            }
            Self::IfPrefix(prefix) => prefix.bytes().take(INTERFACE_NAME - 1).collect(),
            Self::Local => RTN_LOCAL.to_ne_bytes().to_vec(),
            Self::Concat(parts) => parts.iter().flat_map(Self::registers).collect(),
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    fn registers(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.resize(bytes.len().next_multiple_of(REGISTER), 0);
        bytes
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6(address),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Ether(mac) => mac.fmt(f),
            Self::EtherType(0x0800) => f.write_str("ip"),
            Self::EtherType(0x86dd) => f.write_str("ip6"),
            Self::EtherType(0x0806) => f.write_str("arp"),
            Self::EtherType(number) => write!(f, "{number:#06x}"),
            Self::Protocol(6) => f.write_str("tcp"),
            Self::Protocol(17) => f.write_str("udp"),
            Self::Protocol(132) => f.write_str("sctp"),
            Self::Protocol(number) => number.fmt(f),
            Self::Port(port) => port.fmt(f),
            Self::Mark(mark) => write!(f, "{mark:#010x}"),
            Self::IfName(name) => write!(f, "\"{name}\""),
            Self::IfPrefix(prefix) => write!(f, "\"{prefix}*\""),
            Self::Local => f.write_str("local"),
            Self::Concat(parts) => joined(f, parts),
            Self::Raw(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// `a . b . c`
pub(super) fn joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, parts: &[T]) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        let dot = if at == 0 { "" } else { " . " };
        write!(f, "{dot}{part}")?;
    }
    Ok(())
}
