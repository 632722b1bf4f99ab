//! The administrator's list of parameters that configurations may set.

use std::fs;
use std::io;
use std::path::Path;

use cni::Error;
use kernel::sentence;
use nix::errno::Errno;
use regex_lite::Regex;

/// Where the list is; without one everything is allowed.
pub(super) const PATH: &str = "/etc/cni/tuning/allowlist.conf";

/// Refuses a key that no line of the list at `path` matches. A line is a regular expression, and it need not match the
/// whole key.
///
/// # Errors
///
/// When a key is not allowed, or the list can't be read or understood.
pub(super) fn check<'a>(path: &Path, mut keys: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let text = match fs::read(path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::internal(format!("open {}: {}", path.display(), reason(&error)))),
    };
    let lines: Vec<&str> = text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect();
    // Compiled when they are needed, so that an error in one counts only if nothing before it matches.
    let mut compiled: Vec<Regex> = Vec::new();
    keys.try_for_each(|key| match is_allowed(key, &lines, &mut compiled)? {
        true => Ok(()),
        false => Err(Error::internal(format!(
            "Sysctl {key} is not allowed. Only the following sysctls are allowed: [{}]",
            lines.join(" ")
        ))),
    })
}

fn is_allowed(key: &str, lines: &[&str], compiled: &mut Vec<Regex>) -> Result<bool, Error> {
    for (at, line) in lines.iter().enumerate() {
        if compiled.len() == at {
            let regex = Regex::new(line);
            let broken = |error| Error::internal(format!("error parsing regexp: {error}: `{line}`"));
            compiled.push(regex.map_err(broken)?);
        }
        if compiled[at].is_match(key) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The kernel's reason for an error.
pub(super) fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |raw| sentence(Errno::from_raw(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(list: &[u8], keys: &[&str]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allowlist.conf");
        fs::write(&path, list).unwrap();
        check(&path, keys.iter().copied()).map_err(|error| error.msg)
    }

    #[test]
    fn what_a_line_matches_is_allowed() {
        let list = b"  ^net\\.ipv4\\.conf\\.(eth[0-9]+|IFNAME)\\.arp_\r\n\n\nnet/core\n\xff\n";
        let table = [
            ("net.ipv4.conf.eth12.arp_notify", true),
            ("net.ipv4.conf.IFNAME.arp_filter", true),
            ("net/ipv4/conf/eth0/arp_notify", false),
            ("xnet/core/somaxconn", true),
            ("net.core.somaxconn", true), // a dot matches a slash, not the other way round: see below
            ("net.ipv4.ip_forward", false),
        ];
        for (key, allowed) in table {
            let list = String::from_utf8_lossy(list).replace("net/core", "net.core").into_bytes();
            assert_eq!(verdict(&list, &[key]).is_ok(), allowed, "{key}");
        }
        assert!(verdict(list, &["net.core.somaxconn"]).is_err());
        assert_eq!(verdict(list, &[]), Ok(()));
    }

    #[test]
    fn refusals_list_what_is_allowed() {
        let text = "Sysctl net.x is not allowed. Only the following sysctls are allowed: [net.a net.b]";
        assert_eq!(verdict(b"net.a\n\n net.b \n", &["net.a", "net.x"]), Err(text.to_owned()));
        let nothing = "Sysctl net.x is not allowed. Only the following sysctls are allowed: []";
        assert_eq!(verdict(b"\n", &["net.x"]), Err(nothing.to_owned()));
    }

    #[test]
    fn a_list_that_is_none() {
        assert_eq!(verdict(b"net.a\n(", &["net.a"]), Ok(()));
        let error = verdict(b"net.a\n(", &["net.b"]).unwrap_err();
        assert!(error.starts_with("error parsing regexp: ") && error.ends_with(": `(`"), "{error}");
        let error = check(Path::new("/proc/self/mem"), ["net.a"].into_iter()).unwrap_err().msg;
        assert_eq!(error, "open /proc/self/mem: I/O error");
        assert!(check(Path::new("/nonexistent/x"), ["net.a"].into_iter()).is_ok());
    }
}
