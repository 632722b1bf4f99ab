//! The texts of `/etc/hosts` and `/etc/resolv.conf`.

use std::net::IpAddr;

/// `/etc/hosts` of a container with these addresses. `lo` is there in every mode.
pub(crate) fn hosts(hostname: &str, addresses: &[IpAddr]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for address in addresses {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    text
}

/// What the plugins have said about name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dns {
    pub(crate) nameservers: Vec<String>,
    pub(crate) domain: Option<String>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

/// `/etc/resolv.conf` from what the plugins have said, if they named a server.
pub(crate) fn from_dns(dns: &Dns) -> Option<String> {
    if dns.nameservers.is_empty() {
        return None;
    }
    let mut text = String::new();
    if let Some(domain) = &dns.domain {
        text.push_str(&format!("domain {domain}\n"));
    }
    for (keyword, words) in [("search", &dns.search), ("options", &dns.options)] {
        if !words.is_empty() {
            text.push_str(&format!("{keyword} {}\n", words.join(" ")));
        }
    }
    for server in &dns.nameservers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    Some(text)
}

/// The host's `/etc/resolv.conf` without the servers that only the host can reach: those on its own loopback.
pub(crate) fn without_loopback(host: &str) -> String {
    let reachable = |line: &&str| match line.trim().strip_prefix("nameserver") {
        Some(server) => {
            let server = server.trim().split('%').next().unwrap_or_default();
            !server.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        None => true,
    };
    host.lines().filter(reachable).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_on_the_hosts_loopback_are_left_out() {
        let host = "# a comment\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\nsearch example.org\n";
        assert_eq!(without_loopback(host), "# a comment\nnameserver 192.0.2.1\nsearch example.org\n");
    }

    #[test]
    fn plugins_that_name_a_server_decide() {
        let mut dns = Dns { search: vec!["a".into(), "b".into()], ..Dns::default() };
        assert_eq!(from_dns(&dns), None);
        dns.nameservers.push("192.0.2.53".into());
        assert_eq!(from_dns(&dns).unwrap(), "search a b\nnameserver 192.0.2.53\n");
    }

    #[test]
    fn the_host_name_is_found_at_each_address() {
        let text = hosts("web", &["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]);
        assert!(text.ends_with("10.0.0.2\tweb\nfd00::2\tweb\n"));
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
    }
}
