//! The network settings that plugins touch: a few of the namespace, and all there is for each interface.

use std::fs;
use std::path::Path;

use crate::normal::Names;
use crate::state::Look;

/// Settings of the whole namespace: forwarding, and those that the stories about tuning change.
const SHARED: [&str; 5] = [
    "core/somaxconn",
    "ipv4/ip_forward",
    "ipv4/ip_local_port_range",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/tcp_syncookies",
];

/// What is in every namespace, and hardly ever changed; a quick look leaves it out.
const EVERYWHERE: [&str; 3] = ["all", "default", "lo"];

/// The settings of the calling thread's namespace, one a line.
pub(crate) fn lines(look: Look, names: &Names) -> Vec<String> {
    let shared = SHARED
        .iter()
        .map(|key| format!("sysctl net.{}={}", key.replace('/', "."), value(&Path::new("/proc/sys/net").join(key))));
    let mut lines: Vec<String> = shared.collect();
    for family in ["ipv4", "ipv6"] {
        let root = format!("/proc/sys/net/{family}/conf");
        for interface in names_in(root.as_ref()) {
            if look == Look::Quick && EVERYWHERE.contains(&interface.as_str()) {
                continue;
            }
            let dir = Path::new(&root).join(&interface);
            let interface = names.text(&interface);
            for key in names_in(&dir) {
                let value = value(&dir.join(&key));
                lines.push(format!("sysctl net.{family}.conf.{interface}.{key}={value}"));
            }
        }
    }
    lines
}

/// What can not be read has no value: `stable_secret` before it is set, or a link that has just gone.
fn value(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// None when the directory does not exist, as without IPv6.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.map(|entry| entry.expect("read a directory").file_name().into_string().expect("names are ASCII")).collect()
}
