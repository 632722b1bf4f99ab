//! The environment of a command: files of it, and single variables.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::error::{Context, Error, Result};

/// Environment variables.
#[derive(Debug, Args)]
#[command(next_help_heading = "Environment")]
pub(in crate::cli) struct EnvFlags {
    /// Set an environment variable; without a value it is taken from the caller's environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<OsString>,
    /// Read environment variables from a file, one a line, before those of --env
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
}

impl EnvFlags {
    /// `base` with what the files say, and then what `-e` says; a later value of the same variable replaces an earlier one.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, a variable without a name, or one that is no text.
    pub(in crate::cli) fn over(&self, base: Vec<String>) -> Result<Vec<String>> {
        let mut all = base;
        for path in &self.env_file {
            let file = fs::read_to_string(path).context(|| format!("read the environment file {}", path.display()))?;
            // Blanks within a line belong to the value; a line that begins with # is a remark.
            for line in file.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                set(&mut all, line).context(|| format!("the environment file {}", path.display()))?;
            }
        }
        for entry in &self.env {
            set(&mut all, &text(entry)?)?;
        }
        Ok(all)
    }
}

fn set(all: &mut Vec<String>, entry: &str) -> Result<()> {
    let key = key(entry);
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(Error::new(format!("invalid environment entry {entry:?}: it has no name, or one with blanks")));
    }
    let value = match key.len() < entry.len() {
        true => Some(entry.to_owned()),
        false => env::var_os(entry).map(|value| text(&value)).transpose()?.map(|value| format!("{entry}={value}")),
    };
    // One that the caller does not have is taken away.
    all.retain(|old| self::key(old) != key);
    all.extend(value);
    Ok(())
}

/// Arguments and variables are written down as JSON, which holds text only.
///
/// # Errors
///
/// When `word` is no text, or could not be an argument.
pub(in crate::cli) fn text(word: &OsStr) -> Result<String> {
    let word = word.to_str().ok_or_else(|| Error::new(format!("{} is not UTF-8", word.display())))?;
    if word.contains('\0') {
        return Err(Error::new(format!("{word:?} holds a NUL byte")));
    }
    Ok(word.to_owned())
}

/// The part before the first `=`.
fn key(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: F-env.
    #[test]
    fn files_come_before_single_variables_and_the_last_value_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        fs::write(&path, "# remark\nA=1\n\n  B=two words # not a remark\nC=3\nPATH\nXNET_NO_SUCH_VARIABLE\n").unwrap();
        let flags = EnvFlags { env: vec!["C=4".into(), "D=".into()], env_file: vec![path.clone()] };
        let path_entry = format!("PATH={}", env::var("PATH").unwrap());
        let expected = ["A=1", "B=two words # not a remark", &path_entry, "C=4", "D="];
        assert_eq!(flags.over(vec!["A=0".into(), "PATH=/x".into()]).unwrap(), expected);
        fs::write(&path, "a b=1\n").unwrap();
        assert!(flags.over(Vec::new()).unwrap_err().message.contains("no name, or one with blanks"));
        let absent = EnvFlags { env: Vec::new(), env_file: vec!["/no/such/file".into()] };
        assert!(absent.over(Vec::new()).is_err());
    }
}
