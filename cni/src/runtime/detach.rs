//! DEL of a list.

use serde_json::{Map, Value};

use super::cache::{Found, Key};
use super::call::{failed, joined, request};
use super::{ConfList, Runtime, RuntimeConf, answer};
use crate::plugin::Verb;
use crate::{ContainerId, Error, IfName, NetName, Version};

impl Runtime {
    /// Detaches the container: runs DEL of every plugin in reverse order, with the result of ADD from the cache, and
    /// strikes the record out. Stops at the first failure, and keeps the record then.
    ///
    /// A record that can not be read is removed, and DEL goes on without a prevResult: a container must be removable
    /// whatever has happened to a file.
    ///
    /// # Errors
    /// `plugin type="T" failed (delete): ...` with the plugin's own code; 6 or 7 for a list without usable version or name.
    pub fn del(&self, list: &ConfList, conf: &RuntimeConf) -> Result<(), Error> {
        self.run_del(list, conf, 1)
    }

    /// [`Runtime::del`], but a plugin's failure does not keep the others from being asked.
    ///
    /// # Errors
    /// All failures, a line each, with the code of the first. The record is kept then.
    pub fn del_all(&self, list: &ConfList, conf: &RuntimeConf) -> Result<(), Error> {
        self.run_del(list, conf, usize::MAX)
    }

    /// [`Runtime::del_all`] by the record alone: the list, arguments and capability arguments that ADD was given, not
    /// those in today's files. False if there is no such record, or none that holds a list: then a DEL needs a list.
    ///
    /// # Errors
    /// As [`Runtime::del_all`], and those of a recorded list that can not be parsed any more.
    pub fn del_cached(&self, network: &NetName, container_id: &ContainerId, ifname: &IfName) -> Result<bool, Error> {
        match self.recorded(network, container_id, ifname)? {
            Some((list, conf)) => self.del_all(&list, &conf).map(|()| true),
            None => Ok(false),
        }
    }

    /// The list and the parameters with which an attachment was made, from its record.
    ///
    /// # Errors
    /// The recorded list can not be parsed (6, 7).
    pub fn recorded(
        &self,
        network: &NetName,
        container_id: &ContainerId,
        ifname: &IfName,
    ) -> Result<Option<(ConfList, RuntimeConf)>, Error> {
        let Ok(Found::Record(record)) = self.cache().find(Key { network, container_id, ifname }) else {
            return Ok(None);
        };
        let Some(attachment) = record.attachment else {
            return Ok(None);
        };
        Ok(Some((ConfList::from_slice(&attachment.config)?, attachment.conf)))
    }

    fn run_del(&self, list: &ConfList, conf: &RuntimeConf, failures: usize) -> Result<(), Error> {
        let passes_result = answer::reaches(list, Version::V0_4_0)?;
        let network = list.runnable()?;
        let (cache, key) = (self.cache(), conf.key(&network));
        let found = cache.find(key).unwrap_or_else(|_| {
            cache.remove(key);
            Found::Nothing
        });
        // A result that the list's version can not hold is no use to its plugins, but the record still is to GC.
        let prev = match &found {
            Found::Record(record) if passes_result => {
                answer::version(list).and_then(|version| record.prev_result(version)).unwrap_or_default()
            }
            _ => None,
        };
        joined(self.del_plugins(list, conf, prev.as_ref()).take(failures))?;
        if matches!(found, Found::Record(_)) {
            cache.remove(key);
        }
        Ok(())
    }

    /// The failures of the plugins' DEL in reverse order. A plugin is run when the caller asks for the next failure.
    pub(super) fn del_plugins(
        &self,
        list: &ConfList,
        conf: &RuntimeConf,
        prev: Option<&Map<String, Value>>,
    ) -> impl Iterator<Item = Error> {
        list.plugins().iter().rev().filter_map(move |plugin| {
            let done = self
                .find(plugin)
                .and_then(|program| self.call(&program, Verb::Del, Some(conf), &request(plugin, list, conf, prev)?));
            done.err().map(|err| failed(plugin, "delete", err))
        })
    }
}
