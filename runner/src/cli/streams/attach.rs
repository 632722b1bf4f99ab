//! `xnet attach`.

use clap::Args;

use crate::cli::complain;
use crate::container;
use crate::error::Result;
use crate::io::attach::{self, Options};
use crate::process::signals::Signals;
use crate::spec::Dirs;

use super::{Attaching, check_terminal, running, status};

/// Which container, and what of it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Attach {
    /// Do not send what is typed
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    attaching: Attaching,
    /// An id, a name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Attach {
    /// Stays until the container ends; answers its status, or 0 when the detach keys were typed.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let view = running(&store, &self.container)?;
        let io = &view.spec.io;
        let all = self.attaching.options(io);
        let options = Options { stdin: all.stdin && !self.no_stdin, ..all };
        check_terminal(options.stdin, io.tty)?;
        let signals = Signals::block()?;
        attach::run(attach::connect(&view.state)?, &options, &signals).map(status)
    }
}
