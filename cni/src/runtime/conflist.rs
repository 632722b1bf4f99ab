//! A network's configuration list, as text and as value.

use serde_json::{Map, Value};

use super::answer;
use super::config::PluginConf;
use super::json::{self, go_type};
use crate::quote::quote;
use crate::version::Number;
use crate::{Code, Error, NetName, Version, decode};

/// A network: an ordered list of plugins under one name and one version of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfList {
    name: String,
    version: String,
    disable_check: bool,
    disable_gc: bool,
    only_inlined: bool,
    plugins: Vec<PluginConf>,
    bytes: Vec<u8>,
}

impl ConfList {
    /// Reads a list from its text. The plugin folder is not consulted: that needs to know where the text came from, see
    /// [`ConfList::from_file`]. So the list may come out without a plugin.
    ///
    /// # Errors
    /// `error parsing configuration list: ...` or `failed to parse plugin config N: ...`, in libcni's words; code 6 for
    /// what is not JSON, 7 for what is not a list.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let members = members(bytes)?;
        let mut list = Self {
            name: string(&members, "name")?.ok_or_else(|| invalid("no name"))?,
            version: choose_version(&members)?,
            disable_check: flag(&members, "disableCheck")?,
            disable_gc: flag(&members, "disableGC")?,
            only_inlined: flag(&members, "loadOnlyInlinedPlugins")?,
            plugins: Vec::new(),
            bytes: bytes.to_vec(),
        };
        list.plugins = inlined(members.get("plugins"), list.only_inlined)?;
        Ok(list)
    }

    /// The list that holds one plugin configuration of the old kind (`*.conf`), with that file's name and version.
    ///
    /// # Errors
    /// As [`ConfList::from_slice`].
    pub fn from_single(conf: &PluginConf) -> Result<Self, Error> {
        let mut members = Map::new();
        members.insert("cniVersion".to_owned(), conf.version().into());
        members.insert("name".to_owned(), conf.name().into());
        members.insert("plugins".to_owned(), vec![Value::Object(conf.members().clone())].into());
        Self::from_slice(text(&members)?.as_bytes())
    }

    /// Puts the plugins of the network's folder after the inlined ones.
    ///
    /// From here on the list's bytes are not the file's any more, but those of a list with all its plugins inlined: the
    /// cache keeps them, and DEL must find there the very plugins that ADD ran, with the folder changed or gone.
    pub(super) fn append(&mut self, plugins: Vec<PluginConf>) -> Result<(), Error> {
        if plugins.is_empty() {
            return Ok(());
        }
        self.plugins.extend(plugins);
        let mut members = members(&self.bytes)?;
        let objects: Vec<Value> = self.plugins.iter().map(|plugin| Value::Object(plugin.members().clone())).collect();
        members.insert("plugins".to_owned(), objects.into());
        members.insert("loadOnlyInlinedPlugins".to_owned(), true.into());
        self.bytes = text(&members)?.into_bytes();
        Ok(())
    }

    /// The network's name as written. Only [`ConfList::network`] vouches for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network's name, fit to be part of a path.
    ///
    /// # Errors
    /// Code 7, `missing network name` or `invalid characters found in network name`.
    pub fn network(&self) -> Result<NetName, Error> {
        self.name.parse()
    }

    /// The protocol version chosen from `cniVersions` and `cniVersion`. Empty means 0.1.0; one that this library does
    /// not know is kept verbatim, for the plugins to refuse.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether CHECK is to succeed without asking a plugin.
    pub fn disable_check(&self) -> bool {
        self.disable_check
    }

    /// Whether GC is to succeed without asking a plugin: the switch for networks that several runtimes share.
    pub fn disable_gc(&self) -> bool {
        self.disable_gc
    }

    /// Whether the network's plugin folder is to be left alone.
    pub fn only_inlined(&self) -> bool {
        self.only_inlined
    }

    /// The plugins, in the order of ADD.
    pub fn plugins(&self) -> &[PluginConf] {
        &self.plugins
    }

    /// Whether there is anything to run and a name to run it under.
    pub(super) fn runnable(&self) -> Result<NetName, Error> {
        if self.plugins.is_empty() {
            return Err(Error::new(Code::INVALID_CONFIG, format!("network {} has no plugins", quote(&self.name))));
        }
        self.network()
    }

    /// What every plugin of the list is told of it.
    pub(super) fn identity(&self) -> Vec<(&'static str, Value)> {
        vec![("name", self.name.as_str().into()), ("cniVersion", self.version.as_str().into())]
    }

    /// The list as text: the file's bytes, or the generated list where no file holds it in one piece.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

const LIST: &str = "error parsing configuration list";

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(Code::INVALID_CONFIG, format!("{LIST}: {what}"))
}

fn members(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    match decode::document(bytes).map_err(|err| answer::undecodable(err).context(LIST))? {
        Value::Object(members) => Ok(members),
        Value::Null => Ok(Map::new()),
        other => Err(invalid(format_args!("a list is a JSON object, not {}", go_type(&other)))),
    }
}

fn text(members: &Map<String, Value>) -> Result<String, Error> {
    json::line(&json::sorted_map(members))
        .map_err(|err| Error::internal(format!("failed to write the configuration list: {err}")))
}

fn string(members: &Map<String, Value>, key: &str) -> Result<Option<String>, Error> {
    match members.get(key) {
        None => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(other) => Err(invalid(format_args!("invalid {key} type {}", go_type(other)))),
    }
}

fn flag(members: &Map<String, Value>, key: &str) -> Result<bool, Error> {
    match members.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) => match text.to_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(invalid(format_args!("invalid value {} for {key}", quote(other)))),
        },
        Some(other) => Err(invalid(format_args!("invalid type {} for {key}", go_type(other)))),
    }
}

/// The highest version that both the list offers and this library speaks; without `cniVersions`, or when nothing of it
/// is left, `cniVersion` as written.
fn choose_version(members: &Map<String, Value>) -> Result<String, Error> {
    let single = string(members, "cniVersion")?.unwrap_or_default();
    let Some(offered) = members.get("cniVersions") else {
        return Ok(single);
    };
    let Value::Array(offered) = offered else {
        return Err(invalid(format_args!("invalid type for cniVersions: {}", go_type(offered))));
    };
    let mut best = None;
    for (index, entry) in offered.iter().enumerate() {
        let Value::String(entry) = entry else {
            return Err(invalid(format_args!("invalid type for cniVersions index {index}: {}", go_type(entry))));
        };
        consider(&mut best, entry)
            .map_err(|err| invalid(format_args!("invalid cniVersions entry {entry} at index {index}: {err}")))?;
    }
    if !single.is_empty() {
        consider(&mut best, &single).map_err(|err| invalid(format_args!("invalid cniVersion {single}: {err}")))?;
    }
    Ok(best.map_or(single, |(_, version)| version))
}

/// Takes `version` as the best so far if it is the higher one, and not newer than this library.
fn consider(best: &mut Option<(Number, String)>, version: &str) -> Result<(), String> {
    let number: Number = version.parse()?;
    if number <= Version::CURRENT.into() && best.as_ref().is_none_or(|(highest, _)| number > *highest) {
        *best = Some((number, version.to_owned()));
    }
    Ok(())
}

fn inlined(plugins: Option<&Value>, only_inlined: bool) -> Result<Vec<PluginConf>, Error> {
    match plugins {
        None if only_inlined => Err(invalid("`loadOnlyInlinedPlugins` is true, and no 'plugins' key")),
        None => Ok(Vec::new()),
        Some(Value::Array(plugins)) if plugins.is_empty() => Err(invalid("no plugins in list")),
        Some(Value::Array(plugins)) => plugins
            .iter()
            .enumerate()
            .map(|(index, plugin)| {
                PluginConf::from_value(plugin.clone())
                    .map_err(|err| err.context(format_args!("failed to parse plugin config {index}")))
            })
            .collect(),
        Some(other) => Err(invalid(format_args!("invalid 'plugins' type {}", go_type(other)))),
    }
}
