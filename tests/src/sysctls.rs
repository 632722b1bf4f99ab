//! The network settings that plugins touch: forwarding, and all there is for each interface.

use std::fs;
use std::path::Path;

use crate::normal::Names;

/// The settings of the calling thread's namespace, one a line.
pub(crate) fn lines(names: &Names) -> Vec<String> {
    let mut lines = vec![format!("sysctl net.ipv4.ip_forward={}", value("/proc/sys/net/ipv4/ip_forward".as_ref()))];
    for family in ["ipv4", "ipv6"] {
        let root = format!("/proc/sys/net/{family}/conf");
        for interface in names_in(root.as_ref()) {
            let dir = Path::new(&root).join(&interface);
            for key in names_in(&dir) {
                let value = value(&dir.join(&key));
                lines.push(format!("sysctl net.{family}.conf.{}.{key}={value}", names.text(&interface)));
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
