//! The host's own links, rulesets and directories, which no test may touch.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use crate::files;
use crate::process::run;
use crate::state::difference;

static BEFORE: OnceLock<Vec<String>> = OnceLock::new();

/// Directories that plugins or runtimes write to.
const DIRECTORIES: [&str; 6] = ["/etc/cni", "/opt/cni", "/run/cni", "/run/netns", "/run/xnet", "/var/lib/cni"];

const FORWARDING: [&str; 2] = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

/// Takes the picture that every later one is compared with; the first call in a process counts.
pub(crate) fn remember() {
    BEFORE.get_or_init(look);
}

/// Panics when the host is not what it was when the process started its first node.
pub(crate) fn assert_untouched() {
    let changes = difference(BEFORE.get().expect("remember comes first"), &look());
    assert!(changes.is_empty(), "the host has changed:\n{}", changes.join("\n"));
}

fn look() -> Vec<String> {
    let mut lines: Vec<String> = told("ip", &["-br", "link"]).lines().map(name).collect();
    lines.extend(told("nft", &["-s", "list", "ruleset"]).lines().map(str::to_owned));
    lines.extend(FORWARDING.iter().map(|path| format!("{path} {:?}", fs::read_to_string(path).ok())));
    lines.extend(DIRECTORIES.iter().flat_map(|dir| files::lines(dir.as_ref())));
    lines
}

fn told(program: &str, arguments: &[&str]) -> String {
    let output = run(Command::new(program).args(arguments), b"");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("commands print UTF-8")
}

/// The rest of the line is state and flags, which follow carrier and time.
fn name(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_owned()
}
