//! Port mappings by both back ends: who gets through, who may have a port, and what is forgotten.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Chain, Echo, Netns, Network, Node, Plugin, Transport, published, sh, short_chain, with};
use serde_json::{Value, json};

const BACK_ENDS: [&str; 2] = ["nftables", "iptables"];

/// Where containers listen, and the host's port that leads there.
const INSIDE: u16 = 7000;
const OUTSIDE: u16 = 8080;

/// A bridge with port mappings of these options.
fn list(backend: &str, options: &Value) -> Value {
    let mut list = short_chain("net", backend, &["bridge", "portmap"]);
    list["plugins"][1] = with(list["plugins"][1].clone(), options.clone());
    list
}

fn network(backend: &str, options: &Value, mapping: Value) -> Network {
    let mapping = with(json!({"hostPort": OUTSIDE, "containerPort": INSIDE, "protocol": "tcp"}), mapping);
    Network::new(&list(backend, options)).asked(json!({"portMappings": [mapping]}))
}

fn ask(address: &str) -> io::Result<IpAddr> {
    Transport::Tcp.ask(SocketAddr::new(address.parse().expect("an address"), OUTSIDE))
}

fn assert_told(address: &str, client: &str) {
    assert_eq!(ask(address).unwrap_or_else(|error| panic!("{address}: {error}")).to_string(), client);
}

fn assert_refused(address: &str) {
    let outcome = ask(address);
    assert!(outcome.is_err(), "{address} is served: {outcome:?}");
}

/// A container that serves is attached, and a remote host is there to ask it.
fn served(backend: &str, options: &Value, mapping: &Value, story: impl Fn(&Netns) + Send + Sync) {
    Node::run(|node| {
        let (remote, container) = (node.remote(), node.netns("c1"));
        let network = network(backend, options, mapping.clone());
        network.add(&container).ok();
        network.check(&container).ok();
        let echo = Echo::start(&container, INSIDE);
        story(&remote);
        drop(echo);
        network.del(&container).ok();
    });
}

#[test]
fn at_one_address_of_the_host() {
    for backend in BACK_ENDS {
        served(backend, &json!({}), &json!({"hostIP": "192.0.2.9"}), |remote| {
            sh("ip address add 192.0.2.9/24 dev uplink");
            remote.enter(|| assert_told("192.0.2.9", "192.0.2.2"));
            remote.enter(|| assert_refused("192.0.2.1"));
            assert_refused("127.0.0.1");
            assert_refused("2001:db8::1");
        });
        served(backend, &json!({}), &json!({"hostIP": "2001:db8::1"}), |remote| {
            remote.enter(|| assert_told("2001:db8::1", "2001:db8::2"));
            remote.enter(|| assert_refused("192.0.2.1"));
        });
        served(backend, &json!({}), &json!({"hostIP": "127.0.0.1"}), |remote| {
            ask("127.0.0.1").expect("the host is served");
            remote.enter(|| assert_refused("192.0.2.1"));
        });
    }
}

#[test]
fn at_all_addresses_of_one_family() {
    for backend in BACK_ENDS {
        served(backend, &json!({}), &json!({"hostIP": "0.0.0.0"}), |remote| {
            remote.enter(|| assert_told("192.0.2.1", "192.0.2.2"));
            remote.enter(|| assert_refused("2001:db8::1"));
        });
        served(backend, &json!({}), &json!({"hostIP": "::"}), |remote| {
            remote.enter(|| assert_told("2001:db8::1", "2001:db8::2"));
            remote.enter(|| assert_refused("192.0.2.1"));
        });
    }
}

/// Nobody's address is changed, so those to whom the answer would come directly are not served.
#[test]
fn without_snat() {
    for backend in BACK_ENDS {
        served(backend, &json!({"snat": false}), &json!({}), |remote| {
            remote.enter(|| assert_told("192.0.2.1", "192.0.2.2"));
            assert_refused("127.0.0.1");
        });
    }
}

#[test]
fn everybody_masqueraded() {
    for backend in BACK_ENDS {
        served(backend, &json!({"masqAll": true}), &json!({}), |remote| {
            remote.enter(|| assert_told("192.0.2.1", "10.1.0.1"));
            remote.enter(|| assert_told("2001:db8::1", "fd00:1::1"));
        });
    }
}

#[test]
fn under_conditions() {
    let languages = [
        ("nftables", json!({"conditionsV4": ["ip", "daddr", "192.0.2.9"]})),
        ("iptables", json!({"conditionsV4": ["-d", "192.0.2.9"]})),
    ];
    for (backend, conditions) in languages {
        served(backend, &conditions, &json!({}), |remote| {
            sh("ip address add 192.0.2.9/24 dev uplink");
            remote.enter(|| assert_told("192.0.2.9", "192.0.2.2"));
            remote.enter(|| assert_refused("192.0.2.1"));
            remote.enter(|| assert_told("2001:db8::1", "2001:db8::2"));
        });
    }
}

#[test]
fn by_iptables_where_only_that_knows_the_options() {
    Node::run(|node| {
        let container = node.netns("c1");
        let options = json!({"backend": null, "conditionsV4": ["-d", "192.0.2.9"]});
        let network = network("nftables", &options, json!({}));
        network.add(&container).ok();
        assert!(node.state().has("iptables-save nat chain CNI-DN-"), "{}", node.state());
        network.del(&container).ok();
    });
}

#[test]
fn no_mapping_is_no_work() {
    Node::run(|node| {
        let container = node.netns("c1");
        let bridge = Chain::new(&short_chain("net", "nftables", &["bridge"]), &Value::Null);
        let result = bridge.add(&container, "c1");
        let before = node.state();
        for members in [json!({}), json!({"runtimeConfig": {"portMappings": []}})] {
            let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": result});
            let plugin = Plugin::new("portmap").config(&with(config, members)).netns(&container);
            assert_eq!(plugin.add().ok(), result);
            plugin.check().ok();
            plugin.del().ok();
        }
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
        bridge.del(&container, "c1", &result);
    });
}

#[test]
fn a_port_is_of_one_container_at_a_time() {
    for backend in BACK_ENDS {
        Node::run(|node| {
            let (first, second) = (node.netns("c1"), node.netns("c2"));
            let network = network(backend, &json!({}), json!({}));
            network.add(&first).ok();
            let before = node.state();
            let refusal = network.add(&second);
            assert!(!refusal.succeeded(), "{backend}: {refusal}");
            // The runtime names containers after their namespaces: this is c1's.
            for word in ["8080", "cnitool-20b4ff582526573bbe7d"] {
                assert!(refusal.stderr.contains(word), "{backend}: no {word} in\n{refusal}");
            }
            network.del(&second).ok();
            node.assert_nothing_left_since(&before);
            assert_eq!(before.left_since(&node.state()), [] as [&str; 0], "the first has lost something");
            network.del(&first).ok();
            network.add(&second).ok();
            network.del(&second).ok();
        });
    }
}

/// Its namespace has gone, and nobody has called DEL. When somebody does, the port is another's.
#[test]
fn a_port_of_a_dead_container_is_free() {
    Node::run(|node| {
        let (remote, dead, alive) = (node.remote(), node.netns("c1"), node.netns("c2"));
        let network = network("nftables", &json!({}), json!({}));
        network.add(&dead).ok();
        dead.vanish();
        // The kernel takes the namespace down, with the link to it, in its own time, and nothing tells when.
        let deadline = Instant::now() + Duration::from_secs(10);
        while sh("ip -brief link show type bridge_slave").contains("veth") && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        network.add(&alive).ok();
        network.del(&dead).ok();
        let echo = Echo::start(&alive, INSIDE);
        remote.enter(|| assert_told("192.0.2.1", "192.0.2.2"));
        drop(echo);
        network.del(&alive).ok();
    });
}

#[test]
fn one_port_of_different_addresses_and_protocols_is_of_different_containers() {
    for backend in BACK_ENDS {
        Node::run(|node| {
            let mappings = [
                json!({"hostIP": "192.0.2.1"}),
                json!({"hostIP": "192.0.2.9"}),
                json!({"hostIP": "2001:db8::1"}),
                json!({"protocol": "udp"}),
                json!({"protocol": "sctp"}),
            ];
            let containers: Vec<Netns> = (0..mappings.len()).map(|number| node.netns(&format!("c{number}"))).collect();
            let networks = mappings.map(|mapping| network(backend, &json!({}), mapping));
            networks.iter().zip(&containers).for_each(|(network, netns)| drop(network.add(netns).ok()));
            networks.iter().zip(&containers).for_each(|(network, netns)| drop(network.del(netns).ok()));
        });
    }
}

/// The names of both attachments differ in the network only.
#[test]
fn a_container_on_two_networks_keeps_one_when_it_loses_the_other() {
    for backend in BACK_ENDS {
        Node::run(|node| {
            let (remote, container) = (node.remote(), node.netns("c1"));
            let mut other = list(backend, &json!({}));
            other["name"] = json!("other");
            other["plugins"][0] = with(
                other["plugins"][0].clone(),
                json!({"bridge": "other", "isDefaultGateway": false, "isGateway": true,
                    "ipam": {"type": "host-local", "subnet": "10.2.0.0/24"}}),
            );
            let (one, two) = (
                network(backend, &json!({}), json!({})),
                Network::new(&other).asked(published(9090, INSIDE)).ifname("net1"),
            );
            one.add(&container).ok();
            two.add(&container).ok();
            two.del(&container).ok();
            let echo = Echo::start(&container, INSIDE);
            remote.enter(|| assert_told("192.0.2.1", "192.0.2.2"));
            drop(echo);
            one.del(&container).ok();
        });
    }
}

#[test]
fn deleted_though_the_back_end_has_changed_since() {
    for (then, now) in [("iptables", "nftables"), ("nftables", "iptables")] {
        Node::run(|node| {
            let container = node.netns("c1");
            network(then, &json!({}), json!({})).add(&container).ok();
            network(now, &json!({}), json!({})).del(&container).ok();
        });
    }
}

#[test]
fn deleted_without_mappings() {
    for backend in BACK_ENDS {
        Node::run(|node| {
            let container = node.netns("c1");
            network(backend, &json!({}), json!({})).add(&container).ok();
            network(backend, &json!({}), json!({})).asked(Value::Null).del(&container).ok();
        });
    }
}

/// A client that goes on talking from one port: the kernel remembers where its packets went.
struct Caller(UdpSocket);

impl Caller {
    fn new(from: &Netns, port: u16) -> Self {
        let socket = from.enter(|| UdpSocket::bind(("0.0.0.0", 0))).expect("a socket");
        socket.connect(("192.0.2.1", port)).expect("an address");
        socket.set_read_timeout(Some(Duration::from_millis(900))).expect("a timeout");
        Self(socket)
    }

    /// What nobody listens to may be answered with an error, now or at the next call.
    fn call(&self) -> bool {
        let _ = self.0.send(b"anybody there?");
        self.0.send(b"anybody there?").is_ok() && self.0.recv(&mut [0; 64]).is_ok()
    }
}

#[test]
fn flows_of_datagrams_follow_the_mapping() {
    for backend in BACK_ENDS {
        Node::run(|node| {
            let (remote, other) = (node.remote(), node.netns("other"));
            // From here on the kernel follows flows.
            let elsewhere = network(backend, &json!({}), json!({"hostPort": 9090, "protocol": "udp"}));
            elsewhere.add(&other).ok();
            let (caller, stranger) = (Caller::new(&remote, OUTSIDE), Caller::new(&remote, 9999));
            assert!(!caller.call() && !stranger.call());
            let udp = network(backend, &json!({}), json!({"protocol": "udp"}));
            for name in ["c1", "c2"] {
                let container = node.netns(name);
                udp.add(&container).ok();
                let echo = Echo::start(&container, INSIDE);
                assert!(caller.call(), "{backend}: the packets do not come to {name}\n{}", node.state());
                drop(echo);
                udp.del(&container).ok();
                container.vanish();
            }
            assert!(node.state().has("dport=9999"), "flows of others are none of its business");
            elsewhere.del(&other).ok();
        });
    }
}
