//! `xnet oci`, and the program `xnet-oci`: runc's command line.
//!
//! Engines give global options before the command and expect certain names, so this is a command line of its own, parsed
//! apart from that of xnet.

mod exec;
mod show;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::{Context, Error, Result};
use crate::oci::create::{Wishes, create};
use crate::oci::log::{Log, message};
use crate::oci::state::Home;
use crate::oci::{bundle, control, features};
use crate::process::signals::Signals;
use crate::service::Service;
use crate::spec::Signal;
use crate::sys::sealed;

/// The name under which this program is an OCI runtime.
pub(crate) const NAME: &str = "xnet-oci";

/// Run containers for an engine, as runc does
#[derive(Debug, Parser)]
#[command(name = NAME, version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Globals {
    /// Where containers are kept on record
    #[arg(long, value_name = "DIR", default_value = "/run/xnet/oci")]
    root: PathBuf,
    /// A file to append errors to
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The format of that file
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    /// Read cgroupsPath as SLICE:PREFIX:NAME
    #[arg(long)]
    systemd_cgroup: bool,
    /// Understood for the sake of callers; only "false" and "auto" can be kept
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "false"])]
    rootless: String,
    /// Understood for the sake of callers
    #[arg(long)]
    debug: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a container that waits to be started
    Create(Create),
    /// Let a created container go on
    Start { id: String },
    /// Create and start a container, and wait for its end
    Run(Run),
    /// Print where a container stands
    State { id: String },
    /// Send a signal to a container
    Kill(Kill),
    /// Remove a container
    Delete {
        /// Whether it runs or not, and whether it is there or not
        #[arg(short, long)]
        force: bool,
        id: String,
    },
    /// Run one more process in a container
    Exec(Box<exec::Exec>),
    /// List the processes of a container
    Ps(show::Ps),
    /// List containers
    List(show::List),
    /// Freeze a container
    Pause { id: String },
    /// Let a frozen container go on
    Resume { id: String },
    /// Change the limits of a container
    Update {
        /// LinuxResources in JSON; - for standard input
        #[arg(short, long, value_name = "FILE")]
        resources: PathBuf,
        id: String,
    },
    /// Print what this runtime can do
    Features,
    /// Write a configuration to begin with
    Spec {
        /// The directory to write config.json into
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        bundle: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Where to write the first process' number
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// A unix socket that takes the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Move the root directory over the host's instead of changing places: for a host whose root is an initial ramfs
    #[arg(long)]
    no_pivot: bool,
    /// Stay in the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Leave so many descriptors behind standard error open
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    id: String,
}

#[derive(Debug, Args)]
struct Run {
    /// Come back when the container is started
    #[arg(short, long)]
    detach: bool,
    /// Leave the container on record when it has ended
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    create: Create,
}

#[derive(Debug, Args)]
struct Kill {
    /// To all processes, not just the first
    #[arg(short, long)]
    all: bool,
    id: String,
    #[arg(default_value = "SIGTERM")]
    signal: Signal,
}

/// Does what `args` say, the first of which is the program's name.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    if let Err(error) = sealed::ensure(&[]) {
        return failed(&Log::default(), &error);
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let log = Log { path: cli.globals.log.clone(), json: cli.globals.log_format == "json" };
    match cli.command.run(&cli.globals, &log) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&log, &error),
    }
}

fn failed(log: &Log, error: &Error) -> ExitCode {
    log.error(error);
    eprintln!("xnet: {}", message(error));
    ExitCode::from(error.status.code())
}

fn warn(log: &Log, errors: &[Error]) {
    for error in errors {
        log.warning(&error.message);
        eprintln!("xnet: {error}");
    }
}

impl Command {
    fn run(&self, globals: &Globals, log: &Log) -> Result<u8> {
        let root = std::path::absolute(&globals.root).context(|| globals.root.display().to_string())?;
        let home = Home::new(root);
        match self {
            Self::Create(create) => create.run(&home, globals)?,
            Self::Start { id } => {
                let started = control::start(&home, id, Service::given().notify.as_deref(), true)?;
                warn(log, &started.warnings);
                control::await_ready(&home, id, started.notify.as_ref())?;
            }
            Self::Run(run) => return run.run(&home, globals, log),
            Self::State { id } => show::print(&control::state(&home, id)?)?,
            Self::Kill(kill) => control::kill(&home, &kill.id, kill.signal, kill.all)?,
            Self::Delete { id, force } => warn(log, &control::delete(&home, id, *force)?),
            Self::Exec(exec) => return exec.run(&home),
            Self::Ps(ps) => ps.run(&home)?,
            Self::List(list) => list.run(&home)?,
            Self::Pause { id } => control::freeze(&home, id, true)?,
            Self::Resume { id } => control::freeze(&home, id, false)?,
            Self::Update { id, resources } => control::update(&home, id, &control::resources(resources)?)?,
            Self::Features => show::print(&features::document())?,
            Self::Spec { bundle } => write_sample(bundle)?,
        }
        Ok(0)
    }
}

impl Create {
    fn run(&self, home: &Home, globals: &Globals) -> Result<()> {
        let wishes = Wishes {
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            preserve_fds: self.preserve_fds,
            no_new_keyring: self.no_new_keyring,
            no_pivot: self.no_pivot,
            systemd: globals.systemd_cgroup,
            service: Service::given(),
        };
        create(home, &self.id, &self.bundle, &wishes)
    }
}

impl Run {
    fn run(&self, home: &Home, globals: &Globals, log: &Log) -> Result<u8> {
        let id = &self.create.id;
        let signals = if self.detach { None } else { Some(Signals::block()?) };
        self.create.run(home, globals)?;
        let started = match control::start(home, id, Service::given().notify.as_deref(), self.detach) {
            Ok(started) => started,
            Err(error) => {
                warn(log, &control::delete(home, id, true)?);
                return Err(error);
            }
        };
        warn(log, &started.warnings);
        let notify = started.notify.as_ref();
        let Some(signals) = signals else { return control::await_ready(home, id, notify).map(|()| 0) };
        let ended = control::attend(home, id, &signals, notify);
        if !self.keep {
            warn(log, &control::delete(home, id, true)?);
        }
        ended
    }
}

/// An existing file is somebody's work.
fn write_sample(dir: &Path) -> Result<()> {
    let path = dir.join(bundle::CONFIG);
    let text = serde_json::to_string_pretty(&features::sample()).context(|| "encode the configuration")?;
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    file.and_then(|mut file| writeln!(file, "{text}")).context(|| format!("write {}", path.display()))
}
