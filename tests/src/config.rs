//! Configurations that many stories begin with.

use serde_json::{Value, json};

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
