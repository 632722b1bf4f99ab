//! Configurations that many stories begin with.

use serde_json::{Value, json};

use crate::echo::Transport;

/// A network with a bridge of the same name and host-local pools of both families, 10.1.0.0/24 and fd00:1::/64, which
/// is the default gateway of its containers.
#[must_use]
pub fn dual_stack(network: &str) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": network,
        "type": "bridge",
        "bridge": network,
        "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]},
    })
}

/// The same configuration with other members.
#[must_use]
pub fn with(mut config: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("members are an object: {members}") };
    config.as_object_mut().expect("a configuration is an object").extend(members);
    config
}

/// The list of plugins that a node runs: bridge with masquerade on the network of [`dual_stack`], portmap, firewall,
/// bandwidth and tuning. The first three by a back end.
#[must_use]
pub fn chain(network: &str, backend: &str) -> Value {
    let masquerade = json!({"ipMasq": true, "ipMasqBackend": backend, "hairpinMode": true});
    let mut bridge = with(dual_stack(network), masquerade);
    for key in ["cniVersion", "name"] {
        bridge.as_object_mut().expect("an object").shift_remove(key);
    }
    json!({"cniVersion": "1.0.0", "name": network, "plugins": [
        bridge,
        {"type": "portmap", "backend": backend, "capabilities": {"portMappings": true}},
        {"type": "firewall", "backend": backend},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}, "mtu": 1400},
    ]})
}

/// The list of [`chain`] with the plugins of these types only.
#[must_use]
pub fn short_chain(network: &str, backend: &str, types: &[&str]) -> Value {
    let mut list = chain(network, backend);
    let plugins = list["plugins"].as_array_mut().expect("a list has plugins");
    plugins.retain(|plugin| types.iter().any(|name| plugin["type"] == *name));
    list
}

/// What a runtime asks of a chain: a port of the host that leads to one of the container by all transports, and a rate.
#[must_use]
pub fn published(host: u16, container: u16) -> Value {
    let mapping =
        |transport: Transport| json!({"hostPort": host, "containerPort": container, "protocol": transport.name()});
    let rate = 80_000_000;
    json!({
        "portMappings": Transport::ALL.map(mapping),
        "bandwidth": {"ingressRate": rate, "ingressBurst": rate, "egressRate": rate, "egressBurst": rate},
    })
}

/// The plugins of a list as a runtime calls them, all with the same wishes.
#[must_use]
pub fn parts(list: &Value, wishes: &Value) -> Vec<Value> {
    let plugins = list["plugins"].as_array().expect("a list has plugins");
    let common = json!({"cniVersion": list["cniVersion"], "name": list["name"], "runtimeConfig": wishes});
    plugins.iter().map(|plugin| with(plugin.clone(), common.clone())).collect()
}
