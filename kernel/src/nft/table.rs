//! Tables, and the names of what is in them.

use std::borrow::Cow;
use std::fmt;

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{NfTablesMessage, TableAttribute, TableFlags, TableMessage};

use super::userdata;

/// The address family of a table, which decides what packets its chains see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6 in one table.
    Inet,
    /// ARP.
    Arp,
    /// What passes through a bridge.
    Bridge,
    /// What enters or leaves one interface.
    Netdev,
}

impl Family {
    /// The word of the nft language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }

    pub(super) const fn protocol(self) -> NetfilterProtoFamily {
        match self {
            Self::Ip => NetfilterProtoFamily::IPv4,
            Self::Ip6 => NetfilterProtoFamily::IPv6,
            Self::Inet => NetfilterProtoFamily::Inet,
            Self::Arp => NetfilterProtoFamily::ARP,
            Self::Bridge => NetfilterProtoFamily::Bridge,
            Self::Netdev => NetfilterProtoFamily::NetDev,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The full name of a table: `inet xnet_masq`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The family, which is part of the name: `ip nat` and `ip6 nat` are two tables.
    pub family: Family,
    /// The name within the family.
    pub name: Cow<'static, str>,
}

impl TableName {
    /// A name that is known at compile time.
    #[must_use]
    pub const fn new(family: Family, name: &'static str) -> Self {
        Self { family, name: Cow::Borrowed(name) }
    }

    /// The full name of a chain, set or map in this table.
    #[must_use]
    pub fn object(&self, name: impl Into<Cow<'static, str>>) -> ObjectName {
        ObjectName { table: self.clone(), name: name.into() }
    }

    pub(super) fn message(&self) -> TableMessage {
        TableMessage { attributes: vec![TableAttribute::Name(self.name.clone().into_owned())] }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// The full name of a chain, set or map: `inet xnet_masq postrouting`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// The table that holds the object.
    pub table: TableName,
    /// The name within the table.
    pub name: Cow<'static, str>,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Words for whoever lists the ruleset.
    pub comment: Option<String>,
}

impl Table {
    pub(super) fn message(&self) -> NfTablesMessage {
        let mut message = self.name.message();
        message.attributes.push(TableAttribute::Flags(TableFlags::empty()));
        if let Some(comment) = &self.comment {
            message.attributes.push(TableAttribute::UserData(userdata::table(comment)));
        }
        NfTablesMessage::NewTable(message)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}", self.name)?;
        match &self.comment {
            Some(comment) => write!(f, " {{ comment \"{}\" ; }}", userdata::cut(comment)),
            None => Ok(()),
        }
    }
}
