//! Links on a link that is there already: which it is, and what it allows.

use cni::Error;
use kernel::link::Link;
use kernel::netlink;
use kernel::plan::{Machine, Side};

use crate::error::attempt;

/// The main routing table, `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// The link that another is made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// In which namespace.
    pub side: Side,
    /// The link as it is now.
    pub link: Link,
}

impl Parent {
    /// Finds the link `name`, or if that is empty the one of the default route.
    ///
    /// # Errors
    ///
    /// When there is none, in the words of the Go suite.
    pub fn find(machine: &mut Machine, in_container: bool, name: &str) -> Result<Self, Error> {
        let side = if in_container { Side::Container } else { Side::Host };
        let looked = |error| attempt("look for the master", error);
        let link = match name {
            "" => {
                let link = of_default_route(machine, side).map_err(looked)?;
                link.ok_or_else(|| {
                    Error::internal("no default route interface found")
                        .with_details("name the link to use by the key \"master\"")
                })?
            }
            name => {
                let link = machine.side(side).and_then(|side| side.link(name)).map_err(looked)?;
                link.ok_or_else(|| Error::internal("Link not found").with_details(format!("master \"{name}\"")))?
            }
        };
        Ok(Self { side, link })
    }

    /// The same in a sentence that says what for, as the Go suite's ipvlan, and CHECK of most, have it.
    ///
    /// # Errors
    ///
    /// As [`Parent::find`].
    pub fn look_up(machine: &mut Machine, in_container: bool, name: &str) -> Result<Self, Error> {
        let found = Self::find(machine, in_container, name);
        let named = |error: Error| error.context(format_args!("failed to lookup master \"{name}\""));
        if name.is_empty() { found } else { found.map_err(named) }
    }

    /// The MTU in bytes; none for the parent's own.
    ///
    /// # Errors
    ///
    /// When the parent's is smaller.
    pub fn mtu(&self, written: i64) -> Result<Option<u32>, Error> {
        let most = self.link.mtu;
        match u32::try_from(written) {
            Ok(mtu) if mtu <= most => Ok((mtu != 0).then_some(mtu)),
            _ => Err(Error::internal(format!("invalid MTU {written}, must be [0, master MTU({most})]"))),
        }
    }
}

/// The link of the first default route, IPv4 before IPv6.
fn of_default_route(machine: &mut Machine, side: Side) -> Result<Option<Link>, netlink::Error> {
    let handle = machine.side(side)?;
    for is_ipv6 in [false, true] {
        let routes = handle.routes(is_ipv6, MAIN)?;
        let index = routes.iter().filter(|route| route.dst.prefix() == 0).find_map(|route| route.oif);
        if let Some(index) = index {
            return handle.link_at(index);
        }
    }
    Ok(None)
}
