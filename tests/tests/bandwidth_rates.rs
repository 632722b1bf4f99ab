//! Containers behind the `bandwidth` plugin get the rate that is configured, no less and no more.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use harness::{Netns, Node, Plugin, Suite, addresses, dual_stack, sh};
use serde_json::{Value, json};

/// How far from the configured rate the measured one may be. TCP's own share: of 1514 bytes on the wire 1448 arrive as
/// payload, which is 4 % less.
const TOLERANCE: f64 = 0.10;

/// A measurement takes 2 s in parts of 0.25 s. The first three are left out: by then the burst is used up, and TCP has found
/// its pace.
const SECONDS: &str = "2";
const PART: &str = "0.25";
const LEFT_OUT: usize = 3;

/// For rates at which TCP's window would otherwise outgrow the queue (what comes after a lost packet waits for its
/// repetition, and counts only then), and at which a part of the usual size is a large share.
const SMALL: &[&str] = &["-w", "32K", "-l", "4K"];
const SLOW: u64 = 10_000_000;

/// The slow ones at once, because they leave the machine idle; the fast one needs it for itself.
#[test]
fn a_container_gets_the_rate_that_is_configured() {
    thread::scope(|scope| {
        for rate in [8_000_000, 80_000_000] {
            scope.spawn(move || measure(rate));
        }
    });
    measure(800_000_000);
}

/// Measures both ways, one after the other: each direction's acknowledgements use a part of the other's rate.
fn measure(rate: u64) {
    Node::run(|node| {
        let c1 = node.netns("c1");
        let bridge = Plugin::new("bridge").config(&dual_stack("net")).netns(&c1);
        let attached = bridge.add().ok();
        let bandwidth = Plugin::new("bandwidth").config(&config(rate, &attached)).netns(&c1);
        let limited = bandwidth.add().ok();
        bandwidth.clone().config(&config(rate, &limited)).check().ok();

        let to_container = receive(rate, Some(&c1), "10.1.0.1", None);
        let from_container = receive(rate, None, &addresses(&attached)[0].to_string(), Some(&c1));
        for (way, measured) in [("to", to_container), ("from", from_container)] {
            let share = measured / f64::from(u32::try_from(rate).expect("a rate of this story"));
            eprintln!("{:4.1} % of {rate} bits per second {way} the container", share * 100.0);
            assert!((share - 1.0).abs() <= TOLERANCE, "{measured} of {rate} bits per second {way} the container");
        }
        bandwidth.del().ok();
        bridge.del().ok();
    });
}

/// The worth of 50 ms as burst: enough to catch up with when the machine was busy elsewhere, and little beside the time in
/// which a rate is measured.
fn config(rate: u64, previous: &Value) -> Value {
    let burst = rate / 20;
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bandwidth", "ingressRate": rate, "ingressBurst": burst,
        "egressRate": rate, "egressBurst": burst, "prevResult": previous,
    })
}

/// Starts `iperf3` here or in a namespace.
fn start(netns: Option<&Netns>, words: &[&str]) -> Child {
    let mut command = Command::new("iperf3");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = match netns {
        Some(netns) => netns.enter(|| command.spawn()),
        None => command.spawn(),
    };
    child.expect("start iperf3")
}

/// The bits per second that a client gets from a server at `address`, each here or in a namespace: the mean of all parts
/// but the slowest, in which the machine may have had other things to do, and the fastest, in which that is caught up on.
fn receive(rate: u64, client: Option<&Netns>, address: &str, server: Option<&Netns>) -> f64 {
    let _server = Server::start(server);
    let words = ["-c", address, "-R", "-t", SECONDS, "-i", PART, "-J"];
    let size = if rate < SLOW { SMALL } else { &["-l", "64K"] };
    let client = start(client, &[&words, size].concat());
    let output = client.wait_with_output().expect("wait for iperf3");
    let report: Value = serde_json::from_slice(&output.stdout).expect("iperf3 prints JSON");
    let parts = report["intervals"].as_array().unwrap_or_else(|| panic!("no measurement: {report}"));
    let rates = parts.iter().skip(LEFT_OUT).map(|part| part["sum"]["bits_per_second"].as_f64());
    let mut rates: Vec<f64> = rates.collect::<Option<_>>().unwrap_or_else(|| panic!("no rates in {report}"));
    rates.sort_by(f64::total_cmp);
    let middle = &rates[1..rates.len() - 1];
    middle.iter().sum::<f64>() / f64::from(u32::try_from(middle.len()).expect("a few parts"))
}

/// `iperf3` as a server for one client.
struct Server(Child);

impl Server {
    /// Starts it, here or in a namespace, and waits until it listens.
    fn start(netns: Option<&Netns>) -> Self {
        let mut server = Self(start(netns, &["-s", "-1", "--forceflush"]));
        let lines = BufReader::new(server.0.stdout.take().expect("stdout is a pipe")).lines();
        let mut lines = lines.map(|line| line.expect("iperf3 prints text"));
        assert!(lines.any(|line| line.contains("Server listening")), "iperf3 does not listen");
        thread::spawn(move || lines.for_each(drop));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Rates and bursts in bits: usual ones, one with more than 32 bits of bytes per second, one whose bucket has more than 32
/// bits of ticks, and odd ones.
const LIMITS: [(u64, u64); 6] = [
    (8_000_000, 800_000),
    (800_000_000, 80_000_000),
    (80_000_000_000, 8_000_000),
    (1_000_000, 2_147_483_647),
    (12_345, 67_890),
    (9, 1000),
];

#[test]
fn the_queues_are_those_of_the_go_suite() {
    for limit in LIMITS {
        assert_eq!(queues(Suite::Ours, limit), queues(Suite::Go, limit), "{limit:?}");
    }
}

/// What a suite makes of a limit both ways, as `tc` shows it, after a CHECK by the other suite and a DEL by its own.
fn queues(suite: Suite, (rate, burst): (u64, u64)) -> String {
    Node::run_messy(|node| {
        let c1 = node.netns("c1");
        for inside in [false, true] {
            let quiet = || sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up");
            if inside {
                c1.enter(quiet)
            } else {
                quiet()
            };
        }
        sh("ip link add veth0 mtu 1400 type veth peer name eth0 netns c1; ip link set veth0 up");
        c1.sh("ip link set eth0 up");
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bandwidth", "ingressRate": rate, "ingressBurst": burst,
            "egressRate": rate / 2 + 8, "egressBurst": burst, "prevResult": {"cniVersion": "1.0.0", "interfaces": [
                {"name": "veth0", "mac": "02:00:00:00:00:01"},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": c1.path()}]},
        });
        let other = if suite == Suite::Ours { Suite::Go } else { Suite::Ours };
        let of = |suite: Suite| Plugin::of(suite, "bandwidth").config(&config).netns(&c1);
        let result = of(suite).add().ok();
        of(other).check().ok();
        let shown =
            sh("tc -s -d qdisc show; ip -d -j link show type ifb | grep -o '\"mtu\":[0-9]*\\|\"txqlen\":[0-9]*'");
        of(suite).del().ok();
        assert_eq!(sh("ip link show type ifb"), "");
        format!("{}\n{shown}", result["interfaces"][2]["name"])
    })
}
