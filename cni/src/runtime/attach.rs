//! ADD and CHECK of a list.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::cache::{Attachment, Cache, Found};
use super::call::{failed, request};
use super::{ConfList, Runtime, RuntimeConf, answer};
use crate::plugin::Verb;
use crate::quote::quote;
use crate::result::AddResult;
use crate::{Code, Error, NetName, Version};

/// What the plugins of an ADD have achieved so far.
type Reached = Option<Map<String, Value>>;

impl Runtime {
    /// Attaches the container: runs ADD of every plugin in order, and puts the outcome on record.
    ///
    /// As with libcni, a failure leaves in place what the plugins before it have done, and the caller owes a DEL. There
    /// is [`Runtime::add_or_undo`] for callers who want that done.
    ///
    /// # Errors
    /// `plugin type="T" failed (add): ...` with the plugin's own code; code 4 for `args` that would read as others, 7
    /// for a name that is no network's, 1 for a list in a version that this library does not know, 5 for a cache that is
    /// out of reach. Nothing has been started in these four cases, nor if a plugin is missing.
    pub fn add(&self, list: &ConfList, conf: &RuntimeConf) -> Result<AddResult, Error> {
        let adding = self.prepare(list, conf)?;
        self.run_add(&adding, &mut None)
    }

    /// [`Runtime::add`], but all or nothing: if it fails after a plugin has been started, DEL of every plugin is run in
    /// reverse order, each whatever became of the others. The error is that of the ADD; what could not be undone is said
    /// in its details.
    ///
    /// # Errors
    /// As for [`Runtime::add`]; and code 7 if the attachment is on record already, because undoing a second ADD would
    /// tear down the first.
    pub fn add_or_undo(&self, list: &ConfList, conf: &RuntimeConf) -> Result<AddResult, Error> {
        let adding = self.prepare(list, conf)?;
        if adding.second {
            return Err(adding.refusal());
        }
        let mut reached = None;
        self.run_add(&adding, &mut reached).map_err(|err| self.undo(&adding, reached, err))
    }

    /// Asks every plugin whether the attachment is still as ADD left it. Succeeds at once if the list says
    /// `disableCheck`.
    ///
    /// # Errors
    /// The first failing plugin's error as it is; code 1 for a list of before 0.4.0; and `failed to get network "N"
    /// cached result: ...`.
    pub fn check(&self, list: &ConfList, conf: &RuntimeConf) -> Result<(), Error> {
        if !answer::reaches(list, Version::V0_4_0)? {
            let version = quote(list.version());
            let msg = format!("configuration version {version} does not support the CHECK command");
            return Err(Error::new(Code::INCOMPATIBLE_VERSION, msg));
        }
        if list.disable_check() {
            return Ok(());
        }
        plain_args(conf)?;
        let network = list.runnable()?;
        let prev = match self.cache().find(conf.key(&network)) {
            Ok(Found::Record(record)) => record.prev_result(answer::version(list)?),
            Ok(Found::Nothing | Found::Foreign(_)) => Ok(None),
            Err(err) => Err(err),
        };
        let prev = prev
            .map_err(|err| err.context(format_args!("failed to get network {} cached result", quote(list.name()))))?;
        list.plugins().iter().try_for_each(|plugin| {
            let request = request(plugin, list, conf, prev.as_ref())?;
            self.call(&self.find(plugin)?, Verb::Check, Some(conf), &request).map(drop)
        })
    }

    pub(super) fn cache(&self) -> Cache {
        Cache::new(&self.cache_dir)
    }

    /// All that can be refused before a plugin is started.
    fn prepare<'a>(&self, list: &'a ConfList, conf: &'a RuntimeConf) -> Result<Adding<'a>, Error> {
        plain_args(conf)?;
        let network = list.runnable()?;
        let version = answer::version(list)?;
        let programs = list.plugins().iter().map(|plugin| self.find(plugin).map_err(|err| failed(plugin, "add", err)));
        let programs = programs.collect::<Result<_, _>>()?;
        self.cache().create().map_err(|err| unrecorded(list, err))?;
        let record = self.cache().path(conf.key(&network));
        let second = match self.cache().find(conf.key(&network)) {
            Ok(Found::Record(_)) => true,
            Ok(Found::Foreign(other)) => return Err(taken(&record, &other)),
            // Where nothing can be read, nothing could be written.
            Err(err) if err.code == Code::IO_FAILURE => return Err(unrecorded(list, err)),
            // What is no record will be overwritten.
            Ok(Found::Nothing) | Err(_) => false,
        };
        Ok(Adding { list, conf, network, version, programs, record, second })
    }

    fn run_add(&self, adding: &Adding<'_>, reached: &mut Reached) -> Result<AddResult, Error> {
        let Adding { list, conf, version, .. } = *adding;
        let mut result = AddResult::default();
        for (plugin, program) in list.plugins().iter().zip(&adding.programs) {
            let answer = request(plugin, list, conf, reached.as_ref())
                .and_then(|request| self.call(program, Verb::Add, Some(conf), &request))
                .and_then(|stdout| AddResult::parse_answer(&stdout, version));
            result = answer.map_err(|err| failed(plugin, "add", err))?;
            *reached = Some(answer::document(&result, version)?);
        }
        let attachment =
            Attachment { network: adding.network.clone(), conf: conf.clone(), config: list.bytes().to_vec() };
        self.cache().store(&attachment, reached.clone().unwrap_or_default()).map_err(|err| unrecorded(list, err))?;
        Ok(result)
    }

    /// What became of the attempt to undo goes into the details of `err`.
    fn undo(&self, adding: &Adding<'_>, reached: Reached, err: Error) -> Error {
        let reached = reached.filter(|_| adding.version >= Version::V0_4_0);
        let failures: Vec<String> =
            self.del_plugins(adding.list, adding.conf, reached.as_ref()).map(|failure| failure.to_string()).collect();
        if failures.is_empty() {
            return err;
        }
        let undone = format!("undoing it failed too: {}", failures.join("; "));
        let details = if err.details.is_empty() { undone } else { format!("{}; {undone}", err.details) };
        err.with_details(details)
    }
}

/// An ADD that can start: everything about it has been looked up and found in order.
struct Adding<'a> {
    list: &'a ConfList,
    conf: &'a RuntimeConf,
    network: NetName,
    version: Version,
    programs: Vec<PathBuf>,
    /// Where the outcome will be recorded...
    record: PathBuf,
    /// ... and whether that of an earlier ADD is there already.
    second: bool,
}

impl Adding<'_> {
    fn refusal(&self) -> Error {
        let RuntimeConf { container_id, ifname, .. } = self.conf;
        let msg = format!(
            "container {container_id} is attached to network {} as {ifname} already, says {}",
            self.network,
            self.record.display()
        );
        Error::new(Code::INVALID_CONFIG, msg).with_details("delete that attachment first")
    }
}

/// Overwriting the other's record would leave nobody who knows how to detach it.
fn taken(record: &Path, other: &Attachment) -> Error {
    let RuntimeConf { container_id, ifname, .. } = &other.conf;
    let (file, network) = (record.display(), &other.network);
    let msg = format!("cache file {file} holds container {container_id} on network {network}, interface {ifname}");
    Error::new(Code::INVALID_CONFIG, msg).with_details("choose another container id")
}

fn unrecorded(list: &ConfList, err: Error) -> Error {
    err.context(format_args!("failed to set network {} cached result", quote(list.name())))
}

/// A pair that holds a separator would reach the plugins as other pairs than the caller has given.
fn plain_args(conf: &RuntimeConf) -> Result<(), Error> {
    let separates = |text: &str| text.contains([';', '=']);
    match conf.args.iter().find(|(key, value)| key.is_empty() || separates(key) || separates(value)) {
        Some((key, value)) => {
            let msg = format!("invalid CNI_ARGS pair {}", quote(format!("{key}={value}")));
            Err(Error::new(Code::INVALID_ENVIRONMENT, msg))
        }
        None => Ok(()),
    }
}
