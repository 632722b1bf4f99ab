//! Forwarding between links, which containers need to reach anything but the host. Shared, so never undone.

use kernel::plan::{Setting, Side, Sysctls};

/// Makes the host forward packets of a family. Only written when it is off: writing resets what links have of their own.
/// `attempt` begins the text of a failure.
#[must_use]
pub fn forwarding(is_ipv6: bool, attempt: &str) -> Sysctls {
    let parameter = if is_ipv6 { "net/ipv6/conf/all/forwarding" } else { "net/ipv4/ip_forward" };
    Sysctls { side: Side::Host, settings: vec![Setting::required(parameter, "1", attempt)] }
}
