//! Finding and running `iptables-save` and `iptables-restore`.

use std::env;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, Family, Variant};

/// Where the programs are on nodes whose container runtime runs with a user's search path.
const SYSTEM: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Runs `iptables-<what>` of `family` and `variant` with `input`, and returns its standard output.
pub(super) fn run(
    family: Family,
    variant: Variant,
    what: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String, Error> {
    let program = path(family, variant, what)?;
    let failed = |error| Error::Run(program.clone(), error);
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(input.as_bytes()),
        None => Ok(()),
    };
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(Error::Refused {
            reason: reason(&String::from_utf8_lossy(&output.stderr)),
            status: output.status,
            input: input.lines().collect::<Vec<_>>().join("; "),
            program,
        });
    }
    written.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where `iptables-<what>` of `family` and `variant` is.
pub(super) fn path(family: Family, variant: Variant, what: &str) -> Result<PathBuf, Error> {
    let names = names(family, variant, what);
    names.iter().find_map(|name| find(name)).ok_or_else(|| Error::Missing(names[0].clone()))
}

/// The names under which distributions install the program, the surest first.
fn names(family: Family, variant: Variant, what: &str) -> Vec<String> {
    let plain = format!("{}-{what}", family.command());
    match variant {
        Variant::Default => vec![plain],
        Variant::Nft => vec![format!("{}-nft-{what}", family.command()), plain],
        Variant::Legacy => vec![format!("{}-legacy-{what}", family.command()), plain],
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| is_executable(program))
}

fn is_executable(program: &Path) -> bool {
    program.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// What the program complains about, in one line, without its usual advice to read its manual.
fn reason(stderr: &str) -> String {
    let lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines.filter(|line| !line.starts_with("Try `") && !line.starts_with("# Warning:"));
    telling.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_one_line_without_advice() {
        let stderr = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n\
                      iptables-restore v1.8.9 (nf_tables): Chain 'CNI-abc' does not exist\nError occurred at line: 5\n\
                      Try `iptables-restore -h' or 'iptables-restore --help' for more information.\n";
        let expected = "iptables-restore v1.8.9 (nf_tables): Chain 'CNI-abc' does not exist; Error occurred at line: 5";
        assert_eq!(reason(stderr), expected);
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let found = find("iptables-that-nobody-has");
        assert_eq!(found, None);
        let error = Error::Missing("iptables-restore".into()).to_string();
        assert!(error.contains("install the package iptables"), "{error}");
    }
}
