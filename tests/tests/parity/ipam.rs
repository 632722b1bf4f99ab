//! What rows of the interface plugins have for addresses.

use serde_json::{Value, json};

/// A pool of IPv4.
pub(crate) fn v4() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]})
}

/// A pool of IPv6.
pub(crate) fn v6() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "fd00:1::/64"}]]})
}

/// A pool of each.
pub(crate) fn dual() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]})
}

/// The same with routes.
pub(crate) fn routed(routes: Value) -> Value {
    let mut ipam = dual();
    ipam["routes"] = routes;
    ipam
}

/// The same with a route that the kernel refuses.
pub(crate) fn lost() -> Value {
    routed(json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]))
}

/// An IPAM plugin that has an answer, and no addresses in it.
pub(crate) fn nothing() -> Value {
    json!({"type": "static"})
}
