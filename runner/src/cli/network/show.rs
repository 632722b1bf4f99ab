//! `xnet network ls` and `inspect`.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::complain;
use crate::cli::inspect::answer;
use crate::error::Result;
use crate::format::table::{Column, Format};
use crate::net::catalog::{self, Source};
use crate::net::connected::{Connected, members};
use crate::net::network::id;
use crate::net::subnet::subnets;
use crate::spec::Dirs;
use crate::state::Store;

const COLUMNS: [Column; 6] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Subnets", "SUBNETS"),
    ("Internal", "INTERNAL"),
];

/// How to list.
#[derive(Debug, Args)]
pub(super) struct Ls {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// A template for each line, `table TEMPLATE`, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

/// What to print.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// A template in the place of JSON
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Their names
    #[arg(required = true)]
    networks: Vec<String>,
}

impl Ls {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let format = Format::new(self.format.as_deref(), &COLUMNS[..5], &COLUMNS)?;
        let mut rows = Vec::new();
        for (name, _) in catalog::all(dirs)? {
            match catalog::locate(&name, dirs) {
                Ok((list, source)) => rows.push(row(&name, &parsed(list.bytes()), &source)),
                Err(error) => complain(&error),
            }
        }
        for mode in ["host", "none"] {
            rows.push(json!({"ID": short_id(mode), "Name": mode, "Driver": mode.replace("none", "null"),
                "Scope": "local", "Subnets": "", "Internal": false}));
        }
        if self.quiet {
            rows.iter().filter_map(|row| row.get("Name")?.as_str()).for_each(|name| println!("{name}"));
        } else {
            print!("{}", format.render(&rows)?);
        }
        Ok(0)
    }
}

fn row(name: &str, list: &Value, source: &Source) -> Value {
    let subnets: Vec<String> = subnets(list).iter().map(ToString::to_string).collect();
    let internal = list.pointer("/xnet/internal").and_then(Value::as_bool).unwrap_or_default();
    json!({
        "ID": short_id(name), "Name": name, "Driver": driver(list),
        "Scope": if *source == Source::Host { "cni" } else { "local" },
        "Subnets": subnets.join(","), "Internal": internal,
    })
}

impl Inspect {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = Store::open(dirs)?;
        answer(&self.networks, self.format.as_deref(), |name| {
            let (list, source) = catalog::locate(name, dirs)?;
            Ok(describe(name, list.bytes(), &source, &store))
        })
    }
}

fn parsed(list: &[u8]) -> Value {
    serde_json::from_slice(list).unwrap_or_default()
}

fn driver(list: &Value) -> String {
    let first = || list.pointer("/plugins/0/type");
    let driver = list.pointer("/xnet/driver").or_else(first).and_then(Value::as_str);
    driver.unwrap_or_default().to_owned()
}

/// The network `name` as `inspect` shows it.
pub(in crate::cli) fn describe(name: &str, list: &[u8], source: &Source, store: &Store) -> Value {
    let list = &parsed(list);
    let plugin = list.pointer("/plugins/0").cloned().unwrap_or_default();
    let key = |key: &str| list.pointer(&format!("/xnet/{key}")).cloned();
    let ranges = plugin.pointer("/ipam/ranges").and_then(Value::as_array).into_iter().flatten();
    let mut config: Vec<Value> = ranges.filter_map(Value::as_array).flatten().map(pool).collect();
    config.extend(plugin.get("ipam").filter(|ipam| ipam.get("subnet").is_some()).map(pool));
    let containers: Map<String, Value> =
        members(store, name).iter().map(|member| (member.id.to_string(), endpoint(member, name))).collect();
    json!({
        "Name": name,
        "Id": id(name),
        "Scope": if *source == Source::Host { "cni" } else { "local" },
        "Driver": driver(list),
        "EnableIPv6": subnets(list).iter().any(ipnetwork::IpNetwork::is_ipv6),
        "IPAM": {"Driver": plugin.pointer("/ipam/type").cloned().unwrap_or_default(), "Config": config},
        "Internal": key("internal").unwrap_or_else(|| false.into()),
        "Containers": containers,
        "Options": key("options").unwrap_or_else(|| json!({})),
        "Labels": key("labels").unwrap_or_else(|| json!({})),
        "Conflist": list,
    })
}

fn pool(range: &Value) -> Value {
    let mut pool = Map::new();
    for (key, ours) in
        [("Subnet", "subnet"), ("Gateway", "gateway"), ("RangeStart", "rangeStart"), ("RangeEnd", "rangeEnd")]
    {
        if let Some(value) = range.get(ours) {
            pool.insert(key.to_owned(), value.clone());
        }
    }
    pool.into()
}

fn endpoint(member: &Connected, network: &str) -> Value {
    let endpoint = member.endpoints.iter().find(|endpoint| endpoint.network == network);
    let address = |v6: bool| {
        let found = endpoint.and_then(|e| e.addresses.iter().find(|a| a.address.is_ipv6() == v6));
        found.map(|a| format!("{}/{}", a.address, a.prefix)).unwrap_or_default()
    };
    json!({
        "Name": member.title(),
        "MacAddress": endpoint.and_then(|e| e.mac.clone()).unwrap_or_default(),
        "IPv4Address": address(false),
        "IPv6Address": address(true),
        "Interface": endpoint.map(|e| e.ifname.clone()).unwrap_or_default(),
    })
}

fn short_id(name: &str) -> String {
    id(name).chars().take(12).collect()
}
