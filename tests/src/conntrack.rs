//! The connections that the kernel follows, without what changes from one moment to the next.

use std::fs;

/// Members of an entry that count or name references.
const VOLATILE: [&str; 6] = ["bytes=", "delta-time=", "packets=", "secctx=", "use=", "zone="];

/// Clients draw their ports from here on.
const FIRST_EPHEMERAL: u16 = 32768;

/// The entries of the calling thread's namespace, one a line: `conntrack ipv4 tcp src=... dst=... ...`, first as the
/// client sees it and then as the server does. None without connection tracking.
/// What has no ports is the kernel's own talk, such as reports of multicast groups, and comes at any time.
pub(crate) fn lines() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap_or_default();
    text.lines().filter(|entry| entry.contains(" sport=")).map(line).collect()
}

/// `ipv4 2 tcp 6 117 TIME_WAIT src=10.1.0.2 dst=10.1.0.1 sport=40000 dport=80 src=... [ASSURED] mark=0 zone=0 use=2`.
fn line(entry: &str) -> String {
    let mut words = entry.split_ascii_whitespace();
    let (family, _, protocol) = (words.next(), words.next(), words.next());
    let tuples = words.filter(|word| word.contains('=') && !VOLATILE.iter().any(|key| word.starts_with(key)));
    let tuples: Vec<String> = tuples.map(without_chosen_port).collect();
    format!("conntrack {} {} {}", family.unwrap_or(""), protocol.unwrap_or(""), tuples.join(" "))
}

fn without_chosen_port(word: &str) -> String {
    match word.split_once("port=") {
        Some((side, port)) if port.parse().is_ok_and(|port: u16| port >= FIRST_EPHEMERAL) => format!("{side}port=*"),
        _ => word.to_owned(),
    }
}

/// Whether a line is of packets that go to another address than the client believes, which only a port mapping makes.
pub(crate) fn is_mapped(line: &str) -> bool {
    let values = |key: &str| line.split(' ').filter_map(|word| word.strip_prefix(key)).collect::<Vec<_>>();
    let (sources, destinations) = (values("src="), values("dst="));
    sources.get(1).is_some_and(|server| destinations.first() != Some(server))
}

#[cfg(test)]
mod tests {
    use super::{is_mapped, line};

    const ENTRY: &str = "ipv4     2 udp      17 25 src=127.0.0.1 dst=127.0.0.1 sport=33000 dport=5353 [UNREPLIED] \
        src=10.1.0.2 dst=10.1.0.1 sport=53 dport=33000 mark=0 zone=0 use=2";

    #[test]
    fn what_drifts_is_left_out() {
        let told = "conntrack ipv4 udp src=127.0.0.1 dst=127.0.0.1 sport=* dport=5353 src=10.1.0.2 dst=10.1.0.1 sport=53 \
                    dport=* mark=0";
        assert_eq!(line(ENTRY), told);
    }

    #[test]
    fn a_mapped_connection_is_answered_by_somebody_else() {
        assert!(is_mapped(&line(ENTRY)));
        assert!(is_mapped(&line(&ENTRY.replace("udp      17", "tcp      6"))));
        let masked = "src=10.1.0.2 dst=192.0.2.2 sport=1 dport=2 src=192.0.2.2 dst=192.0.2.1 sport=2 dport=1";
        assert!(!is_mapped(&line(&format!("ipv4 2 tcp 6 9 CLOSE {masked} use=1"))));
    }
}
