//! What concerns a network as a whole: GC, STATUS, and whether a list and its plugins fit together.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::joined;
use super::{ConfList, PluginConf, Runtime, answer};
use crate::plugin::Verb;
use crate::quote::quote;
use crate::{Code, ContainerId, Error, IfName, Version, decode};

impl Runtime {
    /// Cleans up the network: DEL for every attachment on record that is not in `valid`, then GC of every plugin, which
    /// is told of `valid`. Continues after failures. Does nothing if the list says `disableGC`.
    ///
    /// None means that no attachment is valid, and tells the plugins nothing. Records of other networks are never
    /// touched. The caller sees to it that no ADD or DEL is under way.
    ///
    /// # Errors
    /// All failures, a line each, with the code of the first: `failed to delete stale attachment ID IF: ...`, `failed to
    /// GC plugin TYPE: ...`. A cache that can not be listed is an error too, since plugins that were told of `valid`
    /// alone would still leave its stale records behind.
    pub fn gc(&self, list: &ConfList, valid: Option<&[(ContainerId, IfName)]>) -> Result<(), Error> {
        if list.disable_gc() {
            return Ok(());
        }
        let (network, asks_plugins) = (list.runnable()?, answer::reaches(list, Version::V1_1_0)?);
        let cache = self.cache();
        cache.sweep();
        let stale = cache.attachments(None)?.into_iter().filter(|found| {
            found.network == network
                && !valid.unwrap_or_default().iter().any(|(container_id, ifname)| {
                    *container_id == found.conf.container_id && *ifname == found.conf.ifname
                })
        });
        let mut failures: Vec<Error> = stale
            .filter_map(|found| {
                let (container_id, ifname) = (&found.conf.container_id, &found.conf.ifname);
                let attempt = format!("failed to delete stale attachment {container_id} {ifname}");
                self.del(list, &found.conf).err().map(|err| err.context(attempt))
            })
            .collect();
        if asks_plugins {
            failures.extend(list.plugins().iter().filter_map(|plugin| {
                let done = self.call_network(list, plugin, Verb::Gc, valid.map(attachments));
                done.err().map(|err| err.context(format_args!("failed to GC plugin {}", plugin.plugin())))
            }));
        }
        joined(failures)
    }

    /// Asks every plugin whether the network could serve an ADD now. Lists of before 1.1.0 can not ask, and succeed.
    ///
    /// # Errors
    /// The first failing plugin's error as it is, so that its code (50, 51) tells what to do.
    pub fn status(&self, list: &ConfList) -> Result<(), Error> {
        if !answer::reaches(list, Version::V1_1_0)? {
            return Ok(());
        }
        list.plugins().iter().try_for_each(|plugin| self.call_network(list, plugin, Verb::Status, None))
    }

    /// Whether every plugin exists and speaks the list's version. Returns the capabilities that the list declares.
    ///
    /// # Errors
    /// All failures, a line each: those of [`Runtime::versions`], and `plugin TYPE does not support config version "V"`.
    pub fn validate(&self, list: &ConfList) -> Result<BTreeSet<String>, Error> {
        let version = if list.version().is_empty() { Version::V0_1_0.as_str() } else { list.version() };
        let failures = list.plugins().iter().filter_map(|plugin| match self.versions(plugin) {
            Ok(versions) if versions.iter().any(|known| known == version) => None,
            Ok(versions) => {
                let msg = format!("plugin {} does not support config version {}", plugin.plugin(), quote(version));
                let supported = format!("it supports {}", versions.join(", "));
                Some(Error::new(Code::INCOMPATIBLE_VERSION, msg).with_details(supported))
            }
            Err(err) => Some(err),
        });
        joined(failures)?;
        Ok(list.plugins().iter().flat_map(PluginConf::capabilities).map(str::to_owned).collect())
    }

    /// The versions of the protocol that a plugin says it speaks.
    ///
    /// # Errors
    /// The plugin is missing or fails; `decoding version info: ...`.
    pub fn versions(&self, plugin: &PluginConf) -> Result<Vec<String>, Error> {
        match self.probe(&self.find(plugin)?) {
            // That is how a plugin of before 0.2.0 answers a question that it does not know.
            Err(err) if err.to_string() == "unknown CNI_COMMAND: VERSION" => Ok(spelt(&[Version::V0_1_0])),
            answer => supported(&answer?).map_err(|err| err.context("decoding version info")),
        }
    }

    fn call_network(
        &self,
        list: &ConfList,
        plugin: &PluginConf,
        verb: Verb,
        valid: Option<Value>,
    ) -> Result<(), Error> {
        let mut additions = list.identity();
        if let Some(valid) = valid {
            // The second is how an earlier text of the specification spelt the first.
            additions.push(("cni.dev/valid-attachments", valid.clone()));
            additions.push(("cni.dev/attachments", valid));
        }
        self.call(&self.find(plugin)?, verb, None, &plugin.request(additions)?).map(drop)
    }
}

fn attachments(valid: &[(ContainerId, IfName)]) -> Value {
    let entries = valid.iter().map(|(container_id, ifname)| json!({"containerID": container_id, "ifname": ifname}));
    entries.collect()
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Versions {
    cni_version: String,
    supported_versions: Vec<String>,
}

fn supported(answer: &[u8]) -> Result<Vec<String>, Error> {
    let versions: Versions = decode::from_slice(answer).map_err(answer::undecodable)?;
    let missing = |field: &str| Err(Error::new(Code::DECODING_FAILURE, format!("missing field {field}")));
    match versions.cni_version.as_str() {
        "" => missing("cniVersion"),
        _ if !versions.supported_versions.is_empty() => Ok(versions.supported_versions),
        // The first version that could ask had no list in its answer.
        "0.2.0" => Ok(spelt(&[Version::V0_1_0, Version::V0_2_0])),
        _ => missing("supportedVersions"),
    }
}

fn spelt(versions: &[Version]) -> Vec<String> {
    versions.iter().map(Version::to_string).collect()
}
