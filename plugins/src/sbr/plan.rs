//! What the routing of a container lacks, as plans.

use std::fmt;
use std::net::IpAddr;

use cni::result::{AddResult, IpConfig};
use ipnetwork::IpNetwork;
use kernel::netlink::{self, Request};
use kernel::plan::{Deviation, Failure, Machine, Plan, Side, Step};
use kernel::route::{Route, Verbatim};
use kernel::rule::{self, Rule};

use super::config::Gateways;

/// `RT_TABLE_MAIN`.
pub(super) const MAIN: u32 = 254;
/// The lowest table that is taken for an address.
const FIRST_TABLE: u32 = 100;
/// `RT_SCOPE_LINK`.
pub(super) const SCOPE_LINK: u8 = 253;

/// One request to the container's kernel, and the one that takes it back.
#[derive(Debug)]
pub(super) struct Ask {
    /// As a person would type it.
    line: String,
    /// What a refusal is introduced with.
    attempt: String,
    forth: Request,
    back: Option<Request>,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Side::Container, self.line)
    }
}

impl Step for Ask {
    fn request(&self, _: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        Ok(Some((Side::Container, self.forth.clone())))
    }

    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, &self.attempt, &error))
    }

    /// Not asked: CHECK knows nothing of what ADD found, and looks for itself.
    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let Some(back) = self.back.clone() else { return Ok(()) };
        match machine.side(Side::Container).and_then(|container| container.call(back)) {
            Err(error) if !error.is_not_found() && !error.is_exists() => {
                Err(Failure::new(self, "failed to take back", &error))
            }
            _ => Ok(()),
        }
    }
}

/// The addresses of a result that belong to the interface: those that say so, and those that say nothing or nothing
/// intelligible.
pub(super) fn addresses<'a>(previous: &'a AddResult, ifname: &'a str) -> impl Iterator<Item = &'a IpConfig> {
    let interface = |ip: &IpConfig| previous.interfaces.get(ip.interface?);
    previous.ips.iter().filter(move |ip| interface(ip).is_none_or(|interface| interface.name == ifname))
}

/// An address alone, as a rule has it for its source.
pub(super) fn source(ip: &IpConfig) -> IpNetwork {
    ip.address.ip().into()
}

/// The rules that lead from the addresses to a table, but for those that are there.
pub(super) fn rules_to(table: u32, ips: &[&IpConfig], rules: &[Rule]) -> Plan {
    let missing = ips.iter().filter(|ip| !rules.iter().any(|rule| is_for(rule, ip) && rule.table == table));
    missing.map(|ip| -> Box<dyn Step> { Box::new(rule_step(ip, table, "failed to add rule")) }).collect()
}

/// Whether a rule is for this address alone.
pub(super) fn is_for(rule: &Rule, ip: &IpConfig) -> bool {
    rule.source == Some(source(ip))
}

fn rule_step(ip: &IpConfig, table: u32, attempt: &str) -> Ask {
    let source = source(ip);
    Ask {
        line: format!("ip rule add from {source} lookup {table}"),
        attempt: attempt.to_owned(),
        forth: rule::add(source, table),
        back: Some(rule::del(source, table)),
    }
}

/// A link and what is routed through it, as it was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its index.
    pub(super) link: u32,
    /// Its name.
    pub(super) name: String,
    /// Its routes in table main.
    pub(super) routes: Vec<Verbatim>,
    /// All rules.
    pub(super) rules: Vec<Rule>,
}

/// The table of one address.
#[derive(Debug)]
pub(super) struct Table {
    /// Its number.
    number: u32,
    /// What it holds already; none of a table that is new, and has no rule.
    held: Option<Vec<Verbatim>>,
}

impl Found {
    /// A table for each address: the one that an earlier ADD has taken for it, else the next that no rule leads to and
    /// that holds no route.
    pub(super) fn tables(&self, machine: &mut Machine, ips: &[&IpConfig]) -> Result<Vec<Table>, netlink::Error> {
        let mut next = FIRST_TABLE;
        let mut tables = Vec::new();
        for ip in ips {
            let known = self.own_table(machine, ip)?;
            tables.push(match known {
                Some(table) => table,
                None => self.free_table(machine, &mut next)?,
            });
        }
        Ok(tables)
    }

    /// The table that a rule for this address leads to, when nothing in it leads through another link.
    fn own_table(&self, machine: &mut Machine, ip: &IpConfig) -> Result<Option<Table>, netlink::Error> {
        for rule in self.rules.iter().filter(|rule| is_for(rule, ip) && is_ours(rule.table)) {
            let held = machine.side(Side::Container)?.table_routes(rule.table)?;
            if held.iter().all(|route| self.is_through(route)) {
                return Ok(Some(Table { number: rule.table, held: Some(held) }));
            }
        }
        Ok(None)
    }

    fn free_table(&self, machine: &mut Machine, next: &mut u32) -> Result<Table, netlink::Error> {
        loop {
            let number = *next;
            *next = next.saturating_add(1);
            let is_named = || self.rules.iter().any(|rule| rule.table == number);
            if is_ours(number) && !is_named() && machine.side(Side::Container)?.table_routes(number)?.is_empty() {
                return Ok(Table { number, held: None });
            }
        }
    }

    fn is_through(&self, route: &Verbatim) -> bool {
        route.hops().iter().all(|hop| hop.oif == Some(self.link))
    }

    /// What sends packets from each address to its table, and fills the tables.
    pub(super) fn fill(&self, ips: &[&IpConfig], tables: &[Table], gateways: Gateways) -> Plan {
        let mut plan = Plan::new();
        for (ip, table) in ips.iter().zip(tables) {
            if table.held.is_none() {
                plan.push(rule_step(ip, table.number, "Failed to add rule"));
            }
            let router = gateways.get(ip.address.is_ipv6());
            let copied = self.routes.iter().filter(|route| is_for_subnet(route, ip));
            // One that is configured takes the place of all others.
            let copied = copied.filter(|route| router.is_none() || !is_default(route, ip.address.is_ipv6()));
            let (hopping, direct): (Vec<_>, Vec<_>) = copied.partition(|route| has_gateway(route));
            // First what is on the link, so that the routers of the rest can be reached.
            direct.into_iter().for_each(|route| self.copy(&mut plan, route, ip, table));
            if let Some(router) = router.or(ip.gateway) {
                self.default(&mut plan, router, table);
            }
            hopping.into_iter().for_each(|route| self.copy(&mut plan, route, ip, table));
        }
        plan
    }

    fn copy(&self, plan: &mut Plan, route: &Verbatim, ip: &IpConfig, table: &Table) {
        let copy = route.in_table(table.number);
        if table.held.as_ref().is_some_and(|held| held.contains(&copy) || is_hint(route, ip)) {
            return;
        }
        plan.push(Ask {
            line: format!("{} replace {} dev {}", command(copy.dst()), Shown(&copy), self.name),
            attempt: "Failed to readd route".to_owned(),
            forth: copy.replace(),
            back: table.held.is_none().then(|| copy.del()),
        });
    }

    fn default(&self, plan: &mut Plan, router: IpAddr, table: &Table) {
        let route = default_route(router, table.number);
        if table.held.as_ref().is_some_and(|held| held.iter().any(|held| is_default(held, router.is_ipv6()))) {
            return;
        }
        plan.push(Ask {
            line: format!("{} add {route} dev {}", command(Some(route.dst)), self.name),
            attempt: format!("Failed to add default route to {router}"),
            forth: route.add(self.link),
            back: table.held.is_none().then(|| route.del(self.link)),
        });
    }

    /// Takes the link's routes out of table main. Those with a router come first, so that taking back, which goes the
    /// other way, begins with those that lead to the router.
    pub(super) fn empty_main(&self) -> Plan {
        let (hopping, direct): (Vec<_>, Vec<_>) = self.routes.iter().partition(|route| has_gateway(route));
        let steps = hopping.into_iter().chain(direct).map(|route| -> Box<dyn Step> {
            Box::new(Ask {
                line: format!("{} del {} dev {}", command(route.dst()), Shown(route), self.name),
                attempt: "Failed to delete route".to_owned(),
                forth: route.del(),
                back: Some(route.add()),
            })
        });
        steps.collect()
    }

    /// What leaves the networks of the addresses in table main, with the address as source, and takes out the rest: each
    /// request with what a refusal of it means.
    pub(super) fn hint(&self, ips: &[&IpConfig]) -> Vec<(String, Request)> {
        let hints = ips.iter().map(|ip| {
            let route = hinted(ip);
            (format!("Failed to add subnet route {route} to main table"), route.replace(self.link))
        });
        let stays = |route: &Verbatim| ips.iter().any(|ip| is_hint(route, ip));
        let is_direct = |route: &Verbatim| route.hops().iter().any(|hop| hop.scope == Some(SCOPE_LINK));
        let others = self.routes.iter().filter(|route| !is_direct(route) && !stays(route));
        let deletions = others.map(|route| (format!("Failed to delete route {}", Shown(route)), route.del()));
        hints.chain(deletions).collect()
    }
}

/// Whether a table can be one of those that the plugin takes.
pub(super) fn is_ours(table: u32) -> bool {
    // 253 to 255 are default, main and local.
    table >= FIRST_TABLE && !(253..=255).contains(&table)
}

/// The route through a router in the table of an address.
pub(super) fn default_route(router: IpAddr, table: u32) -> Route {
    let anywhere = if router.is_ipv6() { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
    let dst = IpNetwork::new(anywhere, 0).unwrap_or_else(|_| anywhere.into());
    Route { gateway: Some(router), table: Some(table), ..Route::to(dst) }
}

/// The route to the network of an address, with the address as source.
pub(super) fn hinted(ip: &IpConfig) -> Route {
    let network = IpNetwork::new(ip.address.network(), ip.address.prefix()).unwrap_or(ip.address);
    Route { source: Some(ip.address.ip()), scope: Some(SCOPE_LINK), table: Some(MAIN), ..Route::to(network) }
}

/// Whether a route goes to the table of an address: its source or its router is in the network of the address, or it has
/// neither. The Go suite chooses so, without a look at the family. A link-local router is in the network of every IPv6
/// address.
fn is_for_subnet(route: &Verbatim, ip: &IpConfig) -> bool {
    let hops = route.hops();
    let is_near = |other: IpAddr| match other {
        IpAddr::V6(other) if other.is_unicast_link_local() => ip.address.is_ipv6(),
        other => ip.address.contains(other),
    };
    let inside = |other: Option<IpAddr>| other.is_some_and(is_near);
    let bare = hops.iter().all(|hop| hop.source.is_none() && hop.gateway.is_none());
    bare || hops.iter().any(|hop| inside(hop.source) || inside(hop.gateway))
}

/// Whether a route is what an earlier ADD has left in table main.
fn is_hint(route: &Verbatim, ip: &IpConfig) -> bool {
    let hint = hinted(ip);
    route.is_manual() && route.hops().iter().all(|hop| hop.dst == hint.dst && hop.source == hint.source)
}

fn has_gateway(route: &Verbatim) -> bool {
    route.hops().iter().any(|hop| hop.gateway.is_some())
}

fn is_default(route: &Verbatim, is_ipv6: bool) -> bool {
    route.dst().is_some_and(|dst| dst.prefix() == 0 && dst.is_ipv6() == is_ipv6)
}

/// The program that changes routes to `dst`.
fn command(dst: Option<IpNetwork>) -> &'static str {
    if dst.is_some_and(|dst| dst.is_ipv6()) { "ip -6 route" } else { "ip route" }
}

/// A route by its first hop, for people.
struct Shown<'a>(&'a Verbatim);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hops().first().map_or(Ok(()), |route| route.fmt(f))
    }
}
