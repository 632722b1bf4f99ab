//! Where the two suites differ on purpose, in every row.

/// Lines that may differ anywhere, with the reason: `- ` is the Go suite's, `+ ` ours, `*` any text.
const EVERYWHERE: [(&str, &str); 9] = [
    ("+ *: answer.details=*", "errors name the object, where the Go suite says nothing more"),
    ("+ *: state node: directory */.index mode=0700", "a pool has an index, which is a cache"),
    ("+ *: state node: file */.index/*", "a pool has an index, which is a cache"),
    ("+ *: state node: link veth(*) ifalias=*", "links carry their owner, so that DEL and GC find them"),
    ("+ *: state c*: link * txqlen=1000", "since 1.2 the container's end keeps the kernel's default"),
    ("- *: state c*: sysctl net.ipv6.conf.*.keep_addr_on_down=0", "since 1.4 addresses outlive a link that is down"),
    ("+ *: state c*: sysctl net.ipv6.conf.*.keep_addr_on_down=1", "since 1.4 addresses outlive a link that is down"),
    ("- *: state node: link *0 address=00:00:00:00:00:00", "a bridge keeps its MAC when its last port goes"),
    ("+ *: state node: link *0 address=mac(own)", "a bridge keeps its MAC when its last port goes"),
];

/// Whether a line of a difference is one of those that are wanted in every row.
pub(crate) fn is_wanted_everywhere(line: &str) -> bool {
    EVERYWHERE.iter().any(|(glob, _)| matches(glob, line))
}

/// A line of a life without what differs on purpose inside of it.
pub(crate) fn comparable(line: String) -> String {
    // Ours asks for no duplicate detection by a flag of the address; the Go suite switches it off for the interface.
    line.replace(r#","nodad":true"#, "")
}

/// What later releases of the Go suite say and do in another way than the one compared with here, 1.1.1. Ours goes with
/// the later ones.
pub(crate) fn of_today(line: String) -> String {
    const CHANGES: [(&str, &str); 7] = [
        (" mode=0644 ", " mode=0600 "),
        // In layer 2 the port was not waited for.
        (r#"info_slave_data.state="disabled""#, r#"info_slave_data.state="forwarding""#),
        (r#""0.4.0\" \"1.0.0\"]"#, r#""0.4.0\" \"1.0.0\" \"1.1.0\"]"#),
        (
            "container veth name provided (eth0) already",
            r#"container veth name (\"eth0\") peer provided (\"veth(?)\") already"#,
        ),
        ("GW:10.1.0.1} not found", "GW:10.1.0.1 MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>} not found"),
        ("promiscuous mode at the same time.", "promiscuous mode at the same time"),
        ("/usr/lib/cni]", "(plugins)]"),
    ];
    CHANGES.iter().fold(line, |line, (then, today)| line.replacen(then, today, 1))
}

/// Whether the text is what the pattern says, where `*` is any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
}

/// What a failed ADD of the Go suite leaves, and DEL without a namespace.
pub(crate) const ATTACHMENT: &[&str] = &[
    "- *: state node: link veth(*",
    "- *: state node: sysctl net.*.conf.veth(*",
    "- *: state c*: link eth0 *",
    "- *: state c*: sysctl net.*.conf.eth0.*",
    "- *: state c*: address eth0 *",
    r#"- *: state c*: route *"dev":"eth0"*"#,
    // The bridge has the MAC of a port as long as it has one.
    "- *: state node: link br0 address=mac(own)",
    "+ *: state node: link br0 address=00:00:00:00:00:00",
];

/// What the Go suite has made when it comes to look at what it was given.
pub(crate) const BRIDGE: &[&str] = &[
    "- *: state node: link br0 *",
    "- *: state node: address br0 *",
    "- *: state node: sysctl net.*.conf.br0.*",
    r#"- *: state node: route *"dev":"br0"*"#,
];
