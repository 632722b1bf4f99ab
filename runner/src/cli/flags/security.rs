//! Options about what a container is kept from.

use std::path::PathBuf;

use clap::Args;

use crate::cgroup::{self, devices};
use crate::error::{Error, Result};
use crate::seccomp;
use crate::spec::{
    Capabilities, Capability, CapabilitySet, NamespaceMode, Namespaces, NetMode, Seccomp, Security, Sysctl,
    SysctlScope, default_set,
};
use crate::sys::caps;

/// The walls of the container.
#[derive(Debug, Args)]
#[command(next_help_heading = "Security")]
pub(in crate::cli) struct SecurityFlags {
    /// Keep all capabilities, filter no system calls, and mask nothing
    #[arg(long)]
    pub(super) privileged: bool,
    /// Give a capability, such as NET_ADMIN, or ALL
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    cap_drop: Vec<String>,
    /// seccomp=FILE.json or =unconfined, no-new-privileges=false, systempaths=unconfined, mask=PATHS, unmask=PATHS
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<SecurityOption>,
    /// Set a kernel setting of the container's own namespaces
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<Sysctl>,
    /// Refuse user namespaces inside the container
    #[arg(long)]
    disable_userns: bool,
}

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SecurityOption {
    Seccomp(Option<PathBuf>),
    SeccompDefault,
    NoNewPrivileges(bool),
    SystemPathsUnconfined,
    Mask(Vec<PathBuf>),
    Unmask(Vec<PathBuf>),
    UnmaskAll,
    /// About a security module that this host may not have.
    Label,
}

impl std::str::FromStr for SecurityOption {
    type Err = Error;

    /// The separator is `=`, and for the sake of old scripts `:`.
    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        let invalid = || Error::new(format!("unknown security option {text:?}; see xnet run --help"));
        let paths = || -> Result<Vec<PathBuf>> {
            let absolute = |path: &str| {
                let path = PathBuf::from(path);
                let plain = path.is_absolute() && !path.components().any(|c| c == std::path::Component::ParentDir);
                plain.then_some(path).ok_or_else(|| Error::new(format!("{text:?}: expected absolute paths")))
            };
            value.split(':').map(absolute).collect()
        };
        match (key, value) {
            ("seccomp", "unconfined") => Ok(Self::Seccomp(None)),
            ("seccomp", "builtin" | "default") => Ok(Self::SeccompDefault),
            ("seccomp", path) if !path.is_empty() => Ok(Self::Seccomp(Some(path.into()))),
            ("no-new-privileges", "" | "true") => Ok(Self::NoNewPrivileges(true)),
            ("no-new-privileges", "false") => Ok(Self::NoNewPrivileges(false)),
            ("systempaths", "unconfined") => Ok(Self::SystemPathsUnconfined),
            ("mask", _) => paths().map(Self::Mask),
            ("unmask", "ALL" | "all") => Ok(Self::UnmaskAll),
            ("unmask", _) => paths().map(Self::Unmask),
            ("label", value) if !value.is_empty() => Ok(Self::Label),
            ("apparmor", "unconfined") => Ok(Self::Label),
            ("apparmor", profile) if !profile.is_empty() => Err(Error::new(format!(
                "AppArmor profile {profile:?}: profiles are not supported; only apparmor=unconfined is"
            ))),
            _ => Err(invalid()),
        }
    }
}

impl SecurityFlags {
    /// The five sets that the flags mean.
    pub(super) fn capabilities(&self) -> Result<Capabilities> {
        let base = match self.privileged {
            true => CapabilitySet::ALL,
            false => default_set(devices::can_guard(&cgroup::of_host()?)),
        };
        let capabilities = Capabilities::from_flags(base, &self.cap_add, &self.cap_drop)?;
        for name in self.cap_add.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")) {
            let capability: Capability = name.parse()?;
            if !caps::in_bounding(capability.number()) {
                return Err(Error::new(format!(
                    "--cap-add {name}: {capability} is not in the bounding set of xnet itself, so it cannot be given"
                )));
            }
        }
        Ok(capabilities)
    }

    /// On unless switched off, except for containers that are privileged.
    pub(super) fn no_new_privileges(&self) -> bool {
        let said = self.security_opt.iter().rev().find_map(|option| match option {
            SecurityOption::NoNewPrivileges(value) => Some(*value),
            _ => None,
        });
        said.unwrap_or(!self.privileged)
    }

    /// The walls that the flags mean, in a container with this network and these namespaces.
    pub(in crate::cli) fn security(&self, net: &NetMode, namespaces: &Namespaces) -> Result<Security> {
        let mut security = if self.privileged { Security::privileged() } else { Security::confined() };
        for option in &self.security_opt {
            match option {
                SecurityOption::Seccomp(None) => security.seccomp = Seccomp::Unconfined,
                SecurityOption::Seccomp(Some(path)) => security.seccomp = Seccomp::Profile(seccomp::load(path)?),
                SecurityOption::SeccompDefault => security.seccomp = Seccomp::Default,
                SecurityOption::SystemPathsUnconfined | SecurityOption::UnmaskAll => {
                    (security.masked, security.read_only) = (Vec::new(), Vec::new());
                }
                SecurityOption::Mask(paths) => security.masked.extend(paths.iter().cloned()),
                SecurityOption::Unmask(paths) => {
                    security.masked.retain(|path| !paths.contains(path));
                    security.read_only.retain(|path| !paths.contains(path));
                }
                SecurityOption::NoNewPrivileges(_) | SecurityOption::Label => {}
            }
        }
        for sysctl in &self.sysctl {
            check_scope(sysctl, net, namespaces)?;
        }
        security.sysctls.clone_from(&self.sysctl);
        security.user_namespaces = !self.disable_userns;
        Ok(security)
    }
}

/// A setting may only be made where it is the container's alone.
fn check_scope(sysctl: &Sysctl, net: &NetMode, namespaces: &Namespaces) -> Result<()> {
    let (private, flag) = match sysctl.scope() {
        SysctlScope::Net => (net.is_private(), "--net"),
        SysctlScope::Ipc => (namespaces.ipc == NamespaceMode::Private, "--ipc"),
        SysctlScope::Uts => (namespaces.uts == NamespaceMode::Private, "--uts"),
    };
    match private {
        true => Ok(()),
        false => Err(Error::new(format!(
            "--sysctl {}: the container shares this setting with others by its {flag}, and may not change it",
            sysctl.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let option = |text: &str| text.parse::<SecurityOption>();
        assert_eq!(option("seccomp=unconfined").unwrap(), SecurityOption::Seccomp(None));
        assert_eq!(option("seccomp:/p.json").unwrap(), SecurityOption::Seccomp(Some("/p.json".into())));
        assert_eq!(option("no-new-privileges").unwrap(), SecurityOption::NoNewPrivileges(true));
        assert_eq!(option("no-new-privileges:false").unwrap(), SecurityOption::NoNewPrivileges(false));
        assert_eq!(option("mask=/a:/b").unwrap(), SecurityOption::Mask(vec!["/a".into(), "/b".into()]));
        let bad = [
            "",
            "seccomp",
            "seccomp=",
            "no-new-privileges=x",
            "systempaths=x",
            "mask=a",
            "mask=/a/../b",
            "apparmor=x",
            "x=y",
        ];
        for bad in bad {
            assert!(option(bad).is_err(), "{bad:?}");
        }
    }
}
