//! `route_localnet`: packets from 127.0.0.1 may leave the host.
//!
//! A program of the host that asks 127.0.0.1 for a mapped port sends a packet from 127.0.0.1, which is translated on its
//! way out but routed before that. The link that leads to the container has to let it pass. IPv6 knows no such thing.

use std::fmt;
use std::net::IpAddr;

use kernel::link;
use kernel::netlink;
use kernel::plan::{Deviation, Failure, Machine, Setting, Side, Step, Sysctls};
use kernel::route::{self, Route};

/// The parameter of the link by which packets to a container leave. Other containers may share the link, and one of them
/// may just have found the parameter set, so it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RouteLocalnet {
    /// The container's IPv4 address.
    pub(super) address: IpAddr,
}

impl RouteLocalnet {
    /// The parameter; none when the host knows no way to the container.
    fn sysctl(self, machine: &mut Machine) -> Result<Option<Sysctls>, netlink::Error> {
        let host = machine.host()?;
        let Some(Ok(frames)) = host.exchange(&[route::get(self.address)])?.pop() else { return Ok(None) };
        let oif = Route::from_frames(&frames)?.first().and_then(|route| route.oif);
        let Some(oif) = oif else { return Ok(None) };
        let Some(link) = host.lookups(&[link::get_by_index(oif)])?.pop().flatten() else { return Ok(None) };
        let parameter = format!("net/ipv4/conf/{}/route_localnet", link.name);
        let settings = vec![Setting::required(parameter, "1", "unable to enable route_localnet")];
        Ok(Some(Sysctls { side: Side::Host, settings }))
    }
}

impl fmt::Display for RouteLocalnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        write!(f, "sysctl -w net/ipv4/conf/$(ip -o route get {address} | sed 's/.* dev //; s/ .*//')/route_localnet=1")
    }
}

impl Step for RouteLocalnet {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("look for the way to {}", self.address), &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        match self.sysctl(machine) {
            Ok(Some(sysctl)) => sysctl.apply(machine),
            Ok(None) => Ok(()),
            Err(error) => self.refused(error),
        }
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        self.sysctl(machine)?.map_or(Ok(()), |sysctl| sysctl.check(machine))
    }
}
