//! Options about how a container is connected.

use std::env;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::rootless;
use crate::spec::{Dns, Domain, Expose, ExtraHost, Hostname, Mac, Net, NetDevice, NetMode, Publish};

/// The network and the names.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::cli) struct NetFlags {
    /// bridge (the default), host, none, container:NAME, ns:PATH, or the name of a network; several for several networks;
    /// without root pasta or slirp4netns, by default the one that is installed
    #[arg(long, alias = "network", value_name = "MODE")]
    net: Vec<NetMode>,
    /// The host name inside; by default the first twelve digits of the id
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) hostname: Option<Hostname>,
    /// The domain name inside
    #[arg(long, value_name = "NAME")]
    domainname: Option<Domain>,
    /// Publish a port: [[HOST-IP:][HOST-PORT]:]PORT[/udp|/sctp], ranges with a dash
    #[arg(short, long, value_name = "PORTS")]
    publish: Vec<String>,
    /// Publish every exposed port at a free port of the host
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Expose a port, for --publish-all
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    expose: Vec<String>,
    /// The IPv4 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// The IPv6 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// The hardware address on the first network
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<Mac>,
    /// Another name by which containers on the same networks find this one
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<Hostname>,
    /// A DNS server
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// A domain to complete names with; a single dot for none
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// An option of the resolver, such as ndots:2
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// A line of /etc/hosts: NAME:ADDRESS, where the address may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<ExtraHost>,
    /// A network device of the host that moves into the container, and back at its end
    #[arg(long, value_name = "DEVICE[:NAME]")]
    netdev: Vec<NetDevice>,
    /// A file with the list of CNI plugins that wires the container, in the place of a network's name
    #[arg(long, value_name = "FILE.conflist")]
    conf: Option<PathBuf>,
    /// Where the plugins are, separated by colons; by default they are inside xnet
    #[arg(long, value_name = "DIRS", env = "XNET_CNI_PATH")]
    cni_path: Option<OsString>,
}

impl NetFlags {
    /// What was asked for, and what of it will be ignored.
    ///
    /// # Errors
    /// An option is malformed, or means nothing in this mode.
    pub(in crate::cli) fn net(&self) -> Result<(Net, Vec<Error>)> {
        let (mode, missing) = match rootless::network::default().filter(|_| self.net.is_empty() && self.conf.is_none())
        {
            Some(found) => found,
            None => (NetMode::together(&self.net)?, None),
        };
        rootless::network::check(&mode)?;
        if let Some(why) = missing.as_ref().filter(|_| self.publish_all || !self.publish.is_empty()) {
            return Err(Error::new(format!("--publish: {}", why.message)));
        }
        let missing =
            missing.map(|why| Error::new(format!("the container has no network (--net none): {}", why.message)));
        if !self.netdev.is_empty() {
            rootless::network::refuse("--netdev")?;
        }
        self.refuse_contradictions(&mode)?;
        let mut publish = Vec::new();
        for text in &self.publish {
            publish.extend(Publish::parse(text)?);
        }
        let mut exposed = Vec::new();
        for text in &self.expose {
            exposed.extend(Expose::parse(text)?);
        }
        for word in self.dns_search.iter().chain(&self.dns_option) {
            if word.is_empty() || word.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#') {
                return Err(Error::new(format!("invalid DNS setting {word:?}: it is one word of resolv.conf")));
            }
        }
        let publishes = matches!(mode, NetMode::Networks(_) | NetMode::Carried(_));
        let ignored = (!publishes && (self.publish_all || !publish.is_empty())).then(|| {
            publish.clear();
            Error::new(format!("published ports are discarded: --net {mode} has none to publish"))
        });
        let addresses = self.ip.map(IpAddr::V4).into_iter().chain(self.ip6.map(IpAddr::V6)).collect();
        let net = Net {
            publish_all: self.publish_all && ignored.is_none(),
            publish,
            exposed,
            hostname: self.hostname.clone(),
            domainname: self.domainname.clone(),
            addresses,
            mac: self.mac_address,
            aliases: self.network_alias.clone(),
            dns: Dns { servers: self.dns.clone(), search: self.dns_search.clone(), options: self.dns_option.clone() },
            extra_hosts: self.add_host.clone(),
            devices: self.netdev.clone(),
            conf: self.conf.as_ref().map(std::path::absolute).transpose().map_err(|e| Error::new(e.to_string()))?,
            plugin_path: self.cni_path.as_deref().map(|dirs| env::split_paths(dirs).collect()).unwrap_or_default(),
            mode,
        };
        Ok((net, missing.into_iter().chain(ignored).collect()))
    }

    /// Names every option that can't be used in this mode, and why.
    fn refuse_contradictions(&self, mode: &NetMode) -> Result<()> {
        let attachment = [
            ("--ip", self.ip.is_some()),
            ("--ip6", self.ip6.is_some()),
            ("--mac-address", self.mac_address.is_some()),
            ("--network-alias", !self.network_alias.is_empty()),
            ("--conf", self.conf.is_some()),
        ];
        let others = [
            ("--hostname", self.hostname.is_some()),
            ("--domainname", self.domainname.is_some()),
            ("--publish", !self.publish.is_empty()),
            ("--publish-all", self.publish_all),
            ("--expose", !self.expose.is_empty()),
            ("--dns", !self.dns.is_empty()),
            ("--dns-search", !self.dns_search.is_empty()),
            ("--dns-option", !self.dns_option.is_empty()),
            ("--add-host", !self.add_host.is_empty()),
        ];
        if !self.netdev.is_empty() && !mode.is_private() {
            return Err(Error::new(format!(
                "--netdev cannot be used with --net {mode}, which gives the container no network of its own"
            )));
        }
        let (refused, why): (Vec<_>, _) = match mode {
            NetMode::Networks(names) if names.len() == 1 && names.iter().all(|name| name.as_str() == "bridge") => {
                return Ok(());
            }
            NetMode::Networks(_) => {
                (attachment.into_iter().filter(|(flag, _)| *flag == "--conf").collect(), "which names its network")
            }
            NetMode::Container(_) => {
                (others.into_iter().chain(attachment).collect(), "which shares the other's network and names")
            }
            NetMode::Host | NetMode::None => (attachment.to_vec(), "which attaches the container to no network"),
            NetMode::Carried(_) => (attachment.to_vec(), "which gives the addresses itself"),
            NetMode::Namespace(_) => (attachment.to_vec(), "which takes the namespace as it is"),
        };
        let refused: Vec<&str> = refused.iter().filter(|(_, given)| *given).map(|(flag, _)| *flag).collect();
        if refused.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!("{} cannot be used with --net {mode}, {why}", refused.join(", "))))
    }
}
