//! Rows about static.

use serde_json::{Value, json};

use crate::row::{ADD, CHECK, DEL, Row, Step};

fn row(name: &str, ipam: Value) -> Row {
    Row::new("static", name, json!({"ipam": ipam})).steps(&[ADD])
}

fn one() -> Value {
    json!({"addresses": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}]})
}

fn two() -> Value {
    json!({"addresses": [{"address": "10.1.2.3/24"}, {"address": "10.1.2.4/24"}]})
}

fn both() -> Value {
    json!({
        "addresses": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}, {"address": "fd00:1::3/64", "gateway": "fd00:1::1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.2.9"}, {"dst": "::/0", "gw": "fd00:1::1"}],
        "dns": {"nameservers": ["10.1.2.53"], "domain": "a.test", "search": ["a.test"], "options": ["ndots:2"]},
    })
}

pub(crate) fn sources() -> Vec<Row> {
    let asked = json!({"cni": {"ips": ["10.5.5.5/24", "fd00:5::5/64"]}});
    let runtime = json!({"ips": ["10.6.6.6/16"]});
    let routes = json!({"addresses": [{"address": "10.1.2.3/24"}],
        "routes": [{"dst": "192.168.0.0/16", "gw": "10.1.2.1", "mtu": 1400, "advmss": 1300, "priority": 5, "table": 100, "scope": 253}]});
    let mut rows: Vec<Row> = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"]
        .iter()
        .map(|version| row("both families", both()).version(version))
        .collect();
    rows.extend([
        row("both families", both()).version("1.1.0").newer(),
        row("two addresses of a family", two()),
        row(
            "an address without host bits and one alone",
            json!({"addresses": [{"address": "10.1.2.0/24"}, {"address": "10.3.2.1/32"}]}),
        ),
        row(
            "IPv6 that is not in short form",
            json!({"addresses": [{"address": "FD00:0001:0::3/64", "gateway": "FD00:1:0::1"}]}),
        ),
        row("CNI_ARGS", one()).env("CNI_ARGS", "IP=10.7.0.2/16,fd00:7::9/64;GATEWAY=10.7.0.1,10.1.2.9"),
        row("CNI_ARGS alone", json!({})).env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.7.0.2/16"),
        row("CNI_ARGS with a gateway for the configuration", one()).env("CNI_ARGS", "GATEWAY=10.1.2.9"),
        row("args", one()).with("args", asked.clone()).env("CNI_ARGS", "IP=10.7.0.2/16"),
        row("runtimeConfig", one()).with("args", asked).with("runtimeConfig", runtime),
        row("an empty list by the runtime", one()).with("runtimeConfig", json!({"ips": []})),
        row("nothing", json!({})),
        row("routes with attributes", routes).version("1.1.0").newer(),
    ]);
    rows
}

pub(crate) fn refused() -> Vec<Row> {
    let address = |text: &str| json!({"addresses": [{"address": text}]});
    vec![
        Row::new("static", "no ipam", json!({})).steps(&[ADD, CHECK]),
        row("an address without a prefix", address("10.1.2.3")).steps(&[ADD, CHECK]),
        row("no text for an address", address("")),
        row("an address that is none", address("10.1.2.300/24")),
        row("a gateway that is none", json!({"addresses": [{"address": "10.1.2.3/24", "gateway": "xx"}]})),
        row("two addresses of a family in an old document", two()).version("0.2.0"),
        row("CNI_ARGS without a prefix", one()).env("CNI_ARGS", "IP=10.9.9.9"),
        row("a gateway of CNI_ARGS that is none", one()).env("CNI_ARGS", "IP=10.9.9.9/24;GATEWAY=xx"),
        row("CNI_ARGS that are none", one()).env("CNI_ARGS", "IP"),
        row("CNI_ARGS that nobody knows", one()).env("CNI_ARGS", "FOO=bar"),
        row("args without a prefix", one()).with("args", json!({"cni": {"ips": ["10.5.5.5"]}})),
        row("runtimeConfig without a prefix", one()).with("runtimeConfig", json!({"ips": ["10.5.5.5"]})),
        row("a route that is none", json!({"addresses": [], "routes": [{"dst": "x"}]})).differs(
            "the path says where",
            &[
                r#"- *: answer.msg="invalid CIDR address: x""#,
                r#"+ *: answer.msg="ipam.routes[0].dst: invalid CIDR address: x""#,
            ],
        ),
        row("addresses of a wrong type", json!({"addresses": {}})).wrong_type(),
        row("DEL of anything", json!({"addresses": "x"})).steps(&[DEL, Step::Blind("DEL"), Step::Lost("DEL")]),
    ]
}

pub(crate) fn checks() -> Vec<Row> {
    let found = |name: &str, address: &str, gateway: &str| {
        let ips = json!([{"address": address, "gateway": gateway}]);
        row(name, one()).with("prevResult", json!({"cniVersion": "1.0.0", "ips": ips})).steps(&[CHECK])
    };
    vec![
        row("CHECK without prevResult", one()).steps(&[CHECK]),
        row("CHECK after ADD", both()).steps(&[Step::Lost("ADD"), ADD, ADD, CHECK]),
        found("CHECK of another gateway", "10.1.2.3/24", "10.1.2.9"),
        found("CHECK of another address", "10.1.2.9/24", "10.1.2.1").differs(
            "an address that is not there is missing",
            &[
                "+ *: answer.code=999",
                r#"+ *: answer.msg="static: Failed to match addr 10.1.2.3 on interface eth0""#,
                "+ *: succeeded=false",
                "- *: succeeded=true",
            ],
        ),
    ]
}
