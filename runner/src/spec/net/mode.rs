//! `--net`.

use std::path::PathBuf;
use std::str::FromStr;
use std::{env, fmt};

use nix::unistd::{AccessFlags, access};

use crate::error::{Error, Result};
use crate::id::Name;
use crate::written::written_as_text;

/// The network that needs no name.
const DEFAULT: &str = "bridge";

/// Which network a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetMode {
    /// A namespace of its own, wired by lists of CNI plugins; never empty, no name twice.
    Networks(Vec<Name>),
    /// The host's stack.
    Host,
    /// A namespace of its own in which only `lo` is up.
    None,
    /// The namespace of another container, by id, unique prefix of an id, or name.
    Container(Name),
    /// The namespace in a file, such as one of `/run/netns`.
    Namespace(PathBuf),
    /// A namespace of its own, and a program that carries what goes in and out: for those who may not make networks.
    Carried(Carrier),
}

/// A program that gives a network namespace a way out over its own, ordinary sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The container has the host's addresses.
    Pasta,
    /// The container is behind a router in 10.0.2.0/24.
    Slirp4netns,
}

impl Carrier {
    /// The program's file, if it is installed.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let name = self.to_string();
        env::split_paths(&path).map(|dir| dir.join(&name)).find(|file| access(file, AccessFlags::X_OK).is_ok())
    }

    /// The package that has it, in Debian.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::Pasta => "passt",
            Self::Slirp4netns => "slirp4netns",
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        })
    }
}

impl NetMode {
    /// The mode that several `--net` mean together; none at all means the default network.
    ///
    /// # Errors
    /// A mode that is not a network's name can't stand beside another.
    pub fn together(modes: &[Self]) -> Result<Self> {
        let mut names: Vec<Name> = Vec::new();
        for mode in modes {
            match mode {
                Self::Networks(more) => {
                    if let Some(twice) = more.iter().find(|name| names.contains(name)) {
                        return Err(Error::new(format!("--net {twice} is given twice")));
                    }
                    names.extend(more.iter().cloned());
                }
                only if modes.len() == 1 => return Ok(only.clone()),
                other => return Err(Error::new(format!("--net {other} cannot be combined with another network"))),
            }
        }
        if names.is_empty() { DEFAULT.parse() } else { Ok(Self::Networks(names)) }
    }

    /// Whether the container gets a network namespace of its own.
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Networks(_) | Self::None | Self::Carried(_))
    }

    /// The networks that the container is attached to.
    #[must_use]
    pub fn networks(&self) -> &[Name] {
        match self {
            Self::Networks(names) => names,
            _ => &[],
        }
    }
}

impl FromStr for NetMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "host" => return Ok(Self::Host),
            "none" => return Ok(Self::None),
            "pasta" => return Ok(Self::Carried(Carrier::Pasta)),
            "slirp4netns" => return Ok(Self::Carried(Carrier::Slirp4netns)),
            "default" => return Self::from_str(DEFAULT),
            _ => {}
        }
        if let Some(target) = text.strip_prefix("container:") {
            return Ok(Self::Container(target.parse()?));
        }
        if let Some(path) = text.strip_prefix("ns:") {
            return match PathBuf::from(path) {
                path if path.is_absolute() => Ok(Self::Namespace(path)),
                _ => Err(Error::new(format!("--net ns:{path}: the path of a namespace must be absolute"))),
            };
        }
        let names = text.split(',').map(str::parse).collect::<Result<Vec<Name>>>();
        let names = names.map_err(|_| {
            Error::new(format!(
                "unknown network mode {text:?}: expected bridge, host, none, container:NAME, ns:PATH, or a network's name"
            ))
        })?;
        match names.iter().find(|name| ["host", "none", "default", "pasta", "slirp4netns"].contains(&name.as_str())) {
            Some(mode) => Err(Error::new(format!("--net {mode} cannot be combined with another network"))),
            None => Ok(Self::Networks(names)),
        }
    }
}

impl fmt::Display for NetMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::None => f.write_str("none"),
            Self::Carried(carrier) => carrier.fmt(f),
            Self::Container(target) => write!(f, "container:{target}"),
            Self::Namespace(path) => write!(f, "ns:{}", path.display()),
            Self::Networks(names) => {
                let names: Vec<&str> = names.iter().map(Name::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

written_as_text!(NetMode);

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> NetMode {
        text.parse().unwrap()
    }

    #[test]
    fn network_modes_read_back_as_printed() {
        for text in ["bridge", "host", "none", "container:web", "ns:/run/netns/x", "front,back", "pasta", "slirp4netns"]
        {
            assert_eq!(mode(text).to_string(), text);
        }
        assert_eq!(mode("default"), mode("bridge"));
        for bad in ["container:", "container:../x", "ns:x", "", "a b", "../x", "a,host", "a,pasta"] {
            assert!(bad.parse::<NetMode>().is_err(), "{bad:?}");
        }
    }

    /// Requirement: NET-B, NET-X.
    #[test]
    fn several_networks_are_one_mode_and_others_stand_alone() {
        assert_eq!(NetMode::together(&[]).unwrap(), mode("bridge"));
        assert_eq!(NetMode::together(&[mode("a"), mode("b")]).unwrap(), mode("a,b"));
        assert_eq!(NetMode::together(&[mode("host")]).unwrap(), NetMode::Host);
        for bad in [["a", "host"], ["none", "a"], ["a", "a"], ["container:x", "a"]] {
            assert!(NetMode::together(&bad.map(mode)).is_err(), "{bad:?}");
        }
    }
}
