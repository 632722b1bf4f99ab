//! `xnet cni`: one operation of a list of plugins on one namespace, in the manner of cnitool, with its variables.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use cni::runtime::{ConfList, DEFAULT_TIMEOUT, Environment, Runtime, RuntimeConf, cache};
use sha2::{Digest, Sha512};

use crate::error::{Context, Error, Result};
use crate::rootless;
use crate::spec::Dirs;
use crate::state::Store;
use crate::suite;

/// What to do with which network in which namespace.
#[derive(Debug, Args)]
pub(super) struct Cni {
    /// The operation
    verb: Verb,
    /// A file, or the name of a network configured in NETCONFPATH
    #[arg(value_name = "CONFLIST")]
    network: String,
    /// The network namespace, such as /run/netns/NAME
    #[arg(value_name = "NETNS")]
    netns: PathBuf,
    /// The interface's name inside
    #[arg(short, long, value_name = "NAME", env = "CNI_IFNAME", default_value = "eth0")]
    ifname: String,
    /// Where networks are configured
    #[arg(long, value_name = "DIR", env = "NETCONFPATH", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,
    /// Where the plugins are, separated by colons; by default they are inside xnet
    #[arg(long, value_name = "DIRS", env = "CNI_PATH")]
    cni_path: Option<std::ffi::OsString>,
    /// Where results are remembered
    #[arg(long, value_name = "DIR", default_value = cache::DEFAULT_DIR)]
    cache_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verb {
    /// Attach the namespace, and print the result
    Add,
    /// Detach it
    Del,
    /// See whether it is still as it was attached
    Check,
    /// Detach everything that is on record for the network
    Gc,
    /// Ask whether the network could attach a container now
    Status,
}

impl Cni {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        rootless::network::refuse("cni")?;
        let list = self.list()?;
        let runtime = self.runtime(dirs)?;
        let conf = self.conf()?;
        match self.verb {
            Verb::Add => {
                let result = runtime.add(&list, &conf).context(|| "add")?;
                let version = list.version().parse().context(|| "the list's version")?;
                println!("{}", result.to_json(version).context(|| "the result")?);
            }
            Verb::Del => runtime.del(&list, &conf).context(|| "del")?,
            Verb::Check => runtime.check(&list, &conf).context(|| "check")?,
            Verb::Gc => runtime.gc(&list, None).context(|| "gc")?,
            Verb::Status => runtime.status(&list).context(|| "status")?,
        }
        Ok(0)
    }

    fn list(&self) -> Result<ConfList> {
        let file = Path::new(&self.network);
        if file.is_file() {
            return ConfList::from_file(file).context(|| format!("the network {}", file.display()));
        }
        ConfList::load(&self.conf_dir, &self.network).context(|| "look for the network")
    }

    fn runtime(&self, dirs: &Dirs) -> Result<Runtime> {
        let plugin_dirs = match &self.cni_path {
            Some(path) => env::split_paths(path).collect(),
            None => vec![suite::directory(&Store::open(dirs)?)?],
        };
        Ok(Runtime {
            plugin_dirs,
            cache_dir: self.cache_dir.clone(),
            timeout: DEFAULT_TIMEOUT,
            env: Environment::Inherit,
            start: suite::start,
        })
    }

    fn conf(&self) -> Result<RuntimeConf> {
        let netns = std::path::absolute(&self.netns).context(|| format!("{}", self.netns.display()))?;
        let netns = netns.to_string_lossy().into_owned();
        let capabilities = env::var("CAP_ARGS").unwrap_or_default();
        let capability_args = match capabilities.as_str() {
            "" => serde_json::Map::new(),
            text => serde_json::from_str(text).context(|| "CAP_ARGS")?,
        };
        Ok(RuntimeConf {
            container_id: container_id(&netns).parse().context(|| "the container's id")?,
            ifname: self.ifname.parse().context(|| "the interface's name")?,
            args: pairs(&env::var("CNI_ARGS").unwrap_or_default())?,
            netns,
            capability_args,
        })
    }
}

/// The id that stands for a namespace: the same that cnitool gives it, so that either can undo the other's work.
fn container_id(netns: &str) -> String {
    let digest = Sha512::digest(netns.as_bytes());
    digest.iter().take(10).fold(String::from("cnitool-"), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// `K=V;K=V`.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let pair = |pair: &str| match pair.split('=').collect::<Vec<_>>()[..] {
        [key, value] if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::new(format!("invalid CNI_ARGS pair {pair:?}"))),
    };
    text.split(';').filter(|_| !text.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_cnitools() {
        assert_eq!(container_id("/run/netns/c1"), "cnitool-20b4ff582526573bbe7d");
    }

    #[test]
    fn arguments_are_pairs() {
        assert_eq!(pairs("").unwrap(), []);
        assert_eq!(pairs("A=1;B=2").unwrap(), [("A".into(), "1".into()), ("B".into(), "2".into())]);
        for bad in ["foo", "=1", "A=", "A=1=2", "A=1;"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
    }
}
