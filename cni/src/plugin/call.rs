//! What every verb gets: the configuration and the surroundings of the call.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::decode;
use crate::error::Error;
use crate::exec;
use crate::name::NetName;
use crate::plugin::config::Config;
use crate::plugin::{Stderr, ValidAttachments};
use crate::result::AddResult;
use crate::version::Version;

/// One call of a plugin.
#[derive(Clone, Debug)]
pub struct Call {
    /// The configuration, byte for byte as it came: delegates get it unchanged.
    pub stdin: Vec<u8>,
    /// The network's name.
    pub name: NetName,
    /// The configuration's version.
    pub version: Version,
    /// Where delegates are searched: `CNI_PATH`.
    pub path: Vec<PathBuf>,
    /// The complete environment, without repetitions: delegates get it with another `CNI_COMMAND`.
    pub env: Vec<(OsString, OsString)>,
    /// Starts delegates, in the place of [`exec::begin`].
    pub(crate) start: Option<exec::Start>,
    document: Value,
    stderr: Stderr,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delegating {
    ipam: Ipam,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Chained {
    cni_version: String,
    prev_result: Option<Map<String, Value>>,
}

impl Call {
    /// A call with this configuration and environment, as [`run`](crate::plugin::run) makes it: for tests of what is behind
    /// a plugin's methods.
    pub fn new(stdin: Vec<u8>, env: Vec<(OsString, OsString)>, stderr: Stderr) -> Result<Call, Error> {
        let config = Config::read(stdin)?;
        let stated = config.stated_version()?;
        let version = if stated.is_empty() { Version::V0_1_0 } else { stated.parse()? };
        Ok(Call::from_config(config, version, env, (stderr, None)))
    }

    pub(super) fn from_config(
        config: Config,
        version: Version,
        mut env: Vec<(OsString, OsString)>,
        (stderr, start): (Stderr, Option<exec::Start>),
    ) -> Call {
        let Config { stdin, document, name } = config;
        // Of several variables of one name a process sees the first.
        let mut seen = HashSet::new();
        env.retain(|(name, _)| seen.insert(name.clone()));
        let path = env.iter().find(|(name, _)| name == "CNI_PATH");
        let path = path.map(|(_, path)| std::env::split_paths(path).collect()).unwrap_or_default();
        Call { stdin, name, version, path, env, start, document, stderr }
    }

    /// The configuration as the plugin's own type, with the rules of [`decode`]. The error says where and why; the plugin
    /// puts in front what it was about to do.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(decode::from_value(&self.document)?)
    }

    /// The type of the IPAM plugin in the configuration's `ipam`; empty when there is none.
    pub fn ipam_type(&self) -> Result<String, Error> {
        Ok(self.config::<Delegating>()?.ipam.kind)
    }

    /// The result of the plugin before this one (ADD), or of the whole list (DEL, CHECK); none when the configuration has
    /// none. It must be of the configuration's result format: one of another is refused rather than converted.
    pub fn prev_result(&self) -> Result<Option<AddResult>, Error> {
        let Chained { cni_version, prev_result } = self.config()?;
        let Some(mut document) = prev_result else { return Ok(None) };
        state_version(&mut document, cni_version);
        let result = AddResult::parse(&Value::Object(document), self.version);
        result.map(Some).map_err(|error| error.context("could not parse prevResult"))
    }

    pub(super) fn valid_attachments(&self) -> Result<ValidAttachments, Error> {
        ValidAttachments::from_config(&self.document)
    }

    /// An environment variable.
    pub fn env(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let name = name.as_ref();
        self.env.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_os_str())
    }

    /// Tells people something that is no error: one line on stderr.
    pub fn warn(&self, line: impl fmt::Display) {
        self.stderr.line(line);
    }

    /// Where messages for people go.
    pub fn stderr(&self) -> &Stderr {
        &self.stderr
    }
}

/// Gives a result the version that its reader goes by. A result may leave its version out, and then has the
/// configuration's; one that states it is taken at its word. Which of several spellings of the key counts is the outcome of
/// how the existing plugins decode: they add `CNIVersion` when it is missing or empty, sort the keys and let the last win.
fn state_version(document: &mut Map<String, Value>, config_version: String) {
    if document.get("CNIVersion").is_none_or(|stated| stated == "") {
        document.insert("CNIVersion".to_owned(), config_version.into());
    }
    let deciding = document.iter().filter(|(key, value)| is_version(key) && !value.is_null());
    let deciding = deciding.max_by_key(|(key, _)| key.as_str()).map(|(_, value)| value.clone());
    document.retain(|key, _| !is_version(key));
    document.extend(deciding.map(|version| ("cniVersion".to_owned(), version)));
}

fn is_version(key: &str) -> bool {
    key.eq_ignore_ascii_case("cniVersion")
}
