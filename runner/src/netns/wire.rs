//! Veth pairs by hand: from a namespace to a bridge, to another namespace, or to itself.
//!
//! What is made dies with the namespace: no record is kept, and nothing has to be undone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use cni::IfName;
use cni::owner::prefixed_hash;
use ipnetwork::{IpNetwork, Ipv4Network};
use kernel::link::{self, Link, NewEnd, new_veth};
use kernel::route::Route;
use kernel::{Handle, Mac, address, netlink};

use crate::error::{Context, Error, Result};

use super::commands::At;
use super::target::Target;

/// What was asked for of an attachment to a bridge.
#[derive(Debug)]
pub(crate) struct Attach<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) address: Option<IpNetwork>,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) ifname: Option<&'a str>,
}

/// Connects `target` with a bridge of the host. Answers the equivalent `ip` commands.
///
/// # Errors
/// There is no such bridge, the address fits it badly, or the kernel refuses.
pub(crate) fn attach(target: &Target, asked: &Attach<'_>) -> Result<Vec<String>> {
    let (mut host, mut inside) = (here()?, enter(target)?);
    let bridge = host.link(asked.bridge).map_err(refused)?.filter(|link| link.is("bridge"));
    let bridge = bridge.ok_or_else(|| Error::new(format!("the host has no bridge {}", asked.bridge)))?;
    let gateway = asked.address.map(|address| gateway(&mut host, &bridge, address, asked.gateway)).transpose()?;
    let ifname = next_name(&mut inside, "eth", asked.ifname, None)?;
    let near = end(&prefixed_hash("veth", &format!("{} {ifname}", target.ip_name()), 12), Some(bridge.mtu));
    let mut far = end(&ifname, Some(bridge.mtu));
    if let Some(IpNetwork::V4(v4)) = asked.address {
        let [a, b, c, d] = v4.ip().octets();
        far.mac = Mac::new([0x02, 0x42, a, b, c, d]);
    }
    host.call(new_veth(&near, Some(bridge.index), &far, target.netns.as_fd())).map_err(refused)?;
    let name = target.ip_name();
    let mut steps = vec![
        At::Here.pair(&near, &far, At::Name(&name)),
        At::Here.port(&near.name, asked.bridge),
        At::Here.up(&near.name),
    ];
    if let Err(error) = configure(&mut inside, &ifname, asked.address, gateway.flatten(), &name, &mut steps) {
        // Half a connection is none.
        let _ = host.call(link::del(&near.name));
        return Err(error);
    }
    Ok(steps)
}

/// The way out for `address`: as asked for, or the bridge's own address in the same network.
fn gateway(host: &mut Handle, bridge: &Link, address: IpNetwork, asked: Option<IpAddr>) -> Result<Option<IpAddr>> {
    let own = host.addresses(bridge.index, address.is_ipv6()).map_err(refused)?;
    let own: Vec<IpNetwork> = own.iter().filter(|a| a.is_global_unicast()).map(|a| a.network).collect();
    let texts: Vec<String> = own.iter().map(ToString::to_string).collect();
    if let Some(gateway) = asked {
        return match address.contains(gateway) {
            true => Ok(Some(gateway)),
            false => Err(Error::new(format!(
                "the gateway {gateway} is not in the network of {address}, so the kernel would refuse it (Nexthop has \
                 invalid gateway); bridge {} has {}",
                bridge.name,
                texts.join(", ")
            ))),
        };
    }
    match own.iter().find(|own| own.contains(address.ip())) {
        Some(own) if own.ip() == address.ip() => {
            Err(Error::new(format!("{} is the address of bridge {} itself", address.ip(), bridge.name)))
        }
        Some(own) => Ok(Some(own.ip())),
        None if own.is_empty() => Ok(None),
        None => Err(Error::new(format!(
            "{address} is in no network of bridge {}, which has {}",
            bridge.name,
            texts.join(", ")
        ))),
    }
}

fn configure(
    inside: &mut Handle,
    ifname: &str,
    address: Option<IpNetwork>,
    gateway: Option<IpAddr>,
    name: &str,
    steps: &mut Vec<String>,
) -> Result<()> {
    let index = index(inside, ifname)?;
    if let Some(ip) = address {
        inside.call(address::add(index, ip, true)).map_err(refused)?;
        steps.push(At::Name(name).address(ip, ifname));
    }
    inside.call(link::set_up(ifname, true)).map_err(refused)?;
    steps.push(At::Name(name).up(ifname));
    if let Some(gateway) = gateway {
        let zero: IpAddr = if gateway.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let anywhere = IpNetwork::new(zero, 0).map_err(|error| Error::new(error.to_string()))?;
        let taken = inside.routes(gateway.is_ipv6(), MAIN).map_err(refused)?;
        if !taken.iter().any(|route| route.dst.prefix() == 0) {
            let route = Route { gateway: Some(gateway), ..Route::to(anywhere) };
            inside.call(route.add(index)).map_err(refused)?;
            steps.push(At::Name(name).route(anywhere, Some(gateway), ifname));
        }
    }
    Ok(())
}

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// What was asked for of a pair between two namespaces.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    /// What the ends are called; by default the first free ones of `PREFIX0`, `PREFIX1`, ...
    pub(crate) names: [Option<&'a str>; 2],
    pub(crate) prefix: &'static str,
    pub(crate) addresses: Addresses,
}

/// The addresses of the two ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Addresses {
    /// None: links only.
    None,
    /// The first two of a network that is free on both sides.
    Free,
    /// The first two of this network.
    Of(Ipv4Network),
}

/// A pair that has been made: its ends, and the equivalent `ip` commands.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) ends: [String; 2],
    pub(crate) steps: Vec<String>,
}

/// Connects two namespaces with each other, and gives either end an address of a network of two.
///
/// # Errors
/// They are the same, or the kernel refuses.
pub(crate) fn connect(a: &Target, b: &Target, network: Option<Ipv4Network>) -> Result<Made> {
    if join_inode(a)? == join_inode(b)? {
        return Err(Error::new(format!("{} and {} are in the same network namespace", a.title, b.title)));
    }
    let addresses = network.map_or(Addresses::Free, Addresses::Of);
    pair(a, b, &Pair { names: [None, None], prefix: "eth", addresses })
}

/// Makes a veth pair with one end in either namespace; they may be the same.
///
/// # Errors
/// A name is taken, the network is too small, or the kernel refuses. Nothing is left then.
pub(crate) fn pair(a: &Target, b: &Target, asked: &Pair<'_>) -> Result<Made> {
    let (mut first, mut second) = (enter(a)?, enter(b)?);
    let [left, right] = match asked.addresses {
        Addresses::None => [None, None],
        Addresses::Free => two_of(free_pair(&mut first, &mut second)?)?,
        Addresses::Of(network) => two_of(network)?,
    };
    let one = next_name(&mut first, asked.prefix, asked.names[0], None)?;
    let same = join_inode(a)? == join_inode(b)?;
    let other = next_name(&mut second, asked.prefix, asked.names[1], same.then_some(one.as_str()))?;
    let (near, far) = (end(&one, None), end(&other, None));
    first.call(new_veth(&near, None, &far, b.netns.as_fd())).map_err(refused)?;
    let (x, y) = (a.ip_name(), b.ip_name());
    let mut steps = vec![At::Name(&x).pair(&near, &far, At::Name(&y))];
    let done = configure(&mut first, &one, left, None, &x, &mut steps)
        .and_then(|()| configure(&mut second, &other, right, None, &y, &mut steps));
    if let Err(error) = done {
        let _ = first.call(link::del(&one));
        return Err(error);
    }
    Ok(Made { ends: [one, other], steps })
}

/// The first two addresses of a network.
fn two_of(network: Ipv4Network) -> Result<[Option<IpNetwork>; 2]> {
    if network.prefix() > 30 {
        return Err(Error::new(format!("{network} has no room for two addresses")));
    }
    let bits = u32::from(network.network());
    let at =
        |n: u32| Ipv4Network::new((bits + n).into(), network.prefix()).map_err(|error| Error::new(error.to_string()));
    Ok([Some(IpNetwork::V4(at(1)?)), Some(IpNetwork::V4(at(2)?))])
}

/// A /30 of 169.254.0.0/16 that neither side has a route to.
fn free_pair(first: &mut Handle, second: &mut Handle) -> Result<Ipv4Network> {
    let mut taken = first.routes(false, MAIN).map_err(refused)?;
    taken.extend(second.routes(false, MAIN).map_err(refused)?);
    let begin = u32::from_be_bytes([169, 254, 77, 0]);
    let mut candidates = (0..4096).filter_map(|n| Ipv4Network::new((begin + 4 * n).into(), 30).ok());
    let is_free = |pair: &Ipv4Network| {
        !taken.iter().any(|route| match route.dst {
            IpNetwork::V4(dst) => dst.prefix() > 0 && (dst.contains(pair.network()) || pair.contains(dst.network())),
            IpNetwork::V6(_) => false,
        })
    };
    candidates.find(is_free).ok_or_else(|| Error::new("no free network of two is left; give one with --subnet"))
}

fn join_inode(target: &Target) -> Result<u64> {
    crate::net::join::inode(&target.netns)
}

fn here() -> Result<Handle> {
    Handle::here().context(|| "open a route socket")
}

fn enter(target: &Target) -> Result<Handle> {
    super::handle(&target.netns).context(|| target.title.clone())
}

fn index(handle: &mut Handle, name: &str) -> Result<u32> {
    let found = handle.link(name).map_err(refused)?;
    found.map(|link| link.index).ok_or_else(|| Error::new(format!("link {name} is gone")))
}

/// The name asked for, if it is free, or the first of `PREFIX0`, `PREFIX1`, ... that is. `promised` will be taken, too.
fn next_name(inside: &mut Handle, prefix: &str, asked: Option<&str>, promised: Option<&str>) -> Result<String> {
    let mut names: Vec<String> = inside.links().map_err(refused)?.into_iter().map(|link| link.name).collect();
    names.extend(promised.map(str::to_owned));
    match asked {
        Some(name) if names.iter().any(|taken| taken == name) => {
            Err(Error::new(format!("there is a link {name} in the namespace already")))
        }
        Some(name) => {
            let checked = name.parse::<IfName>().context(|| format!("the name {name:?} for a link"))?;
            Ok(checked.as_str().to_owned())
        }
        None => Ok((0..).map(|n| format!("{prefix}{n}")).find(|name| !names.contains(name)).unwrap_or_default()),
    }
}

/// An end with a hardware address of its own.
fn end(name: &str, mtu: Option<u32>) -> NewEnd {
    let mut bytes = [0x02, 0, 0, 0, 0, 0];
    if let Ok(random) = crate::id::Name::random() {
        let hex = random.as_str();
        for (n, byte) in bytes.iter_mut().enumerate().skip(1) {
            *byte = hex.get(2 * n..2 * n + 2).and_then(|two| u8::from_str_radix(two, 16).ok()).unwrap_or_default();
        }
    }
    NewEnd { name: name.to_owned(), mac: Mac::new(bytes), mtu }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn refused(error: netlink::Error) -> Error {
    Error::new(error.to_string())
}
