//! Finding the command and executing it, and saying what is wrong when that fails.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, execve};

use crate::error::{Context, Error, Result};
use crate::seccomp::{self, Filter};
use crate::service::Sockets;
use crate::spec::Process;
use crate::trace;

use super::channel::ChildEnd;
use super::elf;

/// What is executed, when everything else is done.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    pub(crate) process: &'a Process,
    /// `HOME`, unless the environment says something else.
    pub(crate) home: Option<String>,
    /// To be installed at last.
    pub(crate) filters: &'a [Filter],
    /// What it gets beside its standard streams.
    pub(crate) sockets: Sockets,
}

impl Command<'_> {
    fn env(&self) -> Vec<String> {
        let mut env = self.process.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.extend(self.home.iter().map(|home| format!("HOME={home}")));
        }
        env
    }
}

/// Replaces this process by `command`.
pub(crate) fn exec(command: &Command<'_>, channel: &ChildEnd) -> Result<Infallible> {
    let mut env = command.env();
    command.sockets.hand_over(&mut env)?;
    let (argv, env) = (c_strings(&command.process.argv)?, c_strings(&env)?);
    let (filters, command_is_final) = (command.filters, command.process.no_new_privileges);
    let command = argv.first().ok_or_else(|| Error::new("no command given"))?;
    let program = find(command, search_path(&env))?;
    trace::mark_last();
    channel.executing()?;
    // A process that may still gain privileges has its filters already.
    if command_is_final {
        seccomp::install(filters)?;
    }
    let Err(errno) = execve(&program, &argv, &env);
    Err(explain(&program, errno))
}

/// Whether the command of `process` is there, seen from the present directory and by the present user.
pub(crate) fn check(process: &Process) -> Result<()> {
    let (argv, env) = (c_strings(&process.argv)?, c_strings(&process.env)?);
    let command = argv.first().ok_or_else(|| Error::new("no command given"))?;
    let program = find(command, search_path(&env))?;
    access(program.as_c_str(), AccessFlags::X_OK).map_err(|errno| explain(&program, errno))
}

/// The value of PATH in the command's own environment.
fn search_path(env: &[CString]) -> &[u8] {
    env.iter().rev().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH=")).unwrap_or_default()
}

/// The file that `command` means: itself if it has a slash, else the first executable of that name in `path`.
fn find(command: &CStr, path: &[u8]) -> Result<CString> {
    let name = command.to_bytes();
    if name.contains(&b'/') {
        return Ok(command.to_owned());
    }
    let text = command.to_string_lossy().into_owned();
    let mut refused = None;
    for dir in path.split(|b| *b == b':').filter(|dir| !dir.is_empty() && !name.is_empty()) {
        let candidate = Path::new(OsStr::from_bytes(dir)).join(OsStr::from_bytes(name));
        let Ok(meta) = fs::metadata(&candidate) else { continue };
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            return CString::new(candidate.as_os_str().as_bytes())
                .map_err(|_| Error::new("the command holds a NUL byte"));
        }
        refused.get_or_insert(candidate);
    }
    Err(match refused {
        Some(file) => Error::not_executable(format!("{}: it is not an executable file", file.display())),
        None => Error::not_found(format!("{text}: command not found in the container's PATH")),
    })
}

/// Why the kernel did not execute `program`. Its errno is about the file, or about the interpreter that the file names.
fn explain(program: &CStr, errno: Errno) -> Error {
    let path = Path::new(OsStr::from_bytes(program.to_bytes()));
    let shown = path.display();
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => match (path.exists(), elf::interpreter(path)) {
            (true, Some(interpreter)) => Error::not_found(format!(
                "{shown}: its interpreter {} does not exist in the container",
                interpreter.display()
            )),
            _ => Error::not_found(format!("{shown}: no such file in the container")),
        },
        Errno::ENOEXEC => match elf::foreign_machine(path) {
            Some(machine) => Error::not_executable(format!(
                "{shown}: exec format error: it is a program for {machine}, this host is {}, and there is no handler: \
                 try --platform linux/{machine} (which needs qemu-user-static on the host)",
                std::env::consts::ARCH
            )),
            None => Error::not_executable(format!(
                "{shown}: exec format error: neither a program nor a script with a #! line"
            )),
        },
        Errno::EACCES if path.is_dir() => Error::not_executable(format!("{shown}: it is a directory")),
        errno => Error::not_executable(format!("{shown}: {}", errno.desc())),
    }
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>> {
    let convert = |text: &String| CString::new(text.as_str()).map_err(std::io::Error::from);
    texts.iter().map(convert).collect::<Result<_, _>>().context(|| "an argument holds a NUL byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, mode: u32) {
        fs::write(dir.join(name), "x").unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_search_takes_the_first_executable_and_tells_absent_from_unusable() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        file(first.path(), "tool", 0o644);
        file(second.path(), "tool", 0o755);
        file(second.path(), "data", 0o644);
        let path = format!("{}:{}", first.path().display(), second.path().display());
        let found = find(c"tool", path.as_bytes()).unwrap();
        assert_eq!(found.to_str().unwrap(), second.path().join("tool").to_str().unwrap());
        assert_eq!(find(c"data", path.as_bytes()).unwrap_err().status.code(), 126);
        assert_eq!(find(c"none", path.as_bytes()).unwrap_err().status.code(), 127);
        assert_eq!(find(c"", path.as_bytes()).unwrap_err().status.code(), 127);
    }
}
