//! The host of one side: a network namespace of its own, in which its plugins are called as a runtime calls a list.

use harness::{Netns, Node, Suite};
use serde_json::{Value, from_str, json};

use crate::call::{Call, Verb};
use crate::peak;
use crate::side::Side;

/// A plugin of a chain.
pub(crate) struct Member {
    plugin: &'static str,
    config: fn(&Side) -> Value,
    is_measured: bool,
}

/// A plugin that is measured.
pub(crate) fn measured(plugin: &'static str, config: fn(&Side) -> Value) -> Member {
    Member { plugin, config, is_measured: true }
}

/// A plugin that the measured ones build upon.
pub(crate) fn given(plugin: &'static str, config: fn(&Side) -> Value) -> Member {
    Member { plugin, config, is_measured: false }
}

/// The container of a call: its namespace, and the ports of the host that are its own.
#[derive(Clone, Copy)]
pub(crate) struct Container<'a> {
    pub(crate) netns: &'a Netns,
    pub(crate) port: u16,
}

/// What is measured of a chain's calls.
#[derive(Clone, Copy)]
pub(crate) enum Quantity {
    /// Milliseconds, of all calls together.
    Time,
    /// MiB, of the largest process.
    Memory,
    /// Processes, of all calls together, that are no plugins of the suite.
    Processes,
}

impl Quantity {
    fn of(self, call: &Call) -> Result<(String, f64), String> {
        match self {
            Self::Time => call.run().map(|done| (done.stdout, done.time.as_secs_f64() * 1e3)),
            Self::Memory => peak::run(call).map(|(done, peak)| (done.stdout, peak)),
            Self::Processes => crate::processes::run(call).map(|(done, count)| (done.stdout, count)),
        }
    }

    fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Memory => one.max(other),
            Self::Time | Self::Processes => one + other,
        }
    }
}

pub(crate) struct Host<'a> {
    pub(crate) side: &'a Side,
    pub(crate) netns: Netns,
}

impl<'a> Host<'a> {
    pub(crate) fn boot(node: &Node, side: &'a Side) -> Self {
        side.prepare();
        let netns = node.netns(&format!("host-{}", side.name));
        netns.sh("ip link set lo up");
        Self { side, netns }
    }

    /// ADD of a chain, each plugin with the result of the one before it. Returns the last result.
    pub(crate) fn add(
        &self,
        chain: &[Member],
        container: Container<'_>,
        quantity: Quantity,
    ) -> Result<(Value, f64), String> {
        let mut result = Value::Null;
        let mut total = 0.0;
        for member in chain {
            let call = self.call(member, Verb::Add, container, &result);
            let (answer, value) = measure(member, &call, quantity)?;
            result = from_str(&answer).map_err(|error| format!("ADD answered {answer:?}: {error}"))?;
            total = quantity.join(total, value);
        }
        Ok((result, total))
    }

    /// DEL of a chain, in reverse, each plugin with the result of the chain's ADD. It goes on through failures.
    ///
    /// The newer Go suite's bridge takes masquerading away from nftables, and then fails because iptables 1.8.9 says in
    /// other words than it expects that it has no chain of this container. The work is done all the same.
    pub(crate) fn del(
        &self,
        chain: &[Member],
        container: Container<'_>,
        result: &Value,
        quantity: Quantity,
    ) -> Result<f64, String> {
        let one = |member| {
            let call = self.call(member, Verb::Del, container, result);
            measure(member, &if self.side.suite == Suite::Newer { call.forgiven() } else { call }, quantity)
        };
        let values: Vec<_> = chain.iter().rev().map(one).collect();
        values.into_iter().try_fold(0.0, |total, value| Ok(quantity.join(total, value?.1)))
    }

    /// A call as a runtime makes it: the plugin's configuration, completed.
    pub(crate) fn call(&self, member: &Member, verb: Verb, container: Container<'_>, result: &Value) -> Call {
        let mut config = (member.config)(self.side);
        config["cniVersion"] = json!("1.0.0");
        config["name"] = json!(self.side.name);
        if !result.is_null() {
            config["prevResult"] = result.clone();
        }
        if config["capabilities"]["portMappings"] == true {
            config["runtimeConfig"] = json!({"portMappings": mappings(container.port)});
        }
        Call::new(self, member.plugin, verb, container.netns, &config)
    }
}

/// What is published of a container.
fn mappings(port: u16) -> Value {
    json!([
        {"hostPort": port, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": port, "containerPort": 53, "protocol": "udp"},
    ])
}

/// What is given is called as well, but counts for nothing.
fn measure(member: &Member, call: &Call, quantity: Quantity) -> Result<(String, f64), String> {
    if member.is_measured { quantity.of(call) } else { call.run().map(|done| (done.stdout, 0.0)) }
}
