//! VRFs and their ports.
//!
//! The kernel moves a link into a VRF by setting it down and up again. What it makes by itself (connected routes, local
//! routes, link-local addresses) it then makes in the VRF's table; everything else is gone: routes that somebody asked for,
//! in all tables, and IPv6 addresses unless `keep_addr_on_down` is set. So what is there is read first, and given back
//! afterwards. Of a route with next hops through several links the kernel leaves everything where it is; the link's own
//! next hops have to be parted from the rest.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;

use super::settle::watch;
use super::{Deviation, Failure, Machine, Side, Step};
use crate::address;
use crate::link::{self, NewVrf};
use crate::netlink::{Error, IPV6_ROUTES, Outcome, Request};
use crate::route::Verbatim;

/// `RT_TABLE_MAIN` and `RT_TABLE_LOCAL`.
const MAIN: u32 = 254;
const LOCAL: u32 = 255;
/// How long the kernel may take to put an address to use: with duplicate address detection one to two seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a VRF, up. Others may join it, so undoing removes it only while it has no port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateVrf {
    /// Where it is.
    pub side: Side,
    /// What to make.
    pub vrf: NewVrf,
}

impl CreateVrf {
    fn remove(&self, machine: &mut Machine) -> Result<(), Error> {
        let handle = machine.side(self.side)?;
        let Some(vrf) = handle.link(&self.vrf.name)? else { return Ok(()) };
        if vrf.is("vrf") && handle.ports(vrf.index)?.is_empty() {
            handle.call(link::del(&vrf.name))?;
        }
        Ok(())
    }
}

impl fmt::Display for CreateVrf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip link add {} up type vrf table {}", self.side, self.vrf.name, self.vrf.table)
    }
}

impl Step for CreateVrf {
    fn request(&self, _: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        Ok(Some((self.side, self.vrf.request())))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("could not add VRF {}", self.vrf.name), &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let name = &self.vrf.name;
        match machine.side(self.side)?.link(name)? {
            None => Err(Deviation::LinkMissing(name.clone())),
            Some(link) if !link.is("vrf") => {
                Err(Deviation::WrongKind { link: name.clone(), expected: "vrf".to_owned() })
            }
            Some(link) if link.vrf_table != Some(self.vrf.table) => Err(Deviation::Missing(self.to_string())),
            Some(link) if !link.up => Err(Deviation::LinkDown(name.clone())),
            Some(_) => Ok(()),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        machine.forget(self.side, &self.vrf.name);
        self.remove(machine)
            .map_err(|error| Failure::new(self, format_args!("could not remove VRF {}", self.vrf.name), &error))
    }
}

/// Makes a link a port of a VRF, with all its addresses and routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enslave {
    /// Where both are.
    pub side: Side,
    /// The link's name.
    pub link: String,
    /// Its index.
    pub index: u32,
    /// The VRF.
    pub vrf: NewVrf,
    /// The link's IPv6 addresses before: [`global_ipv6`](crate::Handle::global_ipv6).
    pub addresses: Vec<address::Verbatim>,
    /// The routes through it before: [`routes_through`](crate::Handle::routes_through).
    pub routes: Vec<Verbatim>,
}

impl Enslave {
    fn enslave(&self, machine: &mut Machine) -> Result<(), Failure> {
        let (link, vrf) = (&self.link, &self.vrf.name);
        let failed = |error: Error| self.refusal(&error);
        let master = machine.index(self.side, vrf).map_err(failed)?;
        self.change_master(machine, Some(master))?;
        self.wait(machine, self.vrf.table)?;
        let routes: Vec<Verbatim> = self.own().map(|route| self.within(route)).collect();
        self.add_routes(machine, &routes)?;
        // What is left of a route through several links stays where it was.
        let rest: Vec<Verbatim> = self.shared().filter_map(|route| route.around(self.index)).collect();
        let requests: Vec<Request> = rest.iter().map(Verbatim::replace).collect();
        let outcomes = machine.side(self.side).and_then(|side| side.exchange(&requests)).map_err(failed)?;
        match outcomes.into_iter().find_map(Result::err) {
            Some(refusal) => {
                let attempt = format_args!("could not part the routes of {link} in VRF {vrf} from others");
                Err(Failure::new(self, attempt, &refusal.into()))
            }
            None => Ok(()),
        }
    }

    fn refusal(&self, error: &Error) -> Failure {
        Failure::new(self, format_args!("could not set vrf {} as master of {}", self.vrf.name, self.link), error)
    }

    /// Changes the master and gives the addresses back, in one message. Those that the link has kept are refused as
    /// present.
    fn change_master(&self, machine: &mut Machine, master: Option<u32>) -> Result<(), Failure> {
        let mut requests = vec![link::set_master(&self.link, master)];
        requests.extend(self.addresses.iter().map(address::Verbatim::add));
        let outcomes = machine.side(self.side).and_then(|side| side.exchange(&requests));
        let mut outcomes = outcomes.map_err(|error| self.refusal(&error))?.into_iter();
        if let Some(Err(refusal)) = outcomes.next() {
            return Err(self.refusal(&refusal.into()));
        }
        for (address, outcome) in self.addresses.iter().zip(outcomes) {
            accept_present(outcome).map_err(|error| {
                let vrf = &self.vrf.name;
                let attempt = format_args!("could not restore address {} to {} @ {vrf}", address.network, self.link);
                Failure::new(self, attempt, &error)
            })?;
        }
        Ok(())
    }

    /// Waits until the kernel uses the addresses, which it begins to do a little after it took them: a route that names
    /// one as its source is refused until then. Without a carrier they wait for that, and this does not.
    fn wait(&self, machine: &mut Machine, table: u32) -> Result<(), Failure> {
        let failed = |error: Error| {
            Failure::new(self, format_args!("failed getting routes for {} table {table}", self.link), &error)
        };
        if self.addresses.is_empty() || self.unused(machine, table).map_err(failed)?.is_none() {
            return Ok(());
        }
        // Subscribe first, then look: what happens in between is not lost.
        let monitor = watch(machine, self.side, IPV6_ROUTES).map_err(|error| failed(error.into()))?;
        let deadline = Instant::now() + PATIENCE;
        while let Some(unused) = self.unused(machine, table).map_err(failed)? {
            let carrier = machine.side(self.side).and_then(|side| side.link(&self.link)).map_err(failed)?;
            if !carrier.is_some_and(|link| link.carrier) {
                return Ok(());
            }
            if !monitor.wait(deadline).map_err(|error| failed(error.into()))? {
                let text =
                    format!("failed getting local/host addresses for {} in table {table} with dst {unused}", self.link);
                return Err(Failure::other(self, text));
            }
        }
        Ok(())
    }

    /// The first of the addresses that has no local route in the table.
    fn unused(&self, machine: &mut Machine, table: u32) -> Result<Option<IpAddr>, Error> {
        let routes = machine.side(self.side)?.routes(true, table)?;
        let is_used = |ip: IpAddr| {
            let host = IpNetwork::from(ip);
            routes.iter().any(|route| route.dst == host && route.oif == Some(self.index))
        };
        Ok(self.addresses.iter().map(|address| address.network.ip()).find(|ip| !is_used(*ip)))
    }

    /// The routes that the link takes along, those without gateway first: others may need them.
    fn own(&self) -> impl Iterator<Item = Verbatim> {
        let lost = |route: &&Verbatim| route.is_deliberate() && !self.stays(route);
        // A route is put before others of the same prefix and metric, so the last comes first.
        let mut own: Vec<Verbatim> =
            self.routes.iter().rev().filter(lost).filter_map(|route| route.through(self.index)).collect();
        own.sort_by_key(|route| route.hops().iter().any(|hop| hop.gateway.is_some()));
        own.into_iter()
    }

    /// Whether the kernel leaves a route as it is: when it is not the main table's, and leads through other links too.
    fn stays(&self, route: &Verbatim) -> bool {
        route.table() != Some(MAIN) && route.around(self.index).is_some()
    }

    /// The routes of the main table that lead through other links as well.
    fn shared(&self) -> impl Iterator<Item = &Verbatim> {
        let is_main = |route: &&Verbatim| route.is_deliberate() && route.table() == Some(MAIN);
        self.routes.iter().filter(is_main).filter(|route| route.around(self.index).is_some())
    }

    /// The route in the table where the VRF looks for it. Other tables than the main one are asked by rules, as before.
    fn within(&self, route: Verbatim) -> Verbatim {
        if route.table() == Some(MAIN) { route.in_table(self.vrf.table) } else { route }
    }

    fn add_routes(&self, machine: &mut Machine, routes: &[Verbatim]) -> Result<(), Failure> {
        let requests: Vec<Request> = routes.iter().map(Verbatim::add).collect();
        let outcomes =
            machine.side(self.side).and_then(|side| side.exchange(&requests)).map_err(|error| self.refusal(&error))?;
        for (route, outcome) in routes.iter().zip(outcomes) {
            accept_present(outcome).map_err(|error| {
                let text = route.hops().first().map(ToString::to_string).unwrap_or_default();
                Failure::new(self, format_args!("could not add route '{text} dev {}'", self.link), &error)
            })?;
        }
        Ok(())
    }

    /// Takes the link out and puts everything where it was.
    fn release(&self, machine: &mut Machine) -> Result<(), Failure> {
        if machine.side(self.side).and_then(|side| side.link(&self.link)).is_ok_and(|link| link.is_none()) {
            return Ok(());
        }
        self.change_master(machine, None)?;
        self.wait(machine, LOCAL)?;
        let routes: Vec<Verbatim> = self.own().filter(|route| !self.is_shared(route)).collect();
        self.add_routes(machine, &routes)?;
        let whole: Vec<Request> = self.shared().map(Verbatim::replace).collect();
        let outcomes =
            machine.side(self.side).and_then(|side| side.exchange(&whole)).map_err(|error| self.refusal(&error))?;
        match outcomes.into_iter().find_map(Result::err) {
            Some(refusal) => Err(Failure::new(self, "could not join the routes again", &refusal.into())),
            None => Ok(()),
        }
    }

    /// Whether this is the link's part of a route that others have a part in.
    fn is_shared(&self, part: &Verbatim) -> bool {
        self.shared().any(|whole| whole.through(self.index).as_ref() == Some(part))
    }
}

/// What is there already is as good as made.
fn accept_present(outcome: Outcome) -> Result<(), Error> {
    match outcome.map_err(Error::from) {
        Err(error) if !error.is_exists() => Err(error),
        _ => Ok(()),
    }
}

impl fmt::Display for Enslave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (link, vrf) = (&self.link, &self.vrf.name);
        write!(f, "{}ip link set {link} master {vrf}", self.side)?;
        for address in &self.addresses {
            write!(f, "\n{}ip address add {} dev {link}", self.side, address.network)?;
        }
        for route in self.own().map(|route| self.within(route)) {
            for hop in route.hops() {
                write!(f, "\n{}ip route add {hop} dev {link}", self.side)?;
            }
        }
        Ok(())
    }
}

impl Step for Enslave {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(self.refusal(&error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.enslave(machine).inspect_err(|_| {
            // The first failure is the one to tell.
            let _ = self.release(machine);
        })
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let (link, master) = (self.link.clone(), self.vrf.name.clone());
        let vrf = machine.index(self.side, &master).map_err(|_| Deviation::LinkMissing(master.clone()))?;
        match machine.side(self.side)?.link(&link)? {
            None => Err(Deviation::LinkMissing(link)),
            Some(found) if found.master != Some(vrf) => Err(Deviation::NotPort { link, master }),
            Some(_) => Ok(()),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.release(machine)
    }
}
