//! Rows about tuning.

use serde_json::{Value, json};

use crate::row::{ADD, CHECK, DEL, Row, Step};

fn row(name: &str, members: Value) -> Row {
    Row::chained("tuning", name, members)
}

fn sysctl(name: &str, settings: Value) -> Row {
    row(name, json!({"sysctl": settings}))
}

fn link() -> Value {
    json!({"mac": "0a:58:0a:01:00:09", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77})
}

pub(crate) fn sysctls() -> Vec<Row> {
    let restored = |name: &str, settings: Value| sysctl(name, settings).restores_sysctls();
    vec![
        row("nothing", json!({})),
        restored("dots", json!({"net.ipv4.conf.eth0.arp_filter": "1"})),
        restored("slashes", json!({"net/ipv4/conf/eth0/arp_filter": "1"})),
        restored(
            "the interface",
            json!({"net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv6/conf/IFNAME/hop_limit": "77"}),
        ),
        restored("the namespace", json!({"net.core.somaxconn": "500", "net.ipv4.ip_unprivileged_port_start": "80"})),
        restored("several values", json!({"net.ipv4.ip_local_port_range": "20000\t30000"})),
        restored("several values with a blank", json!({"net.ipv4.ip_local_port_range": "20000 30000"})).differs(
            "the kernel writes tabs where people write blanks",
            &["- 2 *: answer.*", "- 2 *: succeeded=false", "+ 2 *: succeeded=true"],
        ),
        restored("by args", json!({"net.core.somaxconn": "500"}))
            .with("args", json!({"cni": {"sysctl": {"net.core.somaxconn": "600", "net.ipv4.tcp_syncookies": "2"}}})),
        restored("an allow list", json!({"net.core.somaxconn": "500"})).prepare(ALLOWED),
        restored("changed by somebody else", json!({"net.core.somaxconn": "500"})).steps(&[
            ADD,
            Step::Shell("ip netns exec c1 sh -c 'echo 7 >/proc/sys/net/core/somaxconn'"),
            CHECK,
            DEL,
        ]),
    ]
}

const ALLOWED: &str = "mkdir -p /etc/cni/tuning; printf '^net.core\\\\.somaxconn$\\n\\n^net/ipv4/conf/[a-z]*/arp_filter$\\n' \
    >/etc/cni/tuning/allowlist.conf";

pub(crate) fn links() -> Vec<Row> {
    let mac = json!({"mac": "0a:58:0a:01:00:09"});
    vec![
        row("a MAC", mac.clone()),
        row("a MAC by CNI_ARGS", json!({})).env("CNI_ARGS", "IgnoreUnknown=1;MAC=0a:58:0a:01:00:09"),
        row("a MAC by runtimeConfig", json!({"runtimeConfig": mac})),
        row("a MAC by args", json!({"args": {"cni": mac}})),
        row("a MAC by all ways", json!({"mac": "0a:58:0a:01:00:06"}))
            .with("runtimeConfig", json!({"mac": "0a:58:0a:01:00:07"}))
            .with("args", json!({"cni": mac}))
            .env("CNI_ARGS", "MAC=0a:58:0a:01:00:08"),
        row("a MAC by the runtime and by CNI_ARGS", json!({"runtimeConfig": mac}))
            .env("CNI_ARGS", "MAC=0a:58:0a:01:00:08"),
        row("an MTU", json!({"mtu": 1400})),
        row("promiscuous", json!({"promisc": true})),
        row("promiscuous before", json!({"mtu": 1400})).prepare("ip -n c1 link set eth0 promisc on"),
        row("all multicast", json!({"allmulti": true})),
        row("not all multicast", json!({"allmulti": false})).prepare("ip -n c1 link set eth0 allmulticast on"),
        row("a queue", json!({"txQLen": 77})),
        row("no queue", json!({"txQLen": 0})),
        row("everything", link()),
        row("everything", link()).version("0.3.0"),
        row("everything", link()).version("0.3.1"),
        row("everything", link()).version("0.4.0"),
        row("everything", link()).version("1.1.0").newer(),
        row("everything by args", json!({"args": {"cni": link()}})),
        row("args over the configuration", link())
            .with("args", json!({"cni": {"mtu": 1300, "promisc": false, "allmulti": false, "txQLen": 78}})),
        row("another directory", link()).with("dataDir", json!("/run/cni/zork")),
        row("a MAC in capital letters", json!({"mac": "0A:58:0A:01:00:09"})).differs(
            "an address is the same in capital letters",
            &["- 2 *: answer.*", "- 2 *: succeeded=false", "+ 2 *: succeeded=true"],
        ),
        row(
            "null everywhere",
            json!({"mac": null, "mtu": null, "promisc": null, "allmulti": null, "txQLen": null, "sysctl": null}),
        ),
        row("keys in other letters", json!({"TXQLEN": 77, "Mtu": 1400})),
    ]
}

/// What was before the first ADD, and what the second has found.
const BACKUP_OURS: &str = r#"+ *: state node: file /run/cni/tuning/c1_eth0.json * \"mtu\": 1500,*"#;
const BACKUP_GO: &str = r#"- *: state node: file /run/cni/tuning/c1_eth0.json * \"mtu\": 1400,*"#;

/// Without a namespace there is nothing to restore, then or later.
const LAST: &str = "a DEL without a namespace is the last";
const KEPT: &str = "- *(\"DEL*): state node: file /run/cni/tuning/c1_eth0.json *";
const LAST_LINES: &[&str] = &[KEPT, "- 3 *: state c1: *", "+ 3 *: state c1: *"];

const POINTER: &str = "the Go suite tells where the value is";
const POINTER_TEXTS: &[&str] = &[
    r#"- *: answer.msg="Error: Tuning configured * of eth0 is *"#,
    r#"+ *: answer.msg="Error: Tuning configured * of eth0 is *"#,
];

pub(crate) fn lives() -> Vec<Row> {
    let damaged = |name: &str, script: &'static str| {
        row(&format!("CHECK of {name}"), link()).steps(&[ADD, Step::Shell(script), CHECK, DEL])
    };
    vec![
        row("ADD twice", link()).steps(&[ADD, ADD, CHECK, DEL]).differs(
            "the first backup is the one to go back to",
            &[BACKUP_GO, BACKUP_OURS, "- *(\"DEL*): state c1: *", "+ *(\"DEL*): state c1: *"],
        ),
        row("DEL without a netns", link()).steps(&[ADD, Step::Blind("DEL"), DEL]).differs(LAST, LAST_LINES),
        row("DEL with a lost netns", link()).steps(&[ADD, Step::Lost("DEL"), DEL]).differs(LAST, LAST_LINES),
        row("DEL of nothing", link()).steps(&[DEL, Step::Blind("DEL")]),
        row("DEL of a link that has gone", link())
            .steps(&[ADD, Step::Shell("ip -n c1 link delete eth0"), DEL])
            .differs("nothing is kept about what has gone", &[KEPT]),
        damaged("another MAC", "ip -n c1 link set eth0 address 0a:58:0a:01:00:07"),
        damaged("another MTU", "ip -n c1 link set eth0 mtu 1300"),
        damaged("no promiscuity", "ip -n c1 link set eth0 promisc off"),
        damaged("not all multicast", "ip -n c1 link set eth0 allmulticast off").differs(POINTER, POINTER_TEXTS),
        damaged("another queue", "ip -n c1 link set eth0 txqueuelen 5").differs(POINTER, POINTER_TEXTS),
        damaged("no link", "ip -n c1 link delete eth0").differs("nothing is kept about what has gone", &[KEPT]),
        row("CHECK of promiscuity that nobody asked for", json!({"mtu": 1400})).steps(&[
            ADD,
            Step::Shell("ip -n c1 link set eth0 promisc on"),
            CHECK,
            DEL,
        ]),
        row("CHECK of nothing", link()).steps(&[CHECK]),
    ]
}

const EARLY: &str = "what can be refused is refused before anything is touched, and by CHECK as well";
const EARLY_LINES: &[&str] = &[
    "- *: state node: file /run/cni/tuning/c1_eth0.json *",
    r#"- 2 *: answer.msg="Error: Tuning configured Ethernet of eth0 is *"#,
    r#"+ 2 *: answer.msg="invalid args * for MAC addr: address *"#,
];

pub(crate) fn refused() -> Vec<Row> {
    vec![
        sysctl("a sysctl outside of net", json!({"kernel.pid_max": "100"})),
        sysctl("a sysctl outside of net by a path", json!({"net/../kernel/pid_max": "100"})),
        sysctl("a sysctl that is missing", json!({"net.ipv4.zork": "1"})),
        sysctl("a value that is none", json!({"net.core.somaxconn": "zork"})),
        sysctl("a number as value", json!({"net.core.somaxconn": 500})).wrong_type(),
        sysctl("a sysctl that is not allowed", json!({"net.ipv4.tcp_syncookies": "2"})).prepare(ALLOWED).newer(),
        row("a sysctl twice", json!({})).stdin(TWICE).steps(&[ADD, CHECK, DEL]).newer(),
        row("a MAC that is none", json!({"mac": "zork"})).differs(EARLY, EARLY_LINES),
        row("a MAC that is none by CNI_ARGS", json!({})).env("CNI_ARGS", "MAC=zork").differs(EARLY, EARLY_LINES),
        row("a multicast MAC", json!({"mac": "01:00:5e:00:00:01"}))
            .differs(EARLY, EARLY_LINES)
            .differs(EARLY, &[r#"- 1 *: answer.msg="cannot assign requested address""#, "+ 1 *: answer.msg=*"]),
        row("an MTU that can not be", json!({"mtu": 7})).differs(
            "a failed ADD leaves no backup, and says what the kernel has refused",
            &[
                r#"- *: answer.msg="invalid argument""#,
                r#"+ *: answer.msg="failed to set mtu 7 of \"eth0\": invalid argument*"#,
                "- *: state node: file /run/cni/tuning/c1_eth0.json *",
            ],
        ),
        row("a negative queue", json!({"txQLen": -1})).newer().differs(
            "a queue can not be shorter than nothing",
            &[
                "- 1 *: answer.*",
                "- *: state c1: link eth0 txqlen=-1",
                "- *: state node: file /run/cni/tuning/c1_eth0.json *",
                "- 1 *: succeeded=true",
                "+ 1 *: succeeded=false",
                "+ 1 *: answer.code=999",
                r#"- 2 *: answer.msg="Error: Tuning configured Transmit Queue Length *"#,
                r#"+ *: answer.msg="invalid txQLen -1""#,
            ],
        ),
        row("unknown args", json!({"mtu": 1400})).env("CNI_ARGS", "K8S_POD=foo"),
        row("no interface", link()).prepare("ip -n c1 link delete eth0"),
        row("a lost netns", link()).steps(&[Step::Lost("ADD"), DEL]),
        row("no previous result", link()).unchained().steps(&[ADD, CHECK, DEL]),
        row("no previous result and nothing to do", json!({})).unchained().steps(&[ADD, CHECK, DEL]),
        row("a string as flag", json!({"promisc": "yes"})).wrong_type(),
    ]
}

const TWICE: &str = r#"{"cniVersion": "1.0.0", "name": "net", "type": "tuning",
    "sysctl": {"net.core.somaxconn": "500", "net.core.somaxconn": "600"},
    "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}], "ips": []}}"#;
