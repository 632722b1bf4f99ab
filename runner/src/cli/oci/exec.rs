//! `exec`.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::oci::exec::{Request, exec};
use crate::oci::state::Home;

/// One more process, as typed.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The process as JSON, as in config.json
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["cwd", "env", "user", "tty", "cap"])]
    process: Option<PathBuf>,
    /// Come back when the command is executed
    #[arg(short, long)]
    detach: bool,
    /// Where to write the process' number
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// A unix socket that takes the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Where it starts
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Add to its environment
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Who it runs as
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Add a group
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Add a capability
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// It can never get more privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Leave so many descriptors behind standard error open
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Also in a frozen container, where it waits
    #[arg(long)]
    ignore_paused: bool,
    id: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(&self, home: &Home) -> Result<u8> {
        let request = Request {
            file: self.process.clone(),
            argv: self.command.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            user: self.user.as_deref().map(ids).transpose()?,
            groups: self.additional_gids.clone(),
            capabilities: self.cap.clone(),
            no_new_privileges: self.no_new_privs,
            tty: self.tty,
            detach: self.detach,
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            preserve_fds: self.preserve_fds,
            ignore_paused: self.ignore_paused,
        };
        exec(home, &self.id, &request)
    }
}

fn ids(text: &str) -> Result<(u32, u32)> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    let number =
        |text: &str| text.parse().map_err(|_| Error::new(format!("invalid user {text:?}: expected UID[:GID]")));
    Ok((number(uid)?, number(gid)?))
}
