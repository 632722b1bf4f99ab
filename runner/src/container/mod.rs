//! The lives of containers: made, run, ended, removed.
//!
//! A container is made ([`create`]), and then runs any number of times ([`start`]). Who runs it is its parent: this very
//! process in the foreground, or a small monitor that stays when this process is done ([`crate::monitor`]).
//!
//! The order is what makes it safe. Before anything is made, the container has a directory, a lock that dies with its
//! owner, and a log; what is made is first written there. Whatever happens then, a failure here, a signal, the end of
//! the command or the death of this process, the way back is the same: read the log backwards.

pub(crate) mod control;
pub(crate) mod end;
pub(crate) mod start;
pub(crate) mod update;

use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::io::attach::{self, Options, Outcome};
use crate::monitor;
use crate::net::{Prepared, lookup};
use crate::process::signals::Signals;
use crate::service::Service;
use crate::setup::{self, Op};
use crate::spec::{Dirs, Spec};
use crate::state::{Container, Record, Store, events, recover, undo};
use crate::storage;
use crate::trace::{self, Part, told};

use start::Start;

/// Gets what went wrong without changing how a command ends.
pub(crate) type Warn<'a> = &'a mut dyn FnMut(&Error);

/// Opens the directories, and looks after what the dead have left: it may hold the name, or the address, that is wanted now.
pub(crate) fn open(dirs: &Dirs, warn: Warn<'_>) -> Result<Store> {
    if !geteuid().is_root() {
        return Err(Error::new("containers are only seen by root, be it that of a user namespace"));
    }
    let store = Store::open(dirs)?;
    recover::all(&store, dirs, false)?.failed.iter().for_each(warn);
    Ok(store)
}

/// Makes the container `spec` and leaves it for a later start.
pub(crate) fn create(spec: &Spec, dirs: &Dirs, warn: Warn<'_>) -> Result<()> {
    lookup(spec, dirs)?;
    let store = open(dirs, warn)?;
    let mut container = make(&store, spec, dirs)?;
    container.record(&Record::Keep)?;
    store.release(container)
}

/// Runs `spec` to its end, attached to this process. Answers the command's exit status; an error means that the command did
/// not run, and that nothing is left of the container.
pub(crate) fn run(spec: &Spec, dirs: &Dirs, warn: Warn<'_>) -> Result<u8> {
    let networks = lookup(spec, dirs)?;
    let store = open(dirs, warn)?;
    let signals = Signals::block()?;
    let mut start = Start::new(spec, networks, &store, dirs, &signals, warn)?;
    start.service = Service::given();
    let container = make(&store, spec, dirs)?;
    monitor::attend(start, container, warn)
}

/// Runs an existing container to its end, attached to this process.
pub(crate) fn start_attached(
    store: &Store,
    container: Container,
    dirs: &Dirs,
    options: &Options,
    warn: Warn<'_>,
) -> Result<Outcome> {
    let spec = container.spec()?;
    if spec.io.tty {
        return with_client(store, dirs, container, &spec, options);
    }
    let signals = Signals::block()?;
    let mut start = Start::new(&spec, lookup(&spec, dirs)?, store, dirs, &signals, warn)?;
    start.service = Service::given();
    monitor::attend(start, container, warn).map(Outcome::Ended)
}

/// Makes the container `spec` and starts it with a monitor. Comes back when its command is executed.
pub(crate) fn run_detached(spec: &Spec, dirs: &Dirs, warn: Warn<'_>) -> Result<()> {
    lookup(spec, dirs)?;
    let store = open(dirs, warn)?;
    let container = make(&store, spec, dirs)?;
    monitor::spawn(&store, dirs, container, spec, None)
}

/// Makes the container `spec` with a terminal and stays attached to it. A monitor runs it, so that the caller can detach.
pub(crate) fn run_attached(spec: &Spec, dirs: &Dirs, options: &Options, warn: Warn<'_>) -> Result<Outcome> {
    lookup(spec, dirs)?;
    let store = open(dirs, warn)?;
    let container = make(&store, spec, dirs)?;
    with_client(&store, dirs, container, spec, options)
}

/// Starts `container` with a monitor, and stays attached to it from its first word on.
fn with_client(store: &Store, dirs: &Dirs, container: Container, spec: &Spec, options: &Options) -> Result<Outcome> {
    let signals = Signals::block()?;
    let (theirs, ours) = attach::pair()?;
    monitor::spawn(store, dirs, container, spec, Some(theirs))?;
    attach::run(ours, options, &signals)
}

/// Makes a container. Until its log says that it is kept, it goes when its owner does.
fn make(store: &Store, spec: &Spec, dirs: &Dirs) -> Result<Container> {
    let mut container = trace::step(Part::State, "container", || told::container(spec, dirs), || store.create(spec))?;
    let layer = || storage::prepare(spec, dirs, &mut container);
    let layer = trace::step(Part::Root, "layer", || told::layer(spec, dirs), layer);
    match layer.and_then(|_| end::announce(spec, &container)) {
        Ok(()) => {
            events::append(store, spec, "create", &[]);
            Ok(container)
        }
        Err(error) => {
            undo::finish(store, container, false)?;
            Err(error)
        }
    }
}

/// The set-up steps of `spec`, for people.
pub fn explain(spec: &Spec, dirs: &Dirs) -> Result<Vec<Op>> {
    let networks = lookup(spec, dirs)?;
    Ok(plan(spec, &Prepared::new(spec, networks, dirs, &Store::open(dirs)?)?))
}

fn plan(spec: &Spec, prepared: &Prepared) -> Vec<Op> {
    setup::plan(spec, prepared.netns_to_enter(), prepared.hostname.clone(), prepared.domainname())
}
