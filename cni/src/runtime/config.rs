//! One plugin's part of a list, and the document that the plugin finds on its standard input.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{answer, json};
use crate::quote::quote;
use crate::{Code, Error, decode};

/// One plugin of a [`ConfList`](super::ConfList): an object of its `plugins`, or a file of the network's plugin folder.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConf {
    head: Head,
    members: Map<String, Value>,
}

/// The members that the runtime itself reads. As Go decodes them into a struct, their names match in any letter case.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Head {
    name: String,
    #[serde(rename = "cniVersion")]
    version: String,
    #[serde(rename = "type")]
    plugin: String,
    capabilities: BTreeMap<String, bool>,
}

impl PluginConf {
    /// Reads a single plugin's configuration.
    ///
    /// # Errors
    /// `error parsing configuration: ...`, code 6 for what is not a JSON object of the right types, 7 without a `type`.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_value(decode::document(bytes).map_err(undecodable)?)
    }

    pub(super) fn from_value(value: Value) -> Result<Self, Error> {
        let head: Head = decode::from_value(&value).map_err(undecodable)?;
        match value {
            Value::Object(members) if !head.plugin.is_empty() => Ok(Self { head, members }),
            _ => Err(Error::new(Code::INVALID_CONFIG, "error parsing configuration: missing 'type'")),
        }
    }

    /// The plugin's `type`: the name of its binary.
    pub fn plugin(&self) -> &str {
        &self.head.plugin
    }

    /// The `name` in the plugin's own object; empty within a list, where the list carries it.
    pub fn name(&self) -> &str {
        &self.head.name
    }

    /// The `cniVersion` in the plugin's own object, verbatim.
    pub fn version(&self) -> &str {
        &self.head.version
    }

    /// The capabilities that the plugin's object declares as `true`: what it wants to hear of in `runtimeConfig`.
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.head.capabilities.iter().filter(|&(_, &wanted)| wanted).map(|(name, _)| name.as_str())
    }

    /// The object as it stands in the file.
    pub(super) fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// How an error names this plugin: `type="portmap"`, and the name if its own object has one.
    pub(super) fn describe(&self) -> String {
        let plugin = quote(&self.head.plugin);
        match self.head.name.as_str() {
            "" => format!("type={plugin}"),
            name => format!("type={plugin} name={}", quote(name)),
        }
    }

    /// Those of the runtime's capability arguments that this plugin declares.
    pub(super) fn runtime_config(&self, capability_args: &Map<String, Value>) -> Option<Value> {
        let wanted: Map<String, Value> = self
            .capabilities()
            .filter_map(|name| Some((name.to_owned(), capability_args.get(name)?.clone())))
            .collect();
        (!wanted.is_empty()).then_some(Value::Object(wanted))
    }

    /// The request: this object with `additions` put over it, on one line, keys sorted.
    pub(super) fn request<'a>(&self, additions: impl IntoIterator<Item = (&'a str, Value)>) -> Result<Vec<u8>, Error> {
        let mut members = self.members.clone();
        for (key, value) in additions {
            members.insert(key.to_owned(), value);
        }
        json::line(&json::sorted_map(&members))
            .map(String::into_bytes)
            .map_err(|err| Error::internal(format!("failed to write the request for {}: {err}", self.describe())))
    }
}

fn undecodable(err: decode::Error) -> Error {
    answer::undecodable(err).context("error parsing configuration")
}
