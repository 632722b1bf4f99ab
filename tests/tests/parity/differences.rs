//! Where the two suites differ on purpose, in every row.

/// Lines that may differ anywhere, with the reason: `- ` is the Go suite's, `+ ` ours, `*` any text.
const EVERYWHERE: &[(&str, &str)] = &[
    ("+ *: answer.details=*", "errors name the object, where the Go suite says nothing more"),
    ("+ *: state node: directory */.index mode=0700", "a pool has an index, which is a cache"),
    ("+ *: state node: file */.index/*", "a pool has an index, which is a cache"),
    ("+ *: state node: link veth(*) ifalias=*", "links carry their owner, so that DEL and GC find them"),
    ("+ *: state c*: link * txqlen=1000", "since 1.2 the container's end keeps the kernel's default"),
    ("- *: state c*: sysctl net.ipv6.conf.*.keep_addr_on_down=0", "since 1.4 addresses outlive a link that is down"),
    ("+ *: state c*: sysctl net.ipv6.conf.*.keep_addr_on_down=1", "since 1.4 addresses outlive a link that is down"),
    ("- *: state node: link *0 address=00:00:00:00:00:00", "a bridge keeps its MAC when its last port goes"),
    ("+ *: state node: link *0 address=mac(own)", "a bridge keeps its MAC when its last port goes"),
    ("+ *: state node: link bwp* ifalias=*", "links carry their owner, so that DEL and GC find them"),
    (r#"- *: state node: filter veth(*) *"kind":"mirred"*"kind":"mirred"*"#, "a packet is redirected once"),
    (r#"+ *: state node: filter veth(*) *"kind":"mirred"*"type":"stolen"}}]}}"#, "a packet is redirected once"),
    (r#"- *("DEL*): state node: qdisc veth(*"#, "DEL leaves the host's end as it was"),
    (r#"- *("DEL*): state node: filter veth(*"#, "DEL leaves the host's end as it was"),
    ("- *: state node: directory /run/cni/* mode=0600", "a directory without x is one that nobody but root can use"),
    ("+ *: state node: directory /run/cni/* mode=0700", "a directory without x is one that nobody but root can use"),
    ("+ *: state node: ip*tables-save * chain XNET-*", "a chain that nothing leads to says whose addresses are"),
    ("+ *: state node: ip*tables-save * -A XNET-*", "a chain that nothing leads to says whose addresses are"),
    ("- *: state c*: sysctl net.ipv6.conf.*.accept_dad=1", "IPAM has seen to it that addresses are unique"),
    (
        "- *: state c*: sysctl net.ipv6.conf.*.accept_dad=-1",
        "the kernel tries no addresses on links without neighbours",
    ),
    ("+ *: state c*: sysctl net.ipv6.conf.*.accept_dad=0", "IPAM has seen to it that addresses are unique"),
    ("- *: state node: sysctl net.ipv6.conf.veth(*).accept_dad=1", "nobody else is on a link of two"),
    ("+ *: state node: sysctl net.ipv6.conf.veth(*).accept_dad=0", "nobody else is on a link of two"),
    ("+ *: answer.interfaces[*].mtu=*", "1.1.0 has room for MTUs"),
    ("+ *: state node: directory /run/cni/host-device mode=0755", "what a device loses on its way is on record"),
    ("+ *: state node: file /run/cni/host-device/*", "what a device loses on its way is on record"),
    ("- *: state c*: sysctl net.ipv*.conf.*_notify=0", "neighbours may know a device's addresses from another link"),
    ("+ *: state c*: sysctl net.ipv*.conf.*_notify=1", "neighbours may know a device's addresses from another link"),
];

/// Whether a line of a difference is one of those that are wanted in every row.
pub(crate) fn is_wanted_everywhere(line: &str) -> bool {
    EVERYWHERE.iter().any(|(glob, _)| matches(glob, line))
}

/// A line of a life without what differs on purpose inside of it.
pub(crate) fn comparable(line: String) -> String {
    // Ours asks for no duplicate detection by a flag of the address; the Go suite switches it off for the interface.
    let line = line.replace(r#","nodad":true"#, "");
    // Ours has no route to be deleted; what routes there are is compared.
    let line = line.replace(r#","noprefixroute":true"#, "");
    // A member of ours in the backups of tuning, which says whose they are and what the sysctls were.
    match line.split_once(r#",\n \"xnet\": {"#) {
        Some((shared, _)) if line.contains(": file /run/cni/") => format!(r#"{shared}\n}}""#),
        _ => line,
    }
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

/// What later releases have mended in chained plugins, as lines of the difference to Debian's stable release. Only that
/// is compared without these lines, and only where there is no later release.
const MENDED: &[(&str, &str)] = &[
    ("- *Call(\"CHECK\"*): answer.code=999", "portmap looked for rules of one family in the other"),
    (
        "- *Call(\"CHECK\"*): answer.msg=\"could not check ipv* dnat: *",
        "portmap looked for rules of one family in the other",
    ),
    ("- *Call(\"CHECK\"*): succeeded=false", "portmap looked for rules of one family in the other"),
    ("+ *Call(\"CHECK\"*): succeeded=true", "portmap looked for rules of one family in the other"),
    ("+ *: state node: sysctl net.ipv4.conf.br0.route_localnet=0", "portmap changed the setting before it could fail"),
    ("- *: state node: sysctl net.ipv4.conf.br0.route_localnet=1", "portmap changed the setting before it could fail"),
    ("- *: answer.msg=*result type supports [1.0.0] but *", "there was no 1.1.0"),
    ("+ *: answer.msg=*result type supports [1.0.0 1.1.0] but *", "there was no 1.1.0"),
    (
        "- *: state node: ip*tables-save * \"CNI firewall plugin rules (ingressPolicy: same-bridge)\" *",
        "there was no isolation",
    ),
    (
        "+ *: state node: ip*tables-save * \"CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)\" *",
        "there was no isolation",
    ),
    ("- *: answer.msg=\"Failed to get link eth0: Link not found\"", "sbr needed a link to delete nothing"),
    ("- *Call(\"DEL\"*): answer.code=999", "sbr needed a link to delete nothing"),
    ("- *Call(\"DEL\"*): succeeded=false", "sbr needed a link to delete nothing"),
    ("+ *Call(\"DEL\"*): succeeded=true", "sbr needed a link to delete nothing"),
    ("- *Call(\"CHECK\"*): succeeded=true", "tuning's CHECK did not look at queues"),
    ("+ *Call(\"CHECK\"*): succeeded=false", "tuning's CHECK did not look at queues"),
    ("+ *Call(\"CHECK\"*): answer.code=999", "tuning's CHECK did not look at queues"),
    ("- *: answer.msg=\"open /proc/sys/net/ipv*/conf/IFNAME/*", "tuning's CHECK took IFNAME for a name"),
    ("- *: answer.msg=\"invalid net sysctl key: *", "a key was told as it was written"),
    ("- *: state c1: link eth0 txqlen=*", "tuning knew no queues"),
    ("+ *: state c1: link eth0 txqlen=*", "tuning knew no queues"),
    ("- *: state node: file /run/cni/*/c1_eth0.json *", "tuning knew no queues"),
    ("+ *: state node: file /run/cni/*/c1_eth0.json *", "tuning knew no queues"),
    ("- *: answer.msg=\"Error: Tuning configured value of *", "tuning's CHECK read any sysctl"),
    ("+ *: answer.msg=\"invalid net sysctl key: *", "tuning's CHECK read any sysctl"),
];

/// Whether a line of a difference to Debian's stable release tells of something that has been mended since.
pub(crate) fn has_changed_since(line: &str) -> bool {
    MENDED.iter().any(|(glob, _)| matches(glob, line))
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
    "- *: state node: address veth(*",
    r#"- *: state node: route *"dev":"veth(*"#,
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

/// The rules that the Go suite has made when iptables refuses one.
pub(crate) const RULES: &[&str] = &[
    "- *: state node: ip*tables-save *",
    "- *: state node: sysctl net.ipv4.conf.br0.route_localnet=1",
    "+ *: state node: sysctl net.ipv4.conf.br0.route_localnet=0",
];

/// What the Go suite does not restore, and the backup for it.
pub(crate) const SYSCTLS: &[&str] = &[
    "- *(\"DEL*): state c1: sysctl *",
    "+ *(\"DEL*): state c1: sysctl *",
    "+ *: state node: file /run/cni/tuning/c1_eth0.json *",
    "+ *: state node: directory /run/cni *",
];

/// What the Go suite's ptp has set in the host, and host-local kept in mind, when it comes to look at the rest.
pub(crate) const HOST: &[&str] = &[
    "- *: state node: sysctl net.ipv4.ip_forward=1",
    "- *: state node: sysctl net.*forwarding=1",
    "+ *: state node: sysctl net.*forwarding=0",
    "+ *: state node: sysctl net.ipv4.ip_forward=0",
    "+ *: state node: sysctl net.ipv*.conf.*",
    "- *: state node: sysctl net.ipv*.conf.*",
    "- *: state node: directory /var/lib/cni/networks*",
    "- *: state node: file /var/lib/cni/networks/net/l*",
];

/// A device whose name is taken, or a second DEL: the Go suite fails where nothing is left to do.
pub(crate) const GONE: &[&str] = &[
    r#"- *DEL*: answer.msg="failed to find \"*\" in containerNS: Link not found""#,
    "- *DEL*: answer.code=999",
    "- *DEL*: succeeded=false",
    "+ *DEL*: succeeded=true",
];

/// An IPv6 address that detection would try again.
pub(crate) const SETTLED: &[&str] = &[
    r#"- *: state c1: address eth0 {"family":"inet6"*"tentative":true*"#,
    r#"+ *: state c1: address eth0 {"family":"inet6"*"#,
];

/// What ours finds and the Go suite does not look for.
pub(crate) const FOUND: &[&str] =
    &["+ *: answer.code=999", "+ *: answer.msg=*", "+ *: succeeded=false", "- *: succeeded=true"];

/// How the suites tell of a route that the kernel refuses.
pub(crate) const UNREACHABLE: &[&str] =
    &[r#"- *: answer.msg="failed to add route '{*"#, r#"+ *: answer.msg="failed to add route '192.*"#];

/// What the Go suite leaves of a link that can not have the name it should: it is made under another.
pub(crate) const TEMPORARY: &[&str] = &["- *: state c*: link veth(*", "- *: state c*: sysctl net.*.conf.veth(*"];

/// A DEL for which the Go suite asks for more than it needs.
pub(crate) const NEEDLESS: &[&str] = &[
    "- *DEL*: answer.code=999",
    "- *DEL*: answer.msg=*",
    "- *DEL*: succeeded=false",
    "+ *DEL*: succeeded=true",
    "+ *DEL*: state node: directory /var/lib/cni/networks*",
    "+ *DEL*: state node: file /var/lib/cni/networks/net/lock *",
    "- *DEL*: state node: file /var/lib/cni/networks/net/*",
    "- *DEL*: state c1: *",
];
