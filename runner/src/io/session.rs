//! The streams of one run, from the side of the process that attends it.

use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use crate::error::{Context, Result};
use crate::process::channel::ParentEnd;
use crate::spec::{Attach, Driver, Size, Spec, Stdin};
use crate::state::Task;
use crate::sys::tty;

use super::holder::{self, Holder};
use super::log::Log;
use super::pump::{self, Pump};
use super::streams::{self, Ends, Stdio};

/// What is between a container and everybody else.
#[derive(Debug, Default)]
pub(crate) struct Session {
    stage: Stage,
    /// Who wants to be attached from the first word on.
    client: Option<OwnedFd>,
    /// Who else has the terminal.
    holder: Option<Holder>,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing runs, or it has its caller's streams.
    #[default]
    Quiet,
    /// The terminal is still to come.
    Waiting(Box<Log>),
    /// All is connected.
    Pumping(Box<Pump>),
}

impl Session {
    /// Of a run that is still to begin. `client` is one end of a line to somebody who wants to see all of it.
    pub(crate) fn new(client: Option<OwnedFd>) -> Self {
        Self { client, ..Self::default() }
    }

    /// For a command that is executed in a container that runs: its terminal, and `client`, who sees it; or nothing, because
    /// it has its caller's streams.
    pub(crate) fn beside(stdio: &Stdio, client: Option<OwnedFd>) -> Self {
        let stage = if matches!(stdio, Stdio::Terminal) { Stage::Waiting(Box::new(Log::none())) } else { Stage::Quiet };
        Self { stage, client, holder: None }
    }

    /// The client's descriptor, as long as it is nobody else's.
    pub(crate) fn client(&self) -> Option<RawFd> {
        self.client.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Makes what `spec` needs before its first process can be: pipes and a log, or nothing. `state` and `data` are the
    /// container's directories. In the foreground this process sees the output; else whoever attaches.
    ///
    /// # Errors
    ///
    /// When something cannot be made. It is all in the container's directories, and goes with them.
    pub(crate) fn begin(&mut self, spec: &Spec, detached: bool, (state, data): (&Path, &Path)) -> Result<Stdio> {
        let io = &spec.io;
        let attach = match io.attach {
            // Somebody who starts in the foreground what was made for the background wants to see it.
            Attach { stdout: false, stderr: false, .. } => Attach { stdout: true, stderr: true, ..io.attach },
            some => some,
        };
        if !detached && !io.tty && io.log.driver == Driver::None && attach.stdout && attach.stderr {
            return Ok(Stdio::Inherit { stdin: attach.stdin });
        }
        let log = Log::of(spec, data)?;
        if io.tty {
            self.stage = Stage::Waiting(Box::new(log));
            return Ok(Stdio::Terminal);
        }
        let (ends, stdio) = streams::make(io, state)?;
        let mut pump = Pump::new(ends, io.stdin, log)?;
        let stdio = if detached {
            pump::forget(state);
            pump.outlive(state)?;
            pump.listen(state)?;
            stdio
        } else {
            pump.attach_own(attach)?;
            stdio.with_own_input(attach.stdin)?
        };
        self.stage = Stage::Pumping(Box::new(pump));
        Ok(stdio)
    }

    /// Takes up the streams of a container that runs, and that nobody attends any more. If it has a terminal, that is with
    /// `holder`.
    ///
    /// # Errors
    ///
    /// When its pipes or its log cannot be opened, or its terminal is lost.
    pub(crate) fn adopt(spec: &Spec, (state, data): (&Path, &Path), holder: Task) -> Result<Self> {
        let io = &spec.io;
        if !io.tty && !state.join("stdout").exists() {
            return Ok(Self::default());
        }
        let log = Log::of(spec, data)?;
        let mut pump = match io.tty {
            true => Pump::new(Ends::Terminal(holder::master_of(holder)?), Stdin::Open, log)?,
            false => Pump::new(streams::reopen(io, state)?, io.stdin, log)?,
        };
        pump.outlive(state)?;
        pump.listen(state)?;
        Ok(Self { stage: Stage::Pumping(Box::new(pump)), ..Self::default() })
    }

    /// Who has the terminal beside this process; nobody's number if there is none.
    pub(crate) fn holder(&self) -> Task {
        self.holder.as_ref().map(|holder| holder.task).unwrap_or_default()
    }

    /// Waits for the terminal, if there is to be one, while the process at the other end of `channel` sets itself up. It is
    /// of this `size` at first. With `shared`, others can attach from then on, by the directory, and the terminal outlives
    /// this process, as long as the process behind the descriptor lives.
    ///
    /// # Errors
    ///
    /// What that process has failed of instead.
    pub(crate) fn connect(
        &mut self,
        channel: &ParentEnd,
        size: Option<Size>,
        shared: Option<(&Path, &OwnedFd)>,
    ) -> Result<()> {
        let log = match mem::take(&mut self.stage) {
            Stage::Waiting(log) => log,
            other => {
                self.stage = other;
                return Ok(());
            }
        };
        let master = channel.terminal()?;
        if let Some(size) = size {
            tty::resize(master.as_fd(), size).context(|| "size the terminal")?;
        }
        self.holder = shared.map(|(_, life)| Holder::spawn(master.as_fd(), life)).transpose()?;
        // The end of what somebody types is no end of a terminal's input.
        let mut pump = Pump::new(Ends::Terminal(master), Stdin::Open, *log)?;
        shared.map(|(dir, _)| pump.listen(dir)).transpose()?;
        self.client.take().into_iter().for_each(|socket| pump.attach(socket));
        self.stage = Stage::Pumping(Box::new(pump));
        Ok(())
    }

    /// What is to be watched beside the container's end.
    pub(crate) fn pump(&mut self) -> Option<&mut Pump> {
        match &mut self.stage {
            Stage::Pumping(pump) => Some(pump),
            _ => None,
        }
    }

    /// The container has ended: what it has still said goes to the log and to those who are attached. Answers how many lines
    /// the journal has not got.
    pub(crate) fn drain(&mut self) -> u64 {
        self.holder = None;
        match &mut self.stage {
            Stage::Pumping(pump) => pump.drain(),
            _ => 0,
        }
    }

    /// Tells those who are attached how it has ended. To be done when everything is put away: for them it is over then.
    pub(crate) fn farewell(&mut self, code: u8) {
        if let Stage::Pumping(pump) = mem::take(&mut self.stage) {
            pump.farewell(code);
        }
    }
}
