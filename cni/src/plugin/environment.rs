//! The `CNI_*` variables: which verb needs which, and what they must look like.

use std::ffi::{OsStr, OsString};
use std::fmt;

use crate::error::{Code, Error};
use crate::name::{ContainerId, IfName};
use crate::plugin::Attachment;
use crate::version::Version;

/// What a plugin can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Remove an attachment.
    Del,
    /// Say whether an attachment is as it should be.
    Check,
    /// Remove what no valid attachment owns.
    Gc,
    /// Say whether ADD can be served.
    Status,
    /// List the supported versions.
    Version,
}

use Verb::{Add, Check, Del, Gc, Status};

impl Verb {
    /// Every verb.
    pub const ALL: &'static [Verb] = &[Add, Del, Check, Gc, Status, Verb::Version];

    /// As `CNI_COMMAND` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Add => "ADD",
            Del => "DEL",
            Check => "CHECK",
            Gc => "GC",
            Status => "STATUS",
            Verb::Version => "VERSION",
        }
    }

    /// The version that brought the verb, for those that a configuration may be too old for.
    pub(super) const fn minimum(self) -> Option<Version> {
        match self {
            Check => Some(Version::V0_4_0),
            Gc | Status => Some(Version::V1_1_0),
            Add | Del | Verb::Version => None,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

const COMMAND: &str = "CNI_COMMAND";
const CONTAINER_ID: &str = "CNI_CONTAINERID";
const NETNS: &str = "CNI_NETNS";
const IFNAME: &str = "CNI_IFNAME";
const ARGS: &str = "CNI_ARGS";
const PATH: &str = "CNI_PATH";
const NETNS_OVERRIDE: &str = "CNI_NETNS_OVERRIDE";

struct Variable {
    name: &'static str,
    required: &'static [Verb],
    /// Applies where the variable is required and not empty.
    validate: fn(&OsStr) -> Result<(), Error>,
}

/// In the order in which missing ones are reported.
const TABLE: [Variable; 5] = [
    Variable { name: COMMAND, required: Verb::ALL, validate: anything },
    Variable { name: CONTAINER_ID, required: &[Add, Check, Del], validate: container_id },
    Variable { name: NETNS, required: &[Add, Check], validate: anything },
    Variable { name: IFNAME, required: &[Add, Check, Del], validate: ifname },
    Variable { name: PATH, required: &[Add, Check, Del, Gc, Status], validate: anything },
];

fn anything(_: &OsStr) -> Result<(), Error> {
    Ok(())
}

fn container_id(id: &OsStr) -> Result<(), Error> {
    id.to_string_lossy().parse().map(|_: ContainerId| ())
}

fn ifname(name: &OsStr) -> Result<(), Error> {
    name.to_string_lossy().parse().map(|_: IfName| ())
}

/// The variables of a call.
#[derive(Debug)]
pub(super) struct Environment<'a>(pub(super) &'a [(OsString, OsString)]);

/// What `CNI_COMMAND` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Nothing: a person has started the plugin.
    Missing,
    Known(Verb),
    Unknown(String),
}

impl<'a> Environment<'a> {
    /// A variable's value; a missing one is as good as an empty one.
    fn value(&self, name: &str) -> &'a OsStr {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_os_str()).unwrap_or_default()
    }

    fn text(&self, name: &str) -> Result<String, Error> {
        let value = self.value(name);
        value.to_str().map(str::to_owned).ok_or_else(|| {
            Error::new(Code::INVALID_ENVIRONMENT, format!("{name} is not valid UTF-8"))
                .with_details(value.to_string_lossy())
        })
    }

    pub(super) fn command(&self) -> Command {
        let command = self.value(COMMAND).to_string_lossy();
        match Verb::ALL.iter().find(|verb| verb.as_str() == command) {
            Some(verb) => Command::Known(*verb),
            None if command.is_empty() => Command::Missing,
            None => Command::Unknown(command.into_owned()),
        }
    }

    /// Everything that `verb` needs is there, and what is there is valid. An invalid variable is reported before missing
    /// ones; all missing ones are reported together.
    pub(super) fn check(&self, verb: Verb) -> Result<(), Error> {
        let mut missing = Vec::new();
        for variable in TABLE.iter().filter(|variable| variable.required.contains(&verb)) {
            match self.value(variable.name) {
                value if value.is_empty() => missing.push(variable.name),
                value => (variable.validate)(value)?,
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(",");
        Err(Error::new(Code::INVALID_ENVIRONMENT, format!("required env variables [{missing}] missing")))
    }

    pub(super) fn attachment(&self) -> Result<Attachment, Error> {
        Ok(Attachment {
            container_id: self.text(CONTAINER_ID)?.try_into()?,
            ifname: self.text(IFNAME)?.try_into()?,
            netns: self.text(NETNS)?,
            args: self.text(ARGS)?,
        })
    }

    /// Whether the caller insists on an attachment to the plugin's own namespace.
    pub(super) fn overrides_guard(&self) -> bool {
        let value = self.value(NETNS_OVERRIDE);
        value == "1" || value.eq_ignore_ascii_case("TRUE")
    }
}
