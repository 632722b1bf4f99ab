//! The pump: everything between a container's streams, its log, and those who are attached.
//!
//! It is an epoll set, and so itself one descriptor that its owner watches beside the container's end and the signals. Each
//! [`Pump::turn`] does what can be done without waiting. There is one direction in which it makes others wait: while
//! somebody who is attached has not taken what was sent (256 KiB of it), nothing is read from the container, for at most ten
//! seconds. In the other direction nothing is taken from those who type while the container does not read.

mod client;
mod input;
mod spool;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{SockFlag, accept4};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;

use crate::error::{Context, Result};
use crate::spec::{Attach, Stdin};
use crate::sys::{self, tty};

use super::log::{Log, Stream};
use super::streams::Ends;
use super::wire::{self, Answer, Request};

use client::Client;
use input::Input;
use spool::Spools;
use watch::Watch;

pub(super) use client::missed;
pub(super) use spool::forget;

const LISTENER: u64 = 0;
const TIMER: u64 = 1;
const INPUT: u64 = 2;
const OUTPUTS: u64 = 3;
const JOURNAL: u64 = 8;
/// Numbers from here on are those of clients.
const CLIENTS: u64 = 16;
const MOST_CLIENTS: usize = 64;
/// How long the container waits for somebody who takes nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is read at once.
const CHUNK: usize = 32 * 1024;

/// Where the container's words come from.
#[derive(Debug)]
struct Output {
    stream: Stream,
    fd: OwnedFd,
    /// Whether more may come.
    open: bool,
}

/// Copies in all directions.
#[derive(Debug)]
pub(crate) struct Pump {
    watch: Watch,
    outputs: Vec<Output>,
    /// The master, if there is a terminal, and its other end: with that open, the master never reports a hang-up.
    terminal: Option<(OwnedFd, OwnedFd)>,
    input: Input,
    stdin: Stdin,
    log: Log,
    /// What makes the log outlive this process without a gap.
    spools: Option<Spools>,
    listener: Option<OwnedFd>,
    timer: TimerFd,
    patience: Duration,
    clients: BTreeMap<u64, Client>,
    /// Asked for by clients, and not yet told to the owner.
    signals: Vec<i32>,
    next: u64,
    /// Whether the timer runs: because the outputs are not being read because of a client, or the journal is gone.
    ticking: bool,
    /// Whether those who type are not being read because of the container.
    congested: bool,
}

impl Pump {
    /// Between `ends` and `log`, with nobody attached. `stdin` says what the end of somebody's input means.
    ///
    /// # Errors
    ///
    /// When the kernel has no descriptors left.
    pub(crate) fn new(ends: Ends, stdin: Stdin, log: Log) -> Result<Self> {
        let watch = Watch::new().context(|| "make an epoll set")?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).context(|| "make a timer")?;
        let (outputs, input, terminal) = match ends {
            Ends::Pipes { stdin, stdout, stderr } => {
                (vec![Output::new(Stream::Stdout, stdout), Output::new(Stream::Stderr, stderr)], stdin, None)
            }
            Ends::Terminal(master) => open_terminal(master).context(|| "open the container's terminal")?,
        };
        let mut pump = Self {
            watch,
            outputs,
            terminal,
            input: Input::new(input),
            stdin,
            log,
            spools: None,
            listener: None,
            timer,
            patience: PATIENCE,
            clients: BTreeMap::new(),
            signals: Vec::new(),
            next: CLIENTS,
            ticking: false,
            congested: false,
        };
        pump.watch.set(TIMER, pump.timer.as_fd(), true, false);
        pump.settle();
        Ok(pump)
    }

    /// Takes what the container says into files in the directory `dir` first, so that another process can go on if this one is killed;
    /// if one was, this one goes on. A terminal has no use for that: it goes with the one who attends it.
    ///
    /// # Errors
    ///
    /// When the files cannot be opened.
    pub(crate) fn outlive(&mut self, dir: &Path) -> Result<()> {
        if self.log.keeps() && self.terminal.is_none() {
            self.spools = Some(Spools::open(dir, &mut self.log)?);
        }
        Ok(())
    }

    /// Lets others attach, by a socket in the directory `dir`.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made.
    pub(crate) fn listen(&mut self, dir: &Path) -> Result<()> {
        let socket = wire::serve(dir)?;
        self.watch.set(LISTENER, socket.as_fd(), true, false);
        self.listener = Some(socket);
        Ok(())
    }

    /// Attaches this process: its standard output and error.
    ///
    /// # Errors
    ///
    /// When they cannot be duplicated.
    pub(crate) fn attach_own(&mut self, streams: Attach) -> Result<()> {
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().context(|| "duplicate a standard stream");
        let (stdout, stderr) = (copy(std::io::stdout().as_fd())?, copy(std::io::stderr().as_fd())?);
        self.admit(Client::own(stdout, stderr, [streams.stdout, streams.stderr]));
        Ok(())
    }

    /// Attaches whoever is at the other end of `socket`, from the container's first word on.
    pub(crate) fn attach(&mut self, socket: OwnedFd) {
        self.admit(Client::first(socket));
    }

    /// Does everything that can be done now. To be called when the pump's descriptor is readable. Answers the signals
    /// that those who are attached want the container to get.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to say what is ready. What happens to one client is no error.
    pub(crate) fn turn(&mut self) -> Result<Vec<i32>> {
        for number in self.watch.ready().context(|| "watch the container's streams")? {
            self.on(number);
        }
        self.settle();
        Ok(std::mem::take(&mut self.signals))
    }

    fn on(&mut self, number: u64) {
        match number {
            LISTENER => self.accept(),
            TIMER => {
                let _ = self.timer.wait();
                self.clients.values_mut().for_each(|client| client.lose_patience(self.patience));
                self.tell_journal();
            }
            INPUT => self.input.flush(),
            JOURNAL => self.tell_journal(),
            OUTPUTS..JOURNAL => drop(self.read_output(number - OUTPUTS)),
            number => self.on_client(number),
        }
    }

    /// Reads one piece from output `index`; answers whether there was one.
    fn read_output(&mut self, index: u64) -> bool {
        let output = usize::try_from(index).ok().and_then(|index| self.outputs.get_mut(index));
        let Some(output) = output.filter(|output| output.open) else { return false };
        let stream = output.stream;
        let said = match &mut self.spools {
            Some(spools) => spools.take(stream, output.fd.as_fd(), CHUNK),
            None => take(output.fd.as_fd()),
        };
        let bytes = match said {
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            // No room, or a file system that takes nothing from pipes: then it is as good as it can be without.
            Err(_) if self.spools.take().is_some() => return self.read_output(index),
            said => said.unwrap_or_default(),
        };
        // The end, or a terminal that was hung up: an event without end, which must not be waited for.
        output.open = !bytes.is_empty();
        self.log.write(stream, &bytes);
        if let Some(spools) = &mut self.spools {
            spools.settle(stream, &self.log);
        }
        self.clients.values_mut().for_each(|client| client.output(stream, &bytes));
        !bytes.is_empty()
    }

    fn tell_journal(&mut self) {
        self.log.hand_over();
        if let Some(spools) = &self.spools {
            spools.say(&self.log);
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(number) = accept4(listener.as_raw_fd(), flags) else { return };
        let Ok(socket) = sys::adopt(number) else { return };
        if self.clients.len() < MOST_CLIENTS && wire::trusted(socket.as_fd()) {
            self.admit(Client::remote(socket));
        }
    }

    fn admit(&mut self, client: Client) {
        self.clients.insert(self.next, client);
        self.next += 1;
        self.settle();
    }

    fn on_client(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        client.flush();
        if !client.is_remote() || self.congested {
            return;
        }
        match wire::take(client.fd()) {
            Err(Errno::EAGAIN) => {}
            Ok(packet) if !packet.is_empty() => {
                if let Some(request) = Request::decode(&packet) {
                    self.obey(number, request);
                }
            }
            // It has gone without a word: its input is at its end.
            _ => {
                let typed = client.types;
                client.gone = true;
                self.end_input(typed);
            }
        }
    }

    fn obey(&mut self, number: u64, request: Request) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        match request {
            Request::Hello { stdin, stdout, stderr } => client.introduce(stdin, stdout, stderr),
            Request::Input(bytes) => self.input.push(&bytes),
            Request::Eof => {
                let typed = std::mem::take(&mut client.types);
                self.end_input(typed);
            }
            Request::Signal(number) => self.signals.push(number),
            Request::Detach => (client.types, client.gone) = (false, true),
            Request::Resize(size) => {
                if let Some((master, _)) = &self.terminal {
                    let _ = tty::resize(master.as_fd(), size);
                }
            }
        }
    }

    /// A terminal has no end of input: a person types Ctrl-D.
    fn end_input(&mut self, typed: bool) {
        if typed && self.stdin == Stdin::Once && self.terminal.is_none() {
            self.input.end();
        }
    }

    /// Brings what is watched in line with what waits.
    fn settle(&mut self) {
        for (number, _) in self.clients.extract_if(.., |_, client| client.gone) {
            self.watch.closed(number);
        }
        self.congested = self.input.is_full();
        let full = self.clients.values().any(Client::is_full);
        let ticking = full || self.log.is_deserted();
        if ticking != self.ticking {
            self.ticking = ticking;
            self.set_timer();
        }
        for (number, output) in (OUTPUTS..).zip(&self.outputs) {
            self.watch.set(number, output.fd.as_fd(), output.open && !full, false);
        }
        match self.input.fd() {
            Some(fd) => self.watch.set(INPUT, fd, false, self.input.has_more()),
            None => self.watch.closed(INPUT),
        }
        if let Some((fd, waits)) = self.log.watched() {
            self.watch.set(JOURNAL, fd, false, waits);
        }
        for (number, client) in &self.clients {
            self.watch.set(*number, client.fd(), client.is_remote() && !self.congested, client.has_more());
        }
    }

    /// Looks at those who do not read now and then, as long as the container waits for one; and for the journal, if it is gone.
    fn set_timer(&self) {
        let expiration = match self.ticking {
            true => Expiration::Interval(TimeSpec::from_duration(self.patience / 10)),
            false => Expiration::OneShot(TimeSpec::from_duration(Duration::ZERO)),
        };
        let _ = self.timer.set(expiration, TimerSetTimeFlags::empty());
    }

    /// Takes what the container has still said; it has ended. Answers how many lines the journal has not got.
    pub(crate) fn drain(&mut self) -> u64 {
        for index in 0..self.outputs.len() as u64 {
            while self.read_output(index) {}
        }
        self.log.finish();
        if let Some(spools) = &mut self.spools {
            [Stream::Stdout, Stream::Stderr].iter().for_each(|stream| spools.settle(*stream, &self.log));
        }
        self.settle();
        self.log.owed()
    }

    /// Tells all who are attached that the container has ended with `code`, and stays until they have taken what waits for
    /// them, or have taken nothing for ten seconds.
    pub(crate) fn farewell(mut self, code: u8) {
        self.listener = None;
        self.congested = true;
        for client in self.clients.values_mut() {
            client.push(Answer::Ended(code));
            client.flush();
        }
        loop {
            self.clients.retain(|_, client| client.has_more());
            let mut fds: Vec<_> =
                self.clients.values().map(|client| PollFd::new(client.fd(), PollFlags::POLLOUT)).collect();
            if fds.is_empty() || !matches!(poll(&mut fds, FAREWELL), Ok(1..) | Err(Errno::EINTR)) {
                return;
            }
            self.clients.values_mut().for_each(Client::flush);
        }
    }
}

/// Milliseconds.
const FAREWELL: u16 = 10_000;

impl Output {
    fn new(stream: Stream, fd: OwnedFd) -> Self {
        Self { stream, fd, open: true }
    }
}

impl AsFd for Pump {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

/// The next piece.
fn take(fd: BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    let mut buffer = [0; CHUNK];
    let length = read(fd, &mut buffer)?;
    Ok(buffer.get(..length).unwrap_or_default().to_vec())
}

/// What a terminal is to a pump: one output, the same as input, and the two ends.
type Terminal = (Vec<Output>, Option<OwnedFd>, Option<(OwnedFd, OwnedFd)>);

fn open_terminal(master: OwnedFd) -> nix::Result<Terminal> {
    let flags = OFlag::from_bits_retain(fcntl(&master, FcntlArg::F_GETFL)?);
    fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let copy = || fcntl(&master, FcntlArg::F_DUPFD_CLOEXEC(3)).and_then(sys::adopt);
    let (output, input, peer) = (copy()?, copy()?, tty::peer(master.as_fd())?);
    Ok((vec![Output::new(Stream::Stdout, output)], Some(input), Some((master, peer))))
}
