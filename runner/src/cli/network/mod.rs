//! `xnet network`.

mod show;

pub(in crate::cli) use show::describe;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::{Args, Subcommand, ValueEnum};
use ipnetwork::IpNetwork;

use crate::error::{Error, Result};
use crate::id::Name;
use crate::net::attach::Wishes;
use crate::net::create::{Creation, Driver};
use crate::net::{link, remove};
use crate::rootless;
use crate::spec::{Dirs, Hostname, Mac};
use crate::state::Store;

use super::complain;

/// Networks that containers are attached to.
#[derive(Debug, Args)]
pub(super) struct Network {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List networks
    #[command(visible_alias = "list")]
    Ls(show::Ls),
    /// Make a network
    Create(Create),
    /// Print all that is known about networks, as JSON
    Inspect(show::Inspect),
    /// Remove networks that no container is on
    #[command(visible_alias = "remove")]
    Rm {
        /// Their names
        #[arg(required = true)]
        networks: Vec<String>,
    },
    /// Attach a running container to one more network
    Connect(Connect),
    /// Detach a running container from a network
    Disconnect {
        /// The network
        network: String,
        /// The container
        container: String,
    },
    /// Remove all networks that no container is on
    Prune {
        /// Don't ask (nothing is asked anyway)
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// Its name
    name: Name,
    /// What it is made of
    #[arg(short, long, value_enum, default_value = "bridge")]
    driver: Kind,
    /// A subnet, at most one for IPv4 and one for IPv6; by default a free one
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<IpNetwork>,
    /// The gateway of a subnet; by default its first address
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,
    /// The part of a subnet from which containers get addresses
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<IpNetwork>,
    /// IPv6 too
    #[arg(long)]
    ipv6: bool,
    /// No way out and none in: no default route, no masquerading, and nothing forwarded to or from its bridge
    #[arg(long)]
    internal: bool,
    /// An option of the driver, such as mtu=1400, bridge=NAME, isolate=true, parent=LINK
    #[arg(short, long = "opt", value_name = "KEY=VALUE", value_parser = pair)]
    option: Vec<(String, String)>,
    /// A label
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Bridge,
    Macvlan,
    Ipvlan,
}

#[derive(Debug, Args)]
struct Connect {
    /// The network
    network: String,
    /// The container
    container: String,
    /// The IPv4 address there
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// The IPv6 address there
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// The hardware address there
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<Mac>,
    /// Another name there
    #[arg(long, value_name = "NAME")]
    alias: Vec<Hostname>,
}

impl Network {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = || Store::open(dirs);
        if let Some(name) = self.making() {
            rootless::network::refuse(&format!("network {name}"))?;
        }
        match &self.command {
            Command::Ls(ls) => ls.run(dirs),
            Command::Inspect(inspect) => inspect.run(dirs),
            Command::Create(create) => create.run(dirs),
            Command::Connect(connect) => connect.run(&store()?, dirs),
            Command::Disconnect { network, container } => {
                link::disconnect(&store()?, dirs, container, network).map(|()| 0)
            }
            Command::Rm { networks } => rm(networks, &store()?, dirs),
            Command::Prune { .. } => {
                remove::prune(&store()?, dirs)?.iter().for_each(|name| println!("{name}"));
                Ok(0)
            }
        }
    }
}

impl Network {
    /// The command's name, if it makes or changes something of the host's.
    fn making(&self) -> Option<&'static str> {
        match &self.command {
            Command::Create(_) => Some("create"),
            Command::Connect(_) => Some("connect"),
            Command::Disconnect { .. } => Some("disconnect"),
            _ => None,
        }
    }
}

fn rm(networks: &[String], store: &Store, dirs: &Dirs) -> Result<u8> {
    let mut failed = false;
    for name in networks {
        match remove::remove(name, store, dirs) {
            Ok(()) => println!("{name}"),
            Err(error) => {
                failed = true;
                complain(&error);
            }
        }
    }
    Ok(u8::from(failed))
}

impl Create {
    fn run(&self, dirs: &Dirs) -> Result<u8> {
        let creation = Creation {
            name: self.name.clone(),
            driver: match self.driver {
                Kind::Bridge => Driver::Bridge,
                Kind::Macvlan => Driver::Macvlan,
                Kind::Ipvlan => Driver::Ipvlan,
            },
            subnets: self.subnet.clone(),
            gateways: self.gateway.clone(),
            ip_ranges: self.ip_range.clone(),
            ipv6: self.ipv6 || self.subnet.iter().any(IpNetwork::is_ipv6),
            internal: self.internal,
            options: self.option.iter().cloned().collect::<BTreeMap<_, _>>(),
            labels: self.label.iter().cloned().collect(),
        };
        creation.carry_out(dirs)?;
        println!("{}", self.name);
        Ok(0)
    }
}

impl Connect {
    fn run(&self, store: &Store, dirs: &Dirs) -> Result<u8> {
        let wishes = Wishes {
            addresses: self.ip.map(IpAddr::V4).into_iter().chain(self.ip6.map(IpAddr::V6)).collect(),
            mac: self.mac_address,
            ports: Vec::new(),
            aliases: self.alias.iter().map(|alias| alias.as_str().to_owned()).collect(),
        };
        link::connect(store, dirs, &self.container, &self.network, &wishes).map(|_| 0)
    }
}

fn pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some(("", _)) => Err(Error::new(format!("{text:?} has no key"))),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Ok((text.to_owned(), String::new())),
    }
}
