//! The filter of system calls.
//!
//! A container needs few of the kernel's calls, and what it does not need is where the kernel's errors are found. The
//! default profile (`runner/seccomp/default.json`, which is also a good start for one's own) allows what ordinary programs
//! use and answers `EPERM` to the rest; what only makes sense with a capability comes with it.
//!
//! Its program for the usual capabilities is made when xnet is built, so that it costs a container what the kernel
//! needs to take it in, about a quarter of a millisecond. For other capabilities, and for other profiles, the same compiler runs at start.
//!
//! The filter is installed in the last moment, between the word to the parent and `execve`, so a profile needs
//! to allow nothing for xnet's own sake. Only when the command may gain privileges by `execve` the kernel asks for
//! `CAP_SYS_ADMIN` at that moment; then it is installed just before the capabilities go.

mod bpf;
mod install;
mod profile;
mod table;

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::spec::{CapabilitySet, Seccomp, Security};

pub(crate) use bpf::Instruction;
use profile::Facts;
pub use profile::Profile;

pub(crate) use install::install;

/// The text of the default profile.
const DEFAULT: &str = include_str!("../../seccomp/default.json");

/// A program that is ready to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(Cow<'static, [Instruction]>);

impl Filter {
    /// The instructions.
    pub(crate) fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

/// The filters for a container with these capabilities, in the order in which they are to be installed.
pub(crate) fn filters(security: &Security, bounding: CapabilitySet) -> Result<Vec<Filter>> {
    let held: Vec<String> = bounding.into();
    let held: Vec<&str> = held.iter().map(String::as_str).collect();
    let mut filters = match &security.seccomp {
        Seccomp::Unconfined => Vec::new(),
        Seccomp::Default if is_usual(&held) => vec![Filter(Cow::Borrowed(table::PROGRAM))],
        Seccomp::Default => {
            let profile = serde_json::from_str(DEFAULT).context(|| "read the built-in seccomp profile")?;
            vec![compile(&profile, &held)?]
        }
        Seccomp::Profile(profile) => vec![compile(profile, &held)?],
    };
    if !security.user_namespaces {
        let profile = serde_json::from_str(NO_USER_NAMESPACES).context(|| "read a built-in seccomp profile")?;
        filters.push(compile(&profile, &held)?);
    }
    Ok(filters)
}

/// No new user namespaces, whatever else is allowed, and no way to take this back.
const NO_USER_NAMESPACES: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["clone", "unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
         "args": [{"index": 0, "value": 268435456, "valueTwo": 268435456, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    ]
}"#;

/// Whether the default program was made for just these, as far as its profile asks.
fn is_usual(held: &[&str]) -> bool {
    table::ASKED.iter().all(|cap| held.contains(cap) == table::HELD.contains(cap))
}

/// Compiles `profile` for a container that holds these capabilities.
fn compile(profile: &Profile, held: &[&str]) -> Result<Filter> {
    let release = nix::sys::utsname::uname().context(|| "ask for the kernel's version")?;
    let kernel = release.release().to_str().and_then(profile::parse_version).unwrap_or((0, 0));
    let facts = Facts { capabilities: held, kernel };
    let decided = table::FAMILIES.iter().map(|numbers| profile.decide(&facts, numbers));
    let decided =
        decided.collect::<Result<Vec<_>, _>>().map_err(|why| Error::new(format!("seccomp profile: {why}")))?;
    let program = bpf::compile(&decided);
    if program.len() > bpf::LONGEST {
        return Err(Error::new(format!(
            "seccomp profile: it needs {} instructions, and the kernel takes {}",
            program.len(),
            bpf::LONGEST
        )));
    }
    Ok(Filter(Cow::Owned(program)))
}

/// Reads a profile of the user's and makes sure that it can be compiled.
pub(crate) fn load(path: &Path) -> Result<Profile> {
    let what = || format!("the seccomp profile {}", path.display());
    let text = std::fs::read(path).context(what)?;
    if text.len() > LARGEST {
        return Err(Error::new(format!("{} is larger than 1 MiB", what())));
    }
    let profile: Profile = serde_json::from_slice(&text).context(what)?;
    compile(&profile, &[]).map_err(|error| Error::new(format!("{}: {}", path.display(), error.message)))?;
    Ok(profile)
}

/// The profile that a JSON value is, if it can be compiled.
pub(crate) fn profile(value: serde_json::Value) -> Result<Profile> {
    let profile: Profile = serde_json::from_value(value).context(|| "read it")?;
    compile(&profile, &[]).map(|_| profile)
}

/// A bound for profiles; real ones have some 20 KiB.
const LARGEST: usize = 1 << 20;

#[cfg(test)]
mod tests;
