//! The text of `/etc/resolv.conf`.
//!
//! Who has a say, part by part (servers, search list, options): the caller's `--dns*`, then the networks' plugins, then the
//! host. In a namespace of its own a container can't reach the servers on the host's loopback, so those are left out; where
//! nothing else is there, as on hosts with systemd-resolved, its list of the servers behind it is taken.

use std::fs;
use std::net::IpAddr;

use crate::spec::{Dns, NetMode};

/// What the plugins of all networks have said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

const HOST: &str = "/etc/resolv.conf";
/// Where systemd-resolved says which servers it asks.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

impl Answers {
    /// Adds what one network has said.
    pub(crate) fn add(&mut self, dns: &cni::result::Dns) {
        let append = |to: &mut Vec<String>, from: &[String]| {
            for word in from {
                if !to.contains(word) {
                    to.push(word.clone());
                }
            }
        };
        append(&mut self.servers, &dns.nameservers);
        if !dns.domain.is_empty() {
            append(&mut self.search, std::slice::from_ref(&dns.domain));
        }
        append(&mut self.search, &dns.search);
        append(&mut self.options, &dns.options);
    }
}

/// The file for a container in `mode`.
pub(super) fn text(mode: &NetMode, asked: &Dns, answers: &Answers) -> String {
    let host = fs::read_to_string(HOST).unwrap_or_default();
    let host = match mode {
        NetMode::Host => host,
        _ => match without_loopback(&host) {
            rest if has_server(&rest) || !has_server(&host) => rest,
            rest => fs::read_to_string(BEHIND_STUB).map_or(rest, |behind| without_loopback(&behind)),
        },
    };
    compose(&host, asked, answers)
}

/// The host's text where nobody has said anything else; otherwise each part from who has.
fn compose(host: &str, asked: &Dns, answers: &Answers) -> String {
    let asked_servers: Vec<String> = asked.servers.iter().map(ToString::to_string).collect();
    let parts = [
        ("search", &asked.search, &answers.search),
        ("options", &asked.options, &answers.options),
        ("nameserver", &asked_servers, &answers.servers),
    ];
    let mut text = String::new();
    let mut replaced = Vec::new();
    for (keyword, first, second) in parts {
        let words = if first.is_empty() { second } else { first };
        if words.is_empty() {
            continue;
        }
        replaced.push(keyword);
        match keyword {
            // One dot alone means no search list.
            "search" if words.iter().any(|word| word == ".") => {}
            "nameserver" => text.extend(words.iter().map(|server| format!("nameserver {server}\n"))),
            _ => text.push_str(&format!("{keyword} {}\n", words.join(" "))),
        }
    }
    // The older word for a search list of one.
    let keyword = |line: &str| match line.split_whitespace().next() {
        Some("domain") => Some("search".to_owned()),
        word => word.map(str::to_owned),
    };
    // Of a list that others have made, the host's rest means nothing.
    let foreign = replaced.contains(&"nameserver") && asked.servers.is_empty();
    let kept = host.lines().filter(|line| !foreign && !keyword(line).is_some_and(|word| replaced.contains(&&*word)));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    kept + &text
}

fn server(line: &str) -> Option<&str> {
    line.trim().strip_prefix("nameserver").map(|server| server.trim().split('%').next().unwrap_or_default())
}

fn has_server(text: &str) -> bool {
    text.lines().any(|line| server(line).is_some())
}

/// Without the servers that only the host can reach: those on its own loopback.
fn without_loopback(host: &str) -> String {
    let is_loopback = |server: &str| server.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    let lines = host.lines().filter(|line| !server(line).is_some_and(is_loopback));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str =
        "# a comment\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\nsearch example.org\n";

    /// Requirement: F-dns.
    #[test]
    fn resolvers_on_the_hosts_loopback_are_left_out() {
        assert_eq!(without_loopback(HOSTS), "# a comment\nnameserver 192.0.2.1\nsearch example.org\n");
    }

    #[test]
    fn plugins_that_name_a_server_decide_and_the_caller_before_them() {
        let mut answers = Answers::default();
        let dns = cni::result::Dns {
            nameservers: vec!["192.0.2.53".into()],
            domain: "a".into(),
            search: vec!["b".into()],
            ..Default::default()
        };
        answers.add(&dns);
        assert_eq!(compose(HOSTS, &Dns::default(), &answers), "search a b\nnameserver 192.0.2.53\n");
        let asked = Dns { servers: vec!["8.8.8.8".parse().unwrap()], ..Dns::default() };
        let text = compose(HOSTS, &asked, &Answers::default());
        assert_eq!(text, "# a comment\nsearch example.org\nnameserver 8.8.8.8\n");
        let asked = Dns { search: vec![".".into()], options: vec!["ndots:2".into()], ..asked };
        assert_eq!(compose(HOSTS, &asked, &answers), "# a comment\noptions ndots:2\nnameserver 8.8.8.8\n");
    }
}
