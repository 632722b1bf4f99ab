//! From a [`World`] to a plugin's method and back.

use std::ffi::OsString;
use std::io::{self, Read, Write};

use serde::Serialize;

use crate::error::{Code, Error, reason};
use crate::exec;
use crate::plugin::config::{Config, negotiate};
use crate::plugin::environment::{Command, Environment};
use crate::plugin::{Attachment, Call, Plugin, Stderr, Verb, World, guard};
use crate::version::Version;

/// Serves one call and returns the exit status: 0, or 1 with the error on stdout.
pub fn run<P: Plugin>(plugin: &P, world: World<'_>) -> u8 {
    run_with(plugin, world, None)
}

/// [`run`], for a caller with plugins inside: delegates are started by `start`.
pub fn run_with<P: Plugin>(plugin: &P, world: World<'_>, start: Option<exec::Start>) -> u8 {
    let World { env, stdin, mut stdout, stderr } = world;
    let served = match Environment(&env).command() {
        Command::Missing => {
            introduce::<P>(&stderr);
            Ok(())
        }
        Command::Known(Verb::Version) => print_versions::<P>(&mut stdout),
        Command::Known(verb) => serve(plugin, verb, env, stdin, &mut stdout, (&stderr, start)),
        Command::Unknown(command) => Err(unknown(&command, stdin)),
    };
    match served {
        Ok(()) => 0,
        Err(error) => {
            report(&error, &mut stdout, &stderr);
            1
        }
    }
}

type Stdout<'a> = Option<Box<dyn Write + 'a>>;

/// A person who starts a plugin by hand learns what it is.
fn introduce<P: Plugin>(stderr: &Stderr) {
    let versions: Vec<&str> = P::VERSIONS.iter().map(|version| version.as_str()).collect();
    stderr.line(format_args!("CNI {} plugin v{}", P::NAME, env!("CARGO_PKG_VERSION")));
    stderr.line(format_args!("CNI protocol versions supported: {}", versions.join(", ")));
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    cni_version: Version,
    supported_versions: &'static [Version],
}

fn print_versions<P: Plugin>(stdout: &mut Stdout<'_>) -> Result<(), Error> {
    let versions = Versions { cni_version: Version::CURRENT, supported_versions: P::VERSIONS };
    let line = serde_json::to_string(&versions).map_err(|error| Error::internal(error.to_string()))?;
    match stdout {
        Some(stdout) => print(&mut **stdout, &format!("{line}\n")),
        None => Ok(()),
    }
}

/// A bad configuration counts before an unknown verb.
fn unknown(command: &str, stdin: Box<dyn Read + '_>) -> Error {
    let unknown = |_| Error::new(Code::INVALID_ENVIRONMENT, format!("unknown CNI_COMMAND: {command}"));
    read_config(stdin).map_or_else(|error| error, unknown)
}

fn serve<P: Plugin>(
    plugin: &P,
    verb: Verb,
    env: Vec<(OsString, OsString)>,
    stdin: Box<dyn Read + '_>,
    stdout: &mut Stdout<'_>,
    (stderr, start): (&Stderr, Option<exec::Start>),
) -> Result<(), Error> {
    Environment(&env).check(verb)?;
    let config = read_config(stdin)?;
    let version = negotiate(verb, &config.stated_version()?, P::VERSIONS)?;
    let call = Call::from_config(config, version, env, (stderr.clone(), start));
    let environment = Environment(&call.env);
    match verb {
        Verb::Add => {
            let attachment = guarded(&environment)?;
            let stdout = stdout.as_mut().ok_or_else(|| write_failed(&nix::errno::Errno::EBADF.into()))?;
            add(plugin, &call, &attachment, &mut **stdout)
        }
        Verb::Del => plugin.del(&call, &guarded(&environment)?),
        Verb::Check => plugin.check(&call, &environment.attachment()?),
        Verb::Gc => gc(plugin, &call),
        Verb::Status => plugin.status(&call),
        Verb::Version => print_versions::<P>(stdout),
    }
}

fn read_config(mut stdin: Box<dyn Read + '_>) -> Result<Config, Error> {
    let mut bytes = Vec::with_capacity(8 << 10); // else a dozen reads of 32 bytes and more
    stdin
        .read_to_end(&mut bytes)
        .map_err(|error| Error::new(Code::IO_FAILURE, format!("error reading from stdin: {}", reason(&error))))?;
    Config::read(bytes)
}

/// The attachment, if it is not the plugin's own namespace that is to be attached.
fn guarded(environment: &Environment<'_>) -> Result<Attachment, Error> {
    let attachment = environment.attachment()?;
    if !environment.overrides_guard() {
        guard::refuse_own_netns(&attachment.netns)?;
    }
    Ok(attachment)
}

fn add<P: Plugin>(plugin: &P, call: &Call, attachment: &Attachment, stdout: &mut dyn Write) -> Result<(), Error> {
    let result = plugin.add(call, attachment)?;
    let answered = result.to_json(call.version).and_then(|document| print(stdout, &document));
    // The runtime takes this ADD for failed: what was made must not stay.
    answered.inspect_err(|_| {
        if let Err(error) = plugin.del(call, attachment) {
            call.warn(format_args!("cannot undo the ADD whose result could not be given: {error}"));
        }
    })
}

fn gc<P: Plugin>(plugin: &P, call: &Call) -> Result<(), Error> {
    let valid = call.valid_attachments()?;
    if !valid.is_specified() {
        call.warn("GC without cni.dev/valid-attachments: no attachment is known to be stale, nothing is removed");
    }
    plugin.gc(call, &valid)
}

fn print(stdout: &mut dyn Write, document: &str) -> Result<(), Error> {
    stdout.write_all(document.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| write_failed(&error))
}

fn write_failed(error: &io::Error) -> Error {
    Error::new(Code::IO_FAILURE, format!("error writing to stdout: {}", reason(error)))
}

/// An error that the caller can not read must at least be in its log.
fn report(error: &Error, stdout: &mut Stdout<'_>, stderr: &Stderr) {
    let document = error.to_json();
    let printed = stdout.as_mut().is_some_and(|stdout| print(&mut **stdout, &document).is_ok());
    if !printed {
        stderr.line(document);
    }
}
