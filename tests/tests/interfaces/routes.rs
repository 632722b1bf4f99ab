//! Routes with all that SPEC 1.1 has for them.

use serde_json::{Value, json};

use crate::kinds::{EVERYWHERE, Kind, STOCK, Stage};

fn by_gateways() -> Value {
    let ip = |address: &str, gateway: &str| json!({"address": address, "gateway": gateway});
    json!({
        "type": "static",
        "addresses": [ip("10.1.0.2/24", "10.1.0.1"), ip("fd00:1::2/64", "fd00:1::1")],
        "routes": [
            {"dst": "192.168.0.0/16", "mtu": 1400, "advmss": 1300, "priority": 7},
            {"dst": "172.16.0.0/12", "gw": "10.1.0.1", "table": 100},
            {"dst": "fd77::/64", "mtu": 1350, "priority": 9},
            {"dst": "fd78::/64", "table": 100},
        ],
    })
}

/// What `ip` says of routes. What a link without a carrier adds to it is left out.
fn shown(stage: &Stage<'_>, command: &str) -> String {
    stage.c1.sh(command).replace("linkdown ", "")
}

fn honoured(kind: Kind) {
    Stage::play(kind, |stage| {
        let config = json!({"ipam": by_gateways()});
        let result = stage.plugin_with(config.clone()).add().ok();
        for (command, route) in [
            ("ip route show", "192.168.0.0/16 via 10.1.0.1 dev eth0 metric 7 mtu 1400 advmss 1300"),
            ("ip route show table 100", "172.16.0.0/12 via 10.1.0.1 dev eth0"),
            ("ip -6 route show", "fd77::/64 via fd00:1::1 dev eth0 metric 9 mtu 1350"),
            ("ip -6 route show table 100", "fd78::/64 via fd00:1::1 dev eth0"),
        ] {
            let all = shown(stage, command);
            assert!(all.contains(route), "{}: {route} in {all}", kind.plugin);
        }
        let check = stage.plugin_with(json!({"ipam": by_gateways(), "prevResult": result}));
        check.check().ok();
        stage.c1.sh("ip route delete 172.16.0.0/12 table 100");
        let failure = check.check().failure();
        assert!(failure.msg.contains("IP:172.16.0.0") && failure.msg.contains("Table:100"), "{failure:?}");
        stage.plugin_with(config).del().ok();
    });
}

/// A route of the link's own scope has no gateway, so neither has the address.
fn of_scope(kind: Kind) {
    Stage::play(kind, |stage| {
        let routes = json!([{"dst": "192.168.0.0/16", "scope": 253}, {"dst": "172.16.0.0/12", "scope": 0}]);
        let ipam = json!({"type": "static", "addresses": [{"address": "10.1.0.2/24"}], "routes": routes});
        let plugin = stage.plugin_with(json!({"ipam": ipam}));
        plugin.add().ok();
        let all = shown(stage, "ip route show");
        assert!(all.contains("192.168.0.0/16 dev eth0 scope link"), "{}: {all}", kind.plugin);
        assert!(all.contains("172.16.0.0/12 dev eth0"), "{}: {all}", kind.plugin);
        plugin.del().ok();
    });
}

#[test]
fn have_their_attributes() {
    EVERYWHERE.into_iter().for_each(honoured);
    EVERYWHERE.into_iter().filter(|kind| kind.plugin != "ptp").for_each(of_scope);
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn have_their_attributes_on_a_stock_kernel() {
    STOCK.into_iter().for_each(honoured);
    STOCK.into_iter().for_each(of_scope);
}
