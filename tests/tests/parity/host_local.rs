//! Rows about host-local.

use serde_json::{Value, json};

use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

pub(crate) fn pools() -> Vec<Row> {
    let pool = |name: &str, ipam: Value| Row::host_local(name, &ipam);
    vec![
        pool("one subnet", json!({"ranges": [[{"subnet": "10.1.0.0/24"}]]})),
        pool("one subnet, in short", json!({"subnet": "10.1.0.0/24"})),
        pool("one subnet, in short", json!({"subnet": "10.1.0.0/24"})).version("0.1.0"),
        pool("one subnet, in short", json!({"subnet": "10.1.0.0/24"})).version("0.4.0"),
        pool("short and long", json!({"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24"}]]})),
        pool("start and end", json!({"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20", "rangeEnd": "10.1.0.21"}]]}))
            .steps(&[ADD, ADD_2, DEL, ADD, DEL, DEL_2]),
        pool("two ranges in a set", json!({"ranges": [[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]]}))
            .steps(&[ADD, ADD_2, DEL, DEL_2]),
        pool("three sets", json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}], [{"subnet": "10.2.0.0/24"}]]})),
        pool("a gateway inside the range", json!({"ranges": [[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.2", "rangeStart": "10.1.0.2"}]]})),
        pool("a gateway outside the subnet", json!({"ranges": [[{"subnet": "10.1.0.0/24", "gateway": "192.168.0.1"}]]})),
        pool("IPv6 that is not in short form", json!({"ranges": [[{"subnet": "FD00:0001:0::/64", "rangeStart": "fd00:1:0:0:0:0:0:A"}]]})),
        pool("routes of all sorts", json!({"subnet": "10.1.0.0/24",
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.0.9"}, {"dst": "::/0", "gw": "fd00::1"}]})),
        pool("another directory", json!({"subnet": "10.1.0.0/24", "dataDir": "/run/cni/pools"})),
        pool("a full pool", json!({"subnet": "10.1.0.0/30"})).steps(&[ADD, ADD_2, CHECK, DEL, ADD_2, DEL_2]),
        pool("the last address comes last", json!({"subnet": "10.1.0.0/29"})).steps(&[ADD, DEL, ADD, DEL, ADD, ADD_2, DEL, DEL_2]),
        pool("garbage as memory", json!({"subnet": "10.1.0.0/24"}))
            .prepare("umask 077; mkdir -p /var/lib/cni/networks/net; echo zork >/var/lib/cni/networks/net/last_reserved_ip.0"),
        pool("memory from elsewhere", json!({"subnet": "10.1.0.0/24"}))
            .prepare("umask 077; mkdir -p /var/lib/cni/networks/net; printf 10.1.0.200 >/var/lib/cni/networks/net/last_reserved_ip.0"),
        pool("a lease of old form", json!({"subnet": "10.1.0.0/24"}))
            .prepare("umask 077; mkdir -p /var/lib/cni/networks/net; printf c1 >/var/lib/cni/networks/net/10.1.0.2")
            .steps(&[CHECK, ADD_2, DEL, DEL_2]),
        pool("an empty lease", json!({"subnet": "10.1.0.0/29"}))
            .prepare("umask 077; mkdir -p /var/lib/cni/networks/net; : >/var/lib/cni/networks/net/10.1.0.2")
            .differs(
                "an empty lease is what a crash in the midst of a reservation leaves: nobody's, and free to be given",
                &[
                    r#"- *: answer.ips[0].address="10.1.0.3/29""#,
                    r#"+ *: answer.ips[0].address="10.1.0.2/29""#,
                    r#"- *: state node: file */10.1.0.2 mode=0600 """#,
                    r#"+ *: state node: file */10.1.0.2 mode=0600 "c1\r\neth0""#,
                    r#"- *: state node: file */10.1.0.3 mode=0600 "c1\r\neth0""#,
                    r#"- *: state node: file */last_reserved_ip.0 mode=0600 "10.1.0.3""#,
                    r#"+ *: state node: file */last_reserved_ip.0 mode=0600 "10.1.0.2""#,
                ],
            ),
        pool("resolvConf", json!({"subnet": "10.1.0.0/24", "resolvConf": "/run/resolv.conf"}))
            .prepare("printf 'nameserver 10.1.0.53\\n; c\\n# c\\nnameserver\\ndomain a.test\\nsearch b.test c.test\\noptions ndots:2 rotate\\n' >/run/resolv.conf"),
        pool("resolvConf that is missing", json!({"subnet": "10.1.0.0/24", "resolvConf": "/nonexist"})),
        pool("ADD twice", json!({"subnet": "10.1.0.0/24"})).steps(&[ADD, ADD, DEL]),
        pool("CHECK and DEL of nothing", json!({"subnet": "10.1.0.0/24"})).steps(&[CHECK, DEL, Step::Blind("DEL")]),
        pool("ranges by the runtime", json!({"subnet": "10.1.0.0/24"}))
            .with("runtimeConfig", json!({"ipRanges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd08::/64"}]]})),
    ]
}

pub(crate) fn requested() -> Vec<Row> {
    let pool = |name: &str| {
        Row::host_local(name, &json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}))
    };
    let by_runtime = |name: &str, ips: Value| pool(name).with("runtimeConfig", json!({"ips": ips}));
    vec![
        pool("an address by CNI_ARGS").env("CNI_ARGS", "IP=10.1.0.77"),
        pool("an address with prefix by CNI_ARGS").env("CNI_ARGS", "IgnoreUnknown=1;FOO=bar;IP=fd00:1::77/64"),
        pool("an address by args").with("args", json!({"cni": {"ips": ["10.1.0.78"]}})),
        by_runtime("an address by runtimeConfig", json!(["10.1.0.79/24"])),
        by_runtime("addresses by all ways", json!(["10.1.0.79"])).env("CNI_ARGS", "IP=fd00:1::79"),
        by_runtime("an address outside", json!(["10.9.0.1"])),
        by_runtime("the gateway's address", json!(["10.1.0.1"])),
        by_runtime("an address that is taken", json!(["10.1.0.77"])).steps(&[ADD, ADD_2, ADD, DEL, DEL_2]),
        by_runtime("an address that is none", json!(["zork"])),
        by_runtime("an empty address", json!([""])),
        pool("an address that is none by CNI_ARGS").env("CNI_ARGS", "IP=zork"),
        pool("args that are none").env("CNI_ARGS", "K8S_POD"),
        pool("args that end in a semicolon").env("CNI_ARGS", "IP=10.1.0.77;"),
        pool("unknown args").env("CNI_ARGS", "K8S_POD=foo"),
        pool("unknown args and a bad flag").env("CNI_ARGS", "IgnoreUnknown=maybe"),
    ]
}

pub(crate) fn refused() -> Vec<Row> {
    [ranges(), sets()].into_iter().flatten().collect()
}

fn ranges() -> Vec<Row> {
    let range = |name: &str, range: Value| Row::host_local(name, &json!({"ranges": [[range]]}));
    vec![
        range("no subnet", json!({})),
        range("no subnet but a start", json!({"rangeStart": "10.1.0.5"})),
        range("a subnet that is none", json!({"subnet": "bogus"})),
        range("an address that is none", json!({"subnet": "10.1.0.0/24", "gateway": "bogus"})),
        range("/31", json!({"subnet": "10.1.0.0/31"})),
        range("/32", json!({"subnet": "10.1.0.0/32"})),
        range("/127", json!({"subnet": "fd00:1::/127"})),
        range("host bits", json!({"subnet": "10.1.0.1/24"})),
        range("host bits in IPv6", json!({"subnet": "fd00:1::1/64"})),
        range("a start outside", json!({"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"})),
        range("an end outside", json!({"subnet": "10.1.0.0/24", "rangeEnd": "10.2.0.1"})),
        range("an end first", json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"})),
        range("a start of the other family", json!({"subnet": "10.1.0.0/24", "rangeStart": "fd00::1"})),
    ]
}

fn sets() -> Vec<Row> {
    let sets = |name: &str, sets: Value| Row::host_local(name, &json!({"ranges": sets}));
    let no_directory = json!({"subnet": "10.1.0.0/24", "dataDir": "/proc/version"});
    vec![
        Row::host_local("no ipam", &Value::Null),
        sets("no ranges", json!([])),
        sets("an empty set", json!([[]])),
        sets("both families in a set", json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00:1::/64"}]])),
        sets("an overlap in a set", json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/24"}]])),
        sets("an overlap of sets", json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]])),
        sets("two sets of a family", json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]))
            .version("0.2.0"),
        sets("sets of a wrong type", json!([{"subnet": "10.1.0.0/24"}])).wrong_type(),
        Row::host_local("a directory that can not be", &no_directory).differs(
            "the kernel's reason in a sentence of ours",
            &[
                r#"- *: answer.msg="mkdir /proc/version: not a directory""#,
                r#"+ *: answer.msg="cannot create directory /proc/version/net: not a directory""#,
            ],
        ),
    ]
}
