//! `resolvConf`: a file in the form of resolv.conf(5), handed on to the container's resolver.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cni::Error;
use cni::result::Dns;

use super::store::reason;

/// Far more than any resolver reads, and little enough to hold.
const MAX: u64 = 1 << 20;

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Dns, Error> {
    let failed =
        |verb: &str, error: &io::Error| Error::internal(format!("{verb} {}: {}", path.display(), reason(error)));
    let file = File::open(path).map_err(|error| failed("open", &error))?;
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).map_err(|error| failed("read", &error))?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// Lines that are comments, or have no value, or a keyword that is not known, are passed over.
fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(keyword), Some(first)) = (words.next(), words.next()) else { continue };
        let all = std::iter::once(first.clone()).chain(words);
        match keyword.as_str() {
            "nameserver" => dns.nameservers.push(first),
            "domain" => dns.domain = first,
            "search" => dns.search.extend(all),
            "options" => dns.options.extend(all),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_lists_and_keeps_the_last_domain() {
        let dns = parse(
            "; a comment\n# another\n nameserver 10.0.0.53 # the first\nnameserver\nnameserver fd00::53\n\
             domain one.test\ndomain two.test\nsearch a.test b.test\nsearch c.test\noptions ndots:2 rotate\n\
             sortlist 10.0.0.0\noptions edns0\r\n",
        );
        assert_eq!(
            dns,
            Dns {
                nameservers: vec!["10.0.0.53".into(), "fd00::53".into()],
                domain: "two.test".into(),
                search: vec!["a.test".into(), "b.test".into(), "c.test".into()],
                options: vec!["ndots:2".into(), "rotate".into(), "edns0".into()],
            }
        );
    }

    #[test]
    fn says_which_file_and_why() {
        assert_eq!(read(Path::new("/nonexist")).unwrap_err().msg, "open /nonexist: no such file or directory");
        assert_eq!(read(Path::new("/etc")).unwrap_err().msg, "read /etc: is a directory");
    }
}
