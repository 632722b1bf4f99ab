//! `xnet netns`.

mod exec;
mod ls;

use std::fs;
use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnetwork::{IpNetwork, Ipv4Network};

use crate::error::{Context, Error, Result};
use crate::net::pin;
use crate::netns::scan::Scan;
use crate::netns::target::Target;
use crate::netns::wire::{self, Addresses};
use crate::rootless;
use crate::spec::Dirs;
use crate::state::Store;

/// Network namespaces, of containers and all others.
#[derive(Debug, Args)]
pub(super) struct Netns {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every network namespace of this machine, and names that lead to none
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    /// Run a command of the host in a network namespace
    Exec(exec::Exec),
    /// Connect a namespace with a bridge of the host, by a veth pair
    Attach(Attach),
    /// Connect two namespaces with each other, by a veth pair
    Connect(Connect),
    /// Make a veth pair, with one end in each of two namespaces
    Pair(Pair),
    /// Remove names of containers that are gone
    Prune,
}

#[derive(Debug, Args)]
struct Attach {
    /// host, a container, a process number, a path, or a name
    target: String,
    /// The bridge
    #[arg(long, value_name = "NAME", default_value = "xnet0")]
    bridge: String,
    /// The address inside, with its prefix length; without it the link is only set up
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    ip: Option<IpNetwork>,
    /// The way out; by default the bridge's address in the same network
    #[arg(long, value_name = "ADDRESS", requires = "ip")]
    gateway: Option<IpAddr>,
    /// The link's name inside; by default the first free one of eth0, eth1, ...
    #[arg(long, value_name = "NAME")]
    ifname: Option<String>,
    /// Print the equivalent `ip` commands
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Args)]
struct Connect {
    /// One namespace, as for attach
    a: String,
    /// The other
    b: String,
    /// The network of the two ends; by default a free one of 169.254.0.0/16
    #[arg(long, value_name = "CIDR")]
    subnet: Option<Ipv4Network>,
    /// Print the equivalent `ip` commands
    #[arg(long)]
    explain: bool,
}

#[derive(Debug, Args)]
struct Pair {
    /// Where the first end is, as for attach
    a: String,
    /// Where the second end is; it may be the same namespace
    b: String,
    /// What the two ends are called; by default the first free ones of veth0, veth1, ...
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', num_args = 1)]
    names: Vec<String>,
    /// Give them the first two addresses of this network; without it they are links only
    #[arg(long, value_name = "CIDR")]
    subnet: Option<Ipv4Network>,
    /// Print the equivalent `ip` commands instead of the two ends
    #[arg(long)]
    explain: bool,
}

impl Netns {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = Store::open(dirs)?;
        match &self.command {
            Command::Ls(ls) => ls.run(&store, dirs),
            Command::Exec(exec) => exec.run(&store, dirs),
            Command::Attach(attach) => attach.run(&store, dirs),
            Command::Connect(connect) => connect.run(&store, dirs),
            Command::Pair(pair) => pair.run(&store, dirs),
            Command::Prune => prune(&store, dirs),
        }
    }
}

impl Attach {
    fn run(&self, store: &Store, dirs: &Dirs) -> Result<u8> {
        rootless::network::refuse("netns attach")?;
        let target = Target::find(&self.target, store, dirs)?;
        let asked = wire::Attach {
            bridge: &self.bridge,
            address: self.ip,
            gateway: self.gateway,
            ifname: self.ifname.as_deref(),
        };
        let steps = wire::attach(&target, &asked).context(|| format!("attach {} to {}", target.title, self.bridge))?;
        print(&steps, self.explain);
        Ok(0)
    }
}

impl Connect {
    fn run(&self, store: &Store, dirs: &Dirs) -> Result<u8> {
        let (a, b) = (Target::find(&self.a, store, dirs)?, Target::find(&self.b, store, dirs)?);
        let made = wire::connect(&a, &b, self.subnet).context(|| format!("connect {} with {}", a.title, b.title))?;
        print(&made.steps, self.explain);
        Ok(0)
    }
}

impl Pair {
    fn run(&self, store: &Store, dirs: &Dirs) -> Result<u8> {
        let names = match self.names.as_slice() {
            [] => [None, None],
            [a, b] => [Some(a.as_str()), Some(b.as_str())],
            _ => return Err(Error::new("--names: a pair has two ends, so two names are expected: A,B")),
        };
        let (a, b) = (Target::find(&self.a, store, dirs)?, Target::find(&self.b, store, dirs)?);
        let addresses = self.subnet.map_or(Addresses::None, Addresses::Of);
        let made = wire::pair(&a, &b, &wire::Pair { names, prefix: "veth", addresses });
        let made = made.context(|| format!("make a pair between {} and {}", a.title, b.title))?;
        match self.explain {
            true => print(&made.steps, true),
            false => println!("{}:{} {}:{}", a.title, made.ends[0], b.title, made.ends[1]),
        }
        Ok(0)
    }
}

fn print(steps: &[String], explain: bool) {
    if explain {
        steps.iter().for_each(|step| println!("{step}"));
    }
}

/// Only what has the form of our own names. What others have left is theirs to remove; `ls` shows it.
fn prune(store: &Store, dirs: &Dirs) -> Result<u8> {
    for stale in Scan::take(store, dirs)?.stale {
        if !stale.is_ours {
            continue;
        }
        if stale.path.is_symlink() {
            fs::remove_file(&stale.path).context(|| format!("remove {}", stale.path.display()))?;
        } else {
            pin::release(&stale.path)?;
        }
        println!("{}", stale.path.display());
    }
    Ok(0)
}
