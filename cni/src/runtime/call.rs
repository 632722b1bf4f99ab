//! One plugin, started once.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{ConfList, PluginConf, Runtime, RuntimeConf};
use crate::delegate::search;
use crate::plugin::Verb;
use crate::{Code, Error, exec};

impl Runtime {
    /// Where the plugin's binary is: in the first directory that holds a regular file of that name.
    ///
    /// # Errors
    /// Code 7. A `type` that is a path is refused, or a configuration could run any file of the host.
    pub(super) fn find(&self, plugin: &PluginConf) -> Result<PathBuf, Error> {
        let refused = |error| Error { code: Code::INVALID_CONFIG, ..error };
        search(plugin.plugin(), &self.plugin_dirs).map_err(refused)
    }

    /// Runs the plugin for an attachment, or for the network as a whole if `conf` is none, and returns its stdout. What
    /// it says on stderr goes to the runtime's own, unless the error says it.
    pub(super) fn call(
        &self,
        program: &Path,
        verb: Verb,
        conf: Option<&RuntimeConf>,
        request: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let variables = [
            ("CNI_CONTAINERID", conf.map_or("", |conf| conf.container_id.as_str()).into()),
            ("CNI_NETNS", conf.map_or("", |conf| conf.netns.as_str()).into()),
            ("CNI_ARGS", conf.map_or_else(String::new, args).into()),
            ("CNI_IFNAME", conf.map_or("", |conf| conf.ifname.as_str()).into()),
            ("CNI_PATH", self.path()?),
        ];
        self.start(program, verb, variables, request)
    }

    /// Asks the plugin for its versions. The other variables hold nonsense, because plugins of before 0.2.0 insist on
    /// them before they look at the command.
    pub(super) fn probe(&self, program: &Path) -> Result<Vec<u8>, Error> {
        let dummy = || OsString::from("dummy");
        let variables = [
            ("CNI_CONTAINERID", OsString::new()),
            ("CNI_NETNS", dummy()),
            ("CNI_ARGS", OsString::new()),
            ("CNI_IFNAME", dummy()),
            ("CNI_PATH", dummy()),
        ];
        self.start(program, Verb::Version, variables, br#"{"cniVersion":"1.1.0"}"#)
    }

    fn start(
        &self,
        program: &Path,
        verb: Verb,
        variables: [(&'static str, OsString); 5],
        stdin: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let mut protocol = vec![("CNI_COMMAND", OsString::from(verb.as_str()))];
        protocol.extend(variables);
        let env = self.env.with(protocol);
        let output = (self.start)(&exec::Command {
            program,
            arg0: None,
            env: &env,
            stdin,
            timeout: self.timeout,
            with_descendants: true,
        })?;
        if output.success() || !output.stdout.is_empty() {
            // A log that can not be passed on must not fail an operation that succeeded.
            let _ = io::stderr().write_all(&output.stderr);
        }
        Ok(output.into_success()?.stdout)
    }

    fn path(&self) -> Result<OsString, Error> {
        env::join_paths(&self.plugin_dirs).map_err(|err| Error::internal(format!("CNI_PATH can not be made: {err}")))
    }
}

/// `CNI_ARGS` as the protocol spells it.
fn args(conf: &RuntimeConf) -> String {
    let pairs: Vec<String> = conf.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(";")
}

/// What the plugin gets to read in an operation on an attachment.
pub(super) fn request(
    plugin: &PluginConf,
    list: &ConfList,
    conf: &RuntimeConf,
    prev: Option<&Map<String, Value>>,
) -> Result<Vec<u8>, Error> {
    let mut additions = list.identity();
    additions.extend(prev.map(|prev| ("prevResult", Value::Object(prev.clone()))));
    additions.extend(plugin.runtime_config(&conf.capability_args).map(|args| ("runtimeConfig", args)));
    plugin.request(additions)
}

/// The error of a list's operation that failed at this plugin.
pub(super) fn failed(plugin: &PluginConf, verb: &str, err: Error) -> Error {
    err.context(format_args!("plugin {} failed ({verb})", plugin.describe()))
}

/// Several failures as one error, a line each, with the code of the first.
pub(super) fn joined(failures: impl IntoIterator<Item = Error>) -> Result<(), Error> {
    let mut failures: Vec<Error> = failures.into_iter().collect();
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let lines: Vec<String> = failures.iter().map(Error::to_string).collect();
            Err(Error::new(failures[0].code, lines.join("\n")))
        }
    }
}
