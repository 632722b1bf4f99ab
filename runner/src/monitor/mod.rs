//! The parent of a container that nobody is attached to.
//!
//! `xnet run -d` and `xnet start` fork; the child leaves the session of its caller and everything that it has inherited but
//! the container's lock and log, runs the container, and stays until the container is done: it writes the end down, starts it
//! again if the policy says so, and removes what is to be removed. The caller hears over a pipe whether the command was
//! executed, and goes.
//!
//! A monitor can be killed. Its container lives on then, and the next `xnet` that looks at the containers finds the lock
//! free and starts another monitor, which is not the container's parent and learns its end from the kernel ([`adopt`]).

pub(crate) mod adopt;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, pipe2};

use crate::container::start::Start;
use crate::container::{Warn, end};
use crate::error::{Context, Error, Result, Status};
use crate::io::session::Session;
use crate::net::lookup;
use crate::process::leave::leave;
use crate::process::signals::Signals;
use crate::service::Service;
use crate::spec::{Dirs, Restart, Spec};
use crate::state::{Container, Exit, Info, Store, Task, undo};
use crate::sys;
use crate::sys::clone::{Cloned, fork};
use crate::trace;

/// What a monitor needs.
#[derive(Debug)]
struct Monitor<'a> {
    store: &'a Store,
    dirs: &'a Dirs,
    spec: &'a Spec,
    signals: &'a Signals,
    service: Service,
    /// Whether the container is to outlive this process, and what this process is told is nothing to it.
    detached: bool,
}

/// Runs `container` in the foreground, again and again if its policy says so, until it ends for good or this process is told
/// to end. Answers the exit status of the last run; an error means that there was none.
pub(crate) fn attend(start: Start<'_>, mut container: Container, warn: Warn<'_>) -> Result<u8> {
    let mut session = Session::default();
    let monitor = Monitor {
        store: start.store,
        dirs: start.dirs,
        spec: start.spec,
        signals: start.signals,
        service: start.service.clone(),
        detached: false,
    };
    let mut executed = || {
        trace::tell(None);
        Ok(())
    };
    let first = start.run(&mut container, &mut session, &mut executed, warn);
    trace::tell(first.as_ref().err());
    // With the ports, which the next run takes.
    drop(start);
    let mut failure = None;
    let code = monitor.go_on(container, first, &mut session, &mut |error| failure = Some(error), warn);
    failure.map_or(Ok(code), Err)
}

/// Starts `container` with a monitor of its own. Comes back when the command is executed; an error means that it was not, and
/// what was made for it has been removed. `client` is one end of a line to somebody who wants to be attached.
pub(crate) fn spawn(
    store: &Store,
    dirs: &Dirs,
    container: Container,
    spec: &Spec,
    client: Option<OwnedFd>,
) -> Result<()> {
    let session = Session::new(client);
    // Before there is another process, for which nothing was meant.
    let service = Service::given();
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).context(|| "make a pipe")?;
    match fork().context(|| "start the monitor")? {
        Cloned::Child => {
            drop(ours);
            become_monitor((store, dirs, spec, service), container, session, File::from(theirs))
        }
        Cloned::Parent { pidfd, .. } => {
            drop((theirs, session));
            let heard = listen(File::from(ours));
            if let Some((answer, record)) = heard {
                trace::take_over(record);
                trace::tell(answer.as_ref().err());
                return answer;
            }
            // It was killed; nobody else can clean up yet, because the lock is ours as well.
            let _ = sys::signal::reap(Some(pidfd.as_fd()));
            let killed = Error::new("the monitor of the container was killed while it was setting the container up");
            undo::finish(store, container, false)?;
            Err(killed)
        }
    }
}

/// What the monitor has to say; nothing if it has died.
fn listen(mut pipe: File) -> Option<(Result<()>, Option<trace::Record>)> {
    let mut text = Vec::new();
    pipe.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn become_monitor(
    (store, dirs, spec, service): (&Store, &Dirs, &Spec, Service),
    mut container: Container,
    mut session: Session,
    report: File,
) -> ! {
    let mut report = Some(report);
    let told = |answer: Result<()>, report: &mut Option<File>| {
        if let Some(mut pipe) = report.take() {
            // The caller may be gone; then nobody wants to know.
            let _ = pipe.write_all(&serde_json::to_vec(&(answer, trace::take())).unwrap_or_default());
        }
    };
    let more = report.iter().map(AsRawFd::as_raw_fd).chain(session.client()).chain(service.sockets.numbers());
    let isolated = isolate(&container, more);
    match isolated.and_then(|()| Signals::block()) {
        Ok(signals) => {
            let monitor = Monitor { store, dirs, spec, signals: &signals, service, detached: true };
            let first = monitor.run(&mut container, 0, &mut session, &mut || {
                told(Ok(()), &mut report);
                Ok(())
            });
            trace::end();
            monitor.go_on(container, first, &mut session, &mut |error| told(Err(error), &mut report), &mut |_| ());
        }
        Err(error) => {
            let _ = undo::finish(store, container, false);
            told(Err(error), &mut report);
        }
    }
    sys::exit_now(0)
}

/// Leaves the caller, but for what holds the container.
fn isolate(container: &Container, more: impl Iterator<Item = RawFd>) -> Result<()> {
    let ours = container.descriptors();
    leave(ours.iter().map(|file| file.as_raw_fd()).chain(more).collect())
}

impl Monitor<'_> {
    /// Runs the container once, to its end.
    fn run(
        &self,
        container: &mut Container,
        restarts: u32,
        session: &mut Session,
        executed: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Exit> {
        // Nobody is there to be warned.
        let networks = lookup(self.spec, self.dirs)?;
        let mut start = Start::new(self.spec, networks, self.store, self.dirs, self.signals, &mut |_| ())?;
        start.detached = self.detached;
        start.service = self.service.clone();
        start.restarts = restarts;
        start.run(container, session, executed, &mut |_| ())
    }

    /// Sees to the end of a run, and to the runs after it if the policy says so. `failed` is told if the first one could not
    /// begin, `warn` what could not be put away. Answers the exit status of the last run.
    fn go_on(
        &self,
        mut container: Container,
        mut ended: Result<Exit>,
        session: &mut Session,
        failed: &mut dyn FnMut(Error),
        warn: Warn<'_>,
    ) -> u8 {
        let first = ended.as_ref().err().cloned();
        let mut pause = None;
        let mut restarts = ended.as_ref().map_or(0, |exit| exit.restarts);
        let mut ran = ended.as_ref().map_or(Duration::ZERO, Exit::lasted);
        let mut last;
        loop {
            let written = end::write(self.store, &mut container, self.spec, ended);
            // Why there was not even a first run is told by `failed`.
            let code = written
                .inspect_err(|error| {
                    if first.is_none() {
                        warn(error)
                    }
                })
                .ok();
            last = code;
            let again = first.is_none() && !self.must_end(&container) && self.spec.life.restart.applies(code, restarts);
            if !again || undo::run(self.store, &container).is_err() {
                break;
            }
            session.farewell(code.unwrap_or_default());
            let wait = Restart::back_off(pause, ran);
            pause = Some(wait);
            if !self.wait(&container, wait, restarts) || container.begin_log().is_err() {
                break;
            }
            restarts += 1;
            let begun = Instant::now();
            ended = self.run(&mut container, restarts, session, &mut || Ok(()));
            ran = begun.elapsed();
        }
        end::finish(self.store, container, self.spec, warn);
        // Those who hear it find the container put away.
        let code = last.unwrap_or_else(|| first.as_ref().map_or(Status::Setup, |error| error.status).code());
        session.farewell(code);
        if let Some(error) = first {
            failed(error);
        }
        code
    }

    /// Whether somebody wants the container's end.
    fn must_end(&self, container: &Container) -> bool {
        container.is_stopping() || !self.detached && self.signals.want_end()
    }

    /// Waits before the next run. Answers whether there shall be one.
    fn wait(&self, container: &Container, pause: Duration, restarts: u32) -> bool {
        let Some(info) = container.info() else { return true };
        let between = Info { pid: 0, start: 0, monitor: Task::of(Pid::this()), restarts, ..info };
        if container.publish(&between).is_err() {
            return false;
        }
        let end = Instant::now() + pause;
        while !self.must_end(container) {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return true };
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            // At least a millisecond, so that the rest of one is not spent spinning.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            if poll(&mut fds, timeout) == Ok(1) {
                // A signal is how somebody who wants the container's end wakes us.
                let _ = self.signals.drain();
            }
        }
        // The run that has ended by itself was the last one because of a person.
        if let Ok(Some(exit)) = Exit::read(&container.data) {
            let _ = Exit { stopped: container.is_stopped_by_person(), ..exit }.write(&container.data);
        }
        false
    }
}
