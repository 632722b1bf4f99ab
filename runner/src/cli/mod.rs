//! The command line: what was typed, subcommand by subcommand. What is meant is made of it in each one's file.

mod binfmt;
mod cgroup;
mod cni;
mod doctor;
mod files;
mod flags;
mod gc;
mod image;
mod info;
mod inspect;
mod install;
mod life;
mod netns;
mod network;
pub(crate) mod oci;
mod port;
mod run;
mod stats;
mod streams;
mod version;
mod volume;

#[cfg(test)]
pub(crate) use flags::spec_of;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::{Error, Result, Status};
use crate::spec::Dirs;
use crate::sys::sealed;
use crate::{image as images, rootless};

/// Container networking for Linux: a small container runner on its own CNI plugins.
#[derive(Debug, Parser)]
#[command(name = "xnet", version, propagate_version = false, disable_help_subcommand = true)]
// What is said twice counts as it was said last, as elsewhere: scripts add to the options of others.
#[command(args_override_self = true)]
struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Places {
    /// Where xnet keeps what outlives a reboot: containers, images, volumes; by default /var/lib/xnet, and for others than
    /// root $XDG_DATA_HOME/xnet
    #[arg(long, global = true, env = "XNET_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where xnet keeps what it knows about running containers; DIR/run with --root DIR, without it /run/xnet, and for others
    /// than root $XDG_RUNTIME_DIR/xnet
    #[arg(long, global = true, env = "XNET_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where network namespaces are pinned; by default /run/netns, and for others than root in the directory above
    #[arg(long, global = true, env = "XNET_NETNS_DIR", value_name = "DIR")]
    netns_dir: Option<PathBuf>,
    /// Where networks of other engines are configured
    #[arg(long, global = true, env = "XNET_CNI_CONF_DIR", value_name = "DIR", default_value = "/etc/cni/net.d")]
    cni_conf_dir: PathBuf,
}

/// Only the one that is typed is told its options: those of all together take a millisecond.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// Run a command in a new container
    Run(Box<run::Run>),
    /// Make a container without starting it
    Create(Box<life::create::Create>),
    /// Start containers that do not run
    Start(life::start::Start),
    /// End containers
    Stop(life::stop::Stop),
    /// End containers and start them again
    Restart(life::restart::Restart),
    /// Send a signal to containers
    Kill(life::kill::Kill),
    /// Freeze containers
    Pause(life::pause::Pause),
    /// Let frozen containers go on
    Unpause(life::pause::Pause),
    /// Wait for the end of containers, and print their exit status
    Wait(life::wait::Wait),
    /// Remove containers
    Rm(life::rm::Rm),
    /// Copy files between a container and the host
    Cp(files::cp::Cp),
    /// Show what a container has changed in its file system
    Diff(files::diff::Diff),
    /// Write a container's file system as a tar archive
    Export(files::export::Export),
    /// Make an image of a container's changes
    Commit(files::commit::Commit),
    /// Give a container another name
    Rename(life::rename::Rename),
    /// List containers
    Ps(life::ps::Ps),
    /// Tell everything about containers, images, networks and volumes
    Inspect(inspect::Inspect),
    /// Change the limits of containers
    Update(life::update::Update),
    /// Show what containers use
    Stats(stats::StatsCommand),
    /// Show where a container is in the hierarchies of cgroups
    Cgroup(cgroup::Cgroup),
    /// Run a command in a container that runs
    Exec(streams::exec::ExecFlags),
    /// Connect to the streams of a container that runs
    Attach(streams::attach::Attach),
    /// Show what a container has said
    Logs(streams::logs::Logs),
    /// List the processes of a container
    Top(streams::top::Top),
    /// Print what has happened to containers
    Events(life::events::Events),
    /// Look after a container whose monitor was killed
    #[command(hide = true)]
    Monitor(life::monitor::Monitor),
    /// Remove what runners that were killed have left behind
    Gc(gc::Gc),
    /// Bring in, list, save and remove images
    Image(image::Image),
    /// List images
    Images(image::List),
    /// Remove images
    Rmi(image::Remove),
    /// Make an image of a root file system: a directory, or a tar
    Import(image::Import),
    /// Bring in images from an archive or an OCI layout
    Load(image::Load),
    /// Bring in an image from a registry
    Pull(image::Pull),
    /// Send an image to a registry
    Push(image::Push),
    /// Write images into an archive
    Save(image::Save),
    /// Give an image another name
    Tag(image::Tag),
    /// Show how an image came about
    History(image::History),
    /// Make, list and remove networks; connect containers to them
    #[command(visible_alias = "net")]
    Network(network::Network),
    /// Look into network namespaces, and wire them by hand
    Netns(netns::Netns),
    /// Print where on the host a container's ports are
    Port(port::Port),
    /// See and change which emulators this host runs foreign programs by
    Binfmt(binfmt::Binfmt),
    /// Put the CNI plugins into a directory
    Install(install::Install),
    /// Run one operation of a CNI network on a namespace, as cnitool does
    Cni(cni::Cni),
    /// Work with volumes
    Volume(volume::VolumeCommand),
    /// Run containers for an engine, as runc does
    #[command(disable_help_flag = true)]
    Oci {
        /// What runc would be given
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Tell what this host has, and which options it cannot keep
    Info(info::Info),
    /// Tell what keeps containers from working, or one from being reached, and how to put it right
    Doctor(doctor::Doctor),
    /// Print the version
    Version(version::Version),
}

/// The commands that enter containers. They run from a handle of this program that cannot be written to.
const ENTERING: [&str; 9] = ["run", "create", "start", "restart", "exec", "monitor", "cp", "export", "oci"];

/// The commands whose status says something else than whether they could do their work: that of a command of the user's, as a rule.
const RUNNING: [&str; 10] = ["run", "create", "start", "restart", "exec", "attach", "netns", "cni", "doctor", "oci"];

/// The commands that make something with owners, or tell about it.
const MAKING: [&str; 8] = ["run", "create", "start", "restart", "import", "load", "pull", "commit"];

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    // An engine's command line has options of the same names with other meanings.
    if std::env::args_os().nth(1).is_some_and(|word| word == "oci") {
        return oci::main(std::env::args_os().skip(1).collect());
    }
    if rootless::is_needed() {
        return parse().map_or_else(|code| code, without_root);
    }
    // A word that only looks like such a command costs a third of a millisecond, so this need not wait for the parser.
    if (said(&ENTERING) || rootless::caller().is_some())
        && let Err(error) = sealed::ensure(&[])
    {
        complain(&error);
        return ExitCode::from(error.status.code());
    }
    parse().map_or_else(|code| code, |cli| cli.run())
}

/// Whether one of `names` is among the words of the command line.
fn said(names: &[&str]) -> bool {
    std::env::args_os().skip(1).any(|word| names.iter().any(|name| word == *name))
}

/// The command line; the exit status if it is answered or refused already.
fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        let (is_answer, kind) = (!error.use_stderr(), error.kind());
        let _ = in_full(error).print();
        // Help and version are answers; all else is a failure of ours. To forget what a command is about is no bad option.
        let missing = kind == ErrorKind::MissingRequiredArgument && !said(&RUNNING);
        let refused = if missing { 1 } else { Status::Setup.code() };
        if is_answer { ExitCode::SUCCESS } else { ExitCode::from(refused) }
    })
}

/// Executes this program again as root of a user namespace of the caller's, unless that is of no use.
fn without_root(cli: Cli) -> ExitCode {
    if matches!(cli.command, Command::Version(_) | Command::Install(_)) {
        return cli.run();
    }
    let entered = cli.places.dirs().and_then(|dirs| rootless::enter(&dirs)).and_then(|(environment, missing)| {
        missing.iter().filter(|_| said(&MAKING)).for_each(complain);
        sealed::ensure(&environment)
    });
    cli.answer(entered.map(|()| 0))
}

impl Cli {
    fn run(&self) -> ExitCode {
        let ended = self.command.run(&self.places);
        if images::lost() > 0 {
            complain(&Error::new(format!(
                "{} of the files could not be made as they are in the image: this user namespace has not the ids of their owners \
                 (/etc/subuid, /etc/subgid), who is root now, or they are device nodes, which are empty files now",
                images::lost()
            )));
        }
        self.answer(ended)
    }

    fn answer(&self, ended: Result<u8>) -> ExitCode {
        match ended {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                complain(&error);
                ExitCode::from(if self.command.runs_something() { error.status.code() } else { 1 })
            }
        }
    }
}

/// The same answer or refusal, as it is when all commands have been told all about themselves. A command that learns its options
/// late takes over what their struct says about itself, too, in the place of what is said about the command.
fn in_full(error: clap::Error) -> clap::Error {
    let mut command = Cli::command();
    let all = command.get_subcommands().filter_map(|one| Some((one.get_name().to_owned(), one.get_about()?.clone())));
    let all: Vec<_> = all.collect();
    command.build();
    let told =
        all.into_iter().fold(command, |command, (name, about)| command.mut_subcommand(name, |one| one.about(about)));
    told.try_get_matches().err().unwrap_or(error)
}

impl Command {
    /// Whether it is one of [`RUNNING`]. Then a failure of ours has a status that tells it from those of commands; else it is 1, as
    /// with most programs.
    fn runs_something(&self) -> bool {
        matches!(
            self,
            Self::Run(_)
                | Self::Create(_)
                | Self::Start(_)
                | Self::Restart(_)
                | Self::Exec(_)
                | Self::Attach(_)
                | Self::Monitor(_)
                | Self::Netns(_)
                | Self::Cni(_)
                | Self::Doctor(_)
                | Self::Oci { .. }
        )
    }

    fn run(&self, places: &Places) -> Result<u8> {
        let dirs = places.dirs()?;
        match self {
            Self::Run(run) => run.run(&dirs),
            Self::Create(create) => create.run(&dirs),
            Self::Start(start) => start.run(&dirs),
            Self::Stop(stop) => stop.run(&dirs),
            Self::Restart(restart) => restart.run(&dirs),
            Self::Kill(kill) => kill.run(&dirs),
            Self::Pause(pause) => pause.run(&dirs, true),
            Self::Unpause(pause) => pause.run(&dirs, false),
            Self::Wait(wait) => wait.run(&dirs),
            Self::Rm(rm) => rm.run(&dirs),
            Self::Rename(rename) => rename.run(&dirs),
            Self::Ps(ps) => ps.run(&dirs),
            Self::Inspect(inspect) => inspect.run(&dirs),
            Self::Update(update) => update.run(&dirs),
            Self::Stats(stats) => stats.run(&dirs),
            Self::Cgroup(cgroup) => cgroup.run(&dirs),
            Self::Port(port) => port.run(&dirs),
            Self::Events(events) => events.run(&dirs),
            Self::Monitor(monitor) => monitor.run(&dirs),
            Self::Exec(exec) => exec.run(&dirs),
            Self::Attach(attach) => attach.run(&dirs),
            Self::Logs(logs) => logs.run(&dirs),
            Self::Top(top) => top.run(&dirs),
            Self::Gc(gc) => gc.run(&dirs),
            Self::Image(image) => image.run(&dirs),
            Self::Images(list) => list.run(&dirs),
            Self::Rmi(remove) => remove.run(&dirs),
            Self::Import(import) => import.run(&dirs),
            Self::Load(load) => load.run(&dirs),
            Self::Pull(pull) => pull.run(&dirs),
            Self::Push(push) => push.run(&dirs),
            Self::Save(save) => save.run(&dirs),
            Self::Tag(tag) => tag.run(&dirs),
            Self::History(history) => history.run(&dirs),
            Self::Network(network) => network.run(&dirs),
            Self::Netns(netns) => netns.run(&dirs),
            Self::Binfmt(binfmt) => binfmt.run(),
            Self::Install(install) => install.run(),
            Self::Cni(cni) => cni.run(&dirs),
            Self::Cp(cp) => cp.run(&dirs),
            Self::Diff(diff) => diff.run(&dirs),
            Self::Export(export) => export.run(&dirs),
            Self::Commit(commit) => commit.run(&dirs),
            Self::Volume(volume) => volume.run(&dirs),
            Self::Oci { .. } => Err(Error::new("oci must be the first word")),
            Self::Info(info) => info.run(&dirs),
            Self::Doctor(doctor) => doctor.run(&dirs),
            Self::Version(version) => version.run(),
        }
    }
}

impl Places {
    fn dirs(&self) -> Result<Dirs> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|error| Error::new(format!("{}: {error}", path.display())))
        };
        let unprivileged = rootless::is_needed();
        let data = match &self.root {
            Some(dir) => absolute(dir)?,
            None if unprivileged => rootless::places::data()?,
            None => PathBuf::from("/var/lib/xnet"),
        };
        let state = match (&self.state_dir, &self.root) {
            (Some(dir), _) => absolute(dir)?,
            (None, Some(_)) if data != Path::new("/var/lib/xnet") => data.join("run"),
            _ if unprivileged => rootless::places::state(),
            _ => PathBuf::from("/run/xnet"),
        };
        let netns = match &self.netns_dir {
            Some(dir) => absolute(dir)?,
            None if unprivileged => state.join(".netns"),
            None => PathBuf::from("/run/netns"),
        };
        Ok(Dirs { data, state, netns, conf: absolute(&self.cni_conf_dir)? })
    }
}

/// One line on standard error.
fn complain(error: &Error) {
    eprintln!("xnet: {error}");
}
