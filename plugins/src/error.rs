//! What the kernel crate says, in the protocol's terms.

use std::fmt;

use cni::Error;
use kernel::netns;
use kernel::plan::{Deviation, Failure};

/// A step that could not be done: its text, and in the details the command line that it stands for.
#[must_use]
pub fn from_failure(failure: Failure) -> Error {
    Error::internal(failure.text).with_details(format!("while doing: {}", failure.step))
}

/// A namespace that can't be used.
#[must_use]
pub fn from_netns(path: &str, error: &netns::Error) -> Error {
    Error::internal(format!("failed to open netns \"{path}\": {error}"))
}

/// Any other error with what was attempted.
pub fn attempt(what: impl fmt::Display, error: impl fmt::Display) -> Error {
    Error::internal(format!("{what}: {error}"))
}

/// What CHECK found, in the words that callers of the Go suite know where it has words for it.
#[must_use]
pub fn from_deviation(deviation: Deviation) -> Error {
    Error::internal(match deviation {
        Deviation::WrongKind { link, expected } => format!("Error: Container interface {link} not of type {expected}"),
        Deviation::WrongMac { link, expected, found } => {
            format!("Interface {link} Mac {expected} doesn't match container Mac: {found}")
        }
        Deviation::LinkMissing(link) => format!("Interface name {link} not found"),
        Deviation::AddressMissing { link, address } => format!("Failed to match addr {address} on interface {link}"),
        Deviation::RouteMissing(route) => {
            format!("Expected Route {} not found in routing table", GoRoute(&route))
        }
        other => other.to_string(),
    })
}

/// A route as Go prints the structure of one.
struct GoRoute<'a>(&'a kernel::route::Route);

impl fmt::Display for GoRoute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.0;
        let mask: String = match route.dst.mask() {
            std::net::IpAddr::V4(mask) => mask.octets().iter().map(|byte| format!("{byte:02x}")).collect(),
            std::net::IpAddr::V6(mask) => mask.octets().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let nil = |value: Option<String>| value.unwrap_or_else(|| "<nil>".into());
        write!(
            f,
            "{{Dst:{{IP:{} Mask:{mask}}} GW:{} MTU:{} AdvMSS:{} Priority:{} Table:{} Scope:{}}}",
            route.dst.ip(),
            nil(route.gateway.map(|ip| ip.to_string())),
            route.mtu.unwrap_or_default(),
            route.advmss.unwrap_or_default(),
            route.priority.unwrap_or_default(),
            nil(route.table.map(|table| table.to_string())),
            nil(route.scope.map(|scope| scope.to_string())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_route_reads_as_callers_know_it() {
        let route = kernel::route::Route::to("0.0.0.0/0".parse().unwrap());
        let error = from_deviation(Deviation::RouteMissing(Box::new(route)));
        assert_eq!(
            error.msg,
            "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000} GW:<nil> MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>} \
             not found in routing table"
        );
    }
}
