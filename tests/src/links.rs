//! Links, addresses, routes and policy rules of a namespace, read by `ip`.

use std::collections::HashMap;
use std::process::Command;

use serde_json::{Deserializer, Map, Value};

use crate::normal::Names;
use crate::process::run;
use crate::state::Look;

/// What `ip` says about the calling thread's namespace.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) links: Value,
    routes: Value,
    rules: Value,
    rules_6: Value,
}

/// Members of a link that count, drift with time, or hold an index or the MAC of a neighbour.
const VOLATILE: [&str; 18] = [
    "ifindex",
    "link_index",
    "link_netnsid",
    "address",
    "addr_info",
    "operstate",
    "qdisc",
    "flags",
    "bridge_id",
    "root_id",
    "id",
    "no",
    "designated_port",
    "topology_change",
    "topology_change_detected",
    "topology_change_ack",
    "config_pending",
    "stats64",
];

/// Flags of links and routes that follow the carrier of a neighbour, and so the time.
const CARRIER: [&str; 5] = ["LOWER_UP", "NO-CARRIER", "M-DOWN", "linkdown", "dead"];

impl Links {
    pub(crate) fn read(look: Look) -> Self {
        let [links, routes, rules] = ask(&["-batch", "-"], b"address show\nroute show table all\nrule show\n");
        // A batch is of one family, and without any it is IPv4 for rules.
        let rules_6 = match look {
            Look::Whole => {
                let [rules] = ask(&["-6", "rule", "show"], b"");
                rules
            }
            Look::Quick => Value::Null,
        };
        Self { links, routes, rules, rules_6 }
    }

    /// Whether the kernel still probes for duplicates of an address (other than link-local ones, which do not count), or
    /// has yet to take an address for its own on a link that is up.
    pub(crate) fn unsettled(&self) -> bool {
        let up = |link: &&Value| link["operstate"] == "UP";
        let own =
            |address: &Value| array(&self.routes).any(|route| is_local(route) && route["dst"] == address["local"]);
        array(&self.links).flat_map(addresses).any(|address| address["tentative"] == true)
            || array(&self.links).filter(up).flat_map(addresses).any(|address| !own(address))
    }

    pub(crate) fn lines(&self, names: &Names) -> Vec<String> {
        let mut lines = Vec::new();
        for link in array(&self.links) {
            lines.extend(link_lines(link, names));
            lines.extend(
                addresses(link).map(|address| format!("address {} {}", text(&link["ifname"]), compact(address))),
            );
        }
        lines.extend(route_lines(&self.routes));
        lines.extend(array(&self.rules).map(|rule| format!("rule {}", compact(rule))));
        lines.extend(array(&self.rules_6).map(|rule| format!("rule inet6 {}", compact(rule))));
        lines.iter().map(|line| names.text(line)).collect()
    }
}

/// The answers of `ip`, as many as there are questions.
fn ask<const N: usize>(arguments: &[&str], batch: &[u8]) -> [Value; N] {
    let output = run(Command::new("ip").args(["-j", "-d"]).args(arguments), batch);
    assert!(output.status.success(), "ip: {}", String::from_utf8_lossy(&output.stderr));
    let answers: Result<Vec<Value>, _> = Deserializer::from_slice(&output.stdout).into_iter().collect();
    let answers = answers.expect("ip prints JSON");
    answers.try_into().unwrap_or_else(|answers| panic!("an answer for each question: {answers:?}"))
}

fn link_lines(link: &Value, names: &Names) -> Vec<String> {
    let name = text(&link["ifname"]);
    let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or("none");
    let mut lines = vec![
        format!("link {name} kind={kind}"),
        format!("link {name} flags={}", lasting(&link["flags"])),
        format!("link {name} address={}", names.mac_of(name, text(&link["address"]))),
    ];
    let mut leaves = Vec::new();
    flatten("", link, &mut leaves);
    lines.extend(leaves.into_iter().map(|leaf| format!("link {name} {leaf}")));
    lines
}

fn flatten(prefix: &str, value: &Value, leaves: &mut Vec<String>) {
    let Value::Object(members) = value else {
        leaves.push(format!("{prefix}={value}"));
        return;
    };
    for (key, value) in members {
        let volatile = VOLATILE.contains(&key.as_str()) || key.ends_with("_timer");
        let offload = ["num_", "gso_", "gro_", "tso_", "min_mtu", "max_mtu"].iter().any(|part| key.starts_with(part));
        if !volatile && !offload {
            let separator = if prefix.is_empty() { "" } else { "." };
            flatten(&format!("{prefix}{separator}{key}"), value, leaves);
        }
    }
}

/// The addresses of a link, without IPv6 link-local ones: the kernel gives those by the MAC, when the carrier comes.
fn addresses(link: &Value) -> impl Iterator<Item = &Value> {
    array(&link["addr_info"]).filter(|address| !text(&address["local"]).starts_with("fe80:"))
}

/// The routes; the order among those of one destination counts, the first is taken.
fn route_lines(routes: &Value) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut lines = Vec::new();
    for route in array(routes) {
        let destination = text(&route["dst"]);
        if destination.starts_with("fe80:") || destination.starts_with("ff00:") {
            continue;
        }
        let number = seen.entry(format!("{} {destination}", text(&route["table"]))).or_default();
        *number += 1;
        lines.push(format!("route #{number} {} flags={}", compact(route), lasting(&route["flags"])));
    }
    lines
}

/// An object as one line, without its flags.
fn compact(value: &Value) -> String {
    let members = value.as_object().cloned().unwrap_or_default();
    Value::Object(members.into_iter().filter(|(key, _)| key != "flags").collect::<Map<_, _>>()).to_string()
}

fn lasting(flags: &Value) -> String {
    let lasting: Vec<&str> = array(flags).map(text).filter(|flag| !CARRIER.contains(flag)).collect();
    lasting.join(",")
}

fn is_local(route: &Value) -> bool {
    ["local", "anycast"].iter().any(|kind| route["type"] == *kind)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
