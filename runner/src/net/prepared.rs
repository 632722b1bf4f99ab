//! The network of one run: decided before anything is made, then carried out in the parent.

use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kernel::netns::NetNs;

use crate::error::{Context, Error, Result};
use crate::fault;
use crate::id::Name;
use crate::setup::files::Files;
use crate::spec::{Dirs, NamespaceMode, Net, NetMode, Spec};
use crate::state::{Container, Record, Store};
use crate::trace::{self, Part, told};

use super::attach::{self, Place, Wishes};
use super::connected::{Connected, Endpoint};
use super::join::{self, Joined};
use super::network::Network;
use super::ports::Reserved;
use super::{carrier, devices, hosts, link, pin, ports, resolv};

/// Everything about the network of a run that can be known before the container is made. It holds the published ports,
/// so it must live as long as the container.
#[derive(Debug)]
pub(crate) struct Prepared {
    id: Name,
    name: Option<Name>,
    net: Net,
    networks: Vec<Network>,
    joined: Option<Joined>,
    ports: Reserved,
    /// The name that the container gets; none when it keeps the host's.
    pub(crate) hostname: Option<String>,
    /// Where the namespace is pinned, if the container has one of its own or another container's.
    pin: PathBuf,
    /// Where the files of /etc are made.
    place: PathBuf,
}

impl Prepared {
    /// Looks up the container that `spec` refers to, and takes its ports. `networks` are those of [`lookup`].
    ///
    /// # Errors
    /// The container is not there, or a port is taken.
    pub(crate) fn new(spec: &Spec, networks: Vec<Network>, dirs: &Dirs, store: &Store) -> Result<Self> {
        let net = spec.net.clone();
        let joined = match &net.mode {
            NetMode::Container(target) => Some(join::container(target.as_str(), store)?),
            NetMode::Namespace(path) => join::file(path).map(|_| None)?,
            _ => None,
        };
        devices::check(&net.devices, networks.len())?;
        let ports = match net.mode {
            NetMode::Carried(carrier) => carrier::ports(carrier, &net)?,
            _ => Reserved::take(&net)?,
        };
        Ok(Self {
            networks,
            hostname: hostname(spec, joined.as_ref()),
            joined,
            ports,
            pin: dirs.netns.join(spec.id.as_str()),
            place: dirs.container(&spec.id),
            id: spec.id.clone(),
            name: spec.name.clone(),
            net,
        })
    }

    /// What people should know before it begins.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = Error> + '_ {
        self.networks.iter().flat_map(Network::distrusted)
    }

    /// Whether the first process is to be born in a new namespace.
    pub(crate) fn is_private(&self) -> bool {
        self.net.mode.is_private()
    }

    /// The domain name that the container gets.
    pub(crate) fn domainname(&self) -> Option<String> {
        let own = self.net.domainname.as_ref().map(|domain| domain.as_str().to_owned());
        own.or_else(|| self.joined.as_ref()?.connected.domainname.clone())
    }

    /// The namespace file that the first process enters, if it is not born in its namespace.
    pub(crate) fn netns_to_enter(&self) -> Option<PathBuf> {
        match (&self.net.mode, &self.joined) {
            (NetMode::Namespace(path), _) => Some(path.clone()),
            (_, Some(Joined { netns: Some(_), .. })) => Some(self.pin.clone()),
            _ => None,
        }
    }

    /// Pins the namespace of the container that is joined under this one's id, so that it stays what it is now.
    ///
    /// # Errors
    /// The kernel refuses the mount, or the container that is joined cannot be told.
    pub(crate) fn pin_joined(&self, container: &mut Container, store: &Store) -> Result<()> {
        let Some(Joined { connected, netns: Some(netns) }) = &self.joined else { return Ok(()) };
        link::share(store, connected.joined.as_ref().unwrap_or(&connected.id))?;
        self.pin(netns, container)
    }

    fn pin(&self, netns: &OwnedFd, container: &mut Container) -> Result<()> {
        container.record(&Record::Netns { path: self.pin.clone() })?;
        fault::point("log-netns")?;
        let told = || told::pin(&self.pin, self.joined.as_ref().and_then(|joined| joined.connected.netns.as_deref()));
        trace::step(Part::Namespaces, "pin-netns", told, || pin::pin(netns.as_fd(), &self.pin))?;
        fault::point("pin-netns")
    }

    /// Pins the new namespace, has it wired, and writes everything down. `netns` is that of the first process, if it was
    /// born in its own.
    ///
    /// # Errors
    /// What the kernel or a plugin refused. The container's log says what has to be undone.
    pub(crate) fn connect(
        &self,
        container: &mut Container,
        store: &Store,
        netns: Option<&OwnedFd>,
        warn: &mut dyn FnMut(&Error),
    ) -> Result<(Connected, Files)> {
        let each = || self.networks.iter().zip(0..).map(|(network, n)| (network, format!("eth{n}")));
        if let Some(netns) = netns {
            self.pin(netns, container)?;
        }
        for (network, ifname) in each() {
            container.record(&network.record(&ifname, &self.pin))?;
        }
        fault::point("log-network")?;
        let (endpoints, mut dns) = self.attach(store, each(), warn)?;
        if let NetMode::Carried(program) = self.net.mode {
            dns.add(&carrier::start(program, &self.pin, &self.ports.mappings, container)?);
        }
        fault::point("network")?;
        self.lend_devices(container, store)?;
        let connected = self.connected(netns, endpoints)?;
        connected.write(store)?;
        let files = || self.files(&connected, &dns, container, store);
        let files = trace::step(Part::Network, "etc", || told::etc(&self.place), files)?;
        Ok((connected, files))
    }

    /// One network after the other, in the order in which they were asked for: the interfaces' names depend on it.
    fn attach<'a>(
        &'a self,
        store: &Store,
        each: impl Iterator<Item = (&'a Network, String)>,
        warn: &mut dyn FnMut(&Error),
    ) -> Result<(Vec<Endpoint>, resolv::Answers)> {
        let (mut endpoints, mut answers) = (Vec::<Endpoint>::new(), resolv::Answers::default());
        if self.networks.is_empty() {
            return Ok((endpoints, answers));
        }
        calm(&self.pin)?;
        let forwarded = forwards();
        for (n, (network, ifname)) in each.enumerate() {
            let place = Place { store, id: &self.id, netns: &self.pin, ifname: &ifname };
            let leads_out = endpoints.iter().any(|endpoint| endpoint.is_default);
            let modest = leads_out.then(|| network.clone().without_default_routes()).transpose()?;
            let wishes = self.wishes(n, network);
            let result = attach::add(modest.as_ref().unwrap_or(network), place, &wishes)?;
            let mut endpoint = Endpoint::of(&network.name, &ifname, &result);
            endpoint.publishes = !wishes.ports.is_empty();
            endpoint.aliases = self.net.aliases.iter().map(|alias| alias.as_str().to_owned()).collect();
            endpoints.push(endpoint);
            answers.add(&result.dns);
        }
        if !forwarded && forwards() {
            warn(&Error::new("the host forwards IPv4 packets from now on (net.ipv4.ip_forward was 0 and is 1)"));
        }
        Ok((endpoints, answers))
    }

    /// Each on record behind the namespace: at the end it goes home before the namespace goes.
    fn lend_devices(&self, container: &mut Container, store: &Store) -> Result<()> {
        for device in &self.net.devices {
            let network = devices::network(device)?;
            container.record(&network.record(&device.name, &self.pin))?;
            let place = Place { store, id: &self.id, netns: &self.pin, ifname: &device.name };
            attach::add(&network, place, &Wishes::default())?;
            fault::point("netdev")?;
        }
        Ok(())
    }

    /// What is about one attachment only is about the first, but for ports, which go where they are understood.
    fn wishes(&self, n: usize, network: &Network) -> Wishes {
        let taker = self.networks.iter().position(|network| network.is_capable_of("portMappings"));
        let first = n == 0;
        Wishes {
            addresses: if first { self.net.addresses.clone() } else { Vec::new() },
            mac: self.net.mac.filter(|_| first),
            ports: if taker == Some(n) { self.ports.mappings.clone() } else { Vec::new() },
            aliases: if network.is_capable_of("aliases") {
                self.net.aliases.iter().map(|alias| alias.as_str().to_owned()).collect()
            } else {
                Vec::new()
            },
        }
    }

    fn connected(&self, netns: Option<&OwnedFd>, endpoints: Vec<Endpoint>) -> Result<Connected> {
        let other = self.joined.as_ref();
        let entered = match &self.net.mode {
            NetMode::Namespace(path) => Some(join::file(path)?),
            _ => None,
        };
        let netns = netns.or(entered.as_ref()).or_else(|| other?.netns.as_ref());
        Ok(Connected {
            id: self.id.clone(),
            name: self.name.clone(),
            hostname: self.hostname.clone().unwrap_or_else(host_name),
            domainname: self.domainname(),
            netns: netns.map(|_| self.netns_to_enter().unwrap_or_else(|| self.pin.clone())),
            inode: netns.map(join::inode).transpose()?.unwrap_or_default(),
            joined: other.map(|joined| joined.connected.joined.clone().unwrap_or_else(|| joined.connected.id.clone())),
            files: self.place.clone(),
            endpoints,
            ports: self.ports.mappings.clone(),
            waiting: Vec::new(),
            is_shared: false,
        })
    }

    /// Makes the files of /etc.
    fn files(
        &self,
        connected: &Connected,
        answers: &resolv::Answers,
        container: &mut Container,
        store: &Store,
    ) -> Result<Files> {
        container.record(&Record::Files { dir: self.place.clone() })?;
        if let Some(other) = &self.joined {
            hosts::share(&other.connected.files, &self.place)?;
        } else {
            let resolv = resolv::text(&self.net.mode, &self.net.dns, answers);
            hosts::write(store, connected, &self.net, &resolv)?;
        }
        fault::point("network-files")?;
        Ok(Files { dir: connected.files.clone() })
    }
}

/// The networks that `spec` names. Looks at files only.
///
/// # Errors
/// There is none of that name, or none of them can do what is asked for.
pub(crate) fn lookup(spec: &Spec, dirs: &Dirs) -> Result<Vec<Network>> {
    let net = &spec.net;
    let networks = match &net.conf {
        Some(file) => vec![Network::from_file(file, &net.plugin_path)?],
        None => {
            let find = |name: &Name| Network::find(name.as_str(), dirs, &net.plugin_path);
            net.mode.networks().iter().map(find).collect::<Result<Vec<_>>>()?
        }
    };
    if !ports::is_wanted(net) || matches!(net.mode, NetMode::Carried(_)) {
        return networks.into_iter().map(Network::without_ports).collect();
    }
    if !networks.iter().any(|network| network.is_capable_of("portMappings")) {
        let names: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
        return Err(Error::new(format!(
            "ports cannot be published: no plugin of network {} has the capability portMappings (a list that ends in \
             {{\"type\": \"portmap\", \"capabilities\": {{\"portMappings\": true}}}} does)",
            names.join(",")
        )));
    }
    Ok(networks)
}

fn hostname(spec: &Spec, joined: Option<&Joined>) -> Option<String> {
    let asked = spec.net.hostname.as_ref().map(|name| name.as_str().to_owned());
    match (&spec.net.mode, joined) {
        _ if spec.namespaces.uts != NamespaceMode::Private => asked,
        (NetMode::Host, _) => asked,
        (_, Some(other)) if other.connected.hostname != host_name() => Some(other.connected.hostname.clone()),
        (_, Some(_)) => None,
        _ => Some(asked.unwrap_or_else(|| spec.id.short().to_owned())),
    }
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Links that are going to be made in this namespace take no router's word, and use their IPv6 addresses at once. Where
/// the kernel has no IPv6 there is nothing to be told.
fn calm(netns: &Path) -> Result<()> {
    let netns = NetNs::open(netns).map_err(|error| Error::new(error.to_string()))?;
    let write = || {
        for (key, value) in [("accept_ra", "0"), ("accept_dad", "0")] {
            let _ = kernel::sysctl::write(&format!("net/ipv6/conf/default/{key}"), value);
        }
    };
    netns.run(write).map_err(|error| Error::new(error.to_string())).context(|| "prepare the network namespace")
}

fn forwards() -> bool {
    kernel::sysctl::read("net/ipv4/ip_forward").is_ok_and(|value| value.trim() == "1")
}

/// The addresses of a container on its networks.
pub(super) fn addresses(connected: &Connected) -> impl Iterator<Item = IpAddr> + '_ {
    connected.endpoints.iter().flat_map(|endpoint| endpoint.addresses.iter().map(|assigned| assigned.address))
}
