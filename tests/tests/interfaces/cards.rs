//! host-device with network cards: two of the virtual machine's, wired to each other. One is lent, the remote host has the
//! other. What is physical goes back to the machine itself when its namespace dies, so the plugin runs there.

use std::thread;
use std::time::{Duration, Instant};

use harness::{Answer, Netns, Node, Plugin, Server, addresses, with};
use serde_json::{Value, json};

use crate::kinds::HOST_DEVICE;

/// The card that is lent, as `tests/vm/boot.sh` makes it, and the other.
const CARD: &str = "eth0";
const HARDWARE: &str = "52:54:00:00:00:01";
const OTHER: &str = "eth1";

/// The machine, with the card up and with addresses of its own.
struct Machine<'a> {
    node: &'a Node,
    host: Netns,
    remote: Netns,
}

impl Machine<'_> {
    /// Tells a story, and puts the cards back.
    fn play(story: impl FnOnce(&Machine<'_>) + Send) {
        Node::run_messy(|node| {
            let machine = Machine { node, host: Netns::of_process(1), remote: node.netns("remote") };
            machine.host.ip(&format!(
                "link set {OTHER} netns remote
                link set {CARD} up
                address add 198.51.100.1/24 brd + dev {CARD}
                address add 2001:db8:5::1/64 dev {CARD} nodad"
            ));
            machine.remote.ip(&format!(
                "link set {OTHER} up
                address add 10.1.0.1/24 dev {OTHER}
                address add fd00:1::1/64 dev {OTHER} nodad"
            ));
            story(&machine);
            machine.remote.ip(&format!("link set {OTHER} netns 1"));
            machine.host.ip(&format!("address flush dev {CARD}\nlink set {CARD} down"));
        });
    }

    /// A call with the card named by some members.
    fn call(&self, verb: &str, container: &Netns, members: Value) -> Answer {
        let config = with(with(HOST_DEVICE.network(), json!({"device": ""})), members);
        let plugin = Plugin::new("host-device").config(&config).env("CNI_NETNS", container.path());
        self.host.enter(|| plugin.call(verb))
    }

    fn assert_reached(&self, container: &Netns, result: &Value) {
        for (gateway, address) in ["10.1.0.1", "fd00:1::1"].iter().zip(addresses(result)) {
            let gateway = gateway.parse().expect("an address");
            assert_eq!(Server::listen(&self.remote, gateway).serve(container), address);
            assert_eq!(Server::listen(container, address).serve(&self.remote), gateway);
        }
    }

    /// Name, address, flags and IP addresses of the card at home, or nothing.
    fn card(&self) -> String {
        self.host.sh(&format!("ip -br link show {CARD} 2>&1 || :; ip -br address show {CARD} 2>&1 || :"))
    }

    /// The same once it has its carrier and its link-local address.
    fn settled_card(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let card = self.card();
            if card.contains("LOWER_UP") && card.contains("fe80:") || Instant::now() > deadline {
                return card;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the kernel to notice the carrier and to take its addresses into use.
    fn assert_home(&self, before: &str, story: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.card() != before {
            assert!(Instant::now() < deadline, "{story}: {}\nnot as before: {before}", self.card());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The card's place among the devices of the machine, and that on the PCI bus.
fn places() -> (String, String) {
    let device = std::fs::canonicalize(format!("/sys/class/net/{CARD}/device")).expect("a card");
    let pci = device.parent().and_then(|slot| slot.file_name()).expect("a slot");
    (device.to_str().expect("UTF-8").to_owned(), pci.to_str().expect("UTF-8").to_owned())
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn are_lent_by_every_name_that_they_have() {
    let (path, pci) = places();
    Machine::play(|machine| {
        let before = machine.settled_card();
        for name in [
            json!({"device": CARD}),
            json!({"hwaddr": HARDWARE}),
            json!({"kernelpath": path}),
            json!({"pciBusID": pci}),
            json!({"runtimeConfig": {"deviceID": pci}}),
        ] {
            let container = machine.node.netns("c1");
            let result = machine.call("ADD", &container, name.clone()).ok();
            assert_eq!(result["interfaces"][0]["mac"], HARDWARE);
            assert!(machine.card().contains("does not exist"), "{}", machine.card());
            machine.assert_reached(&container, &result);
            let _ = machine.call("CHECK", &container, with(name.clone(), json!({"prevResult": result}))).ok();
            let gone = machine.call("DEL", &container, name.clone());
            assert!(gone.succeeded(), "{gone}");
            machine.assert_home(&before, &name.to_string());
            let again = machine.call("DEL", &container, name.clone());
            assert!(again.succeeded(), "{again}");
            container.vanish();
        }
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn come_home_from_a_namespace_that_has_died() {
    Machine::play(|machine| {
        let before = machine.settled_card();
        for verb in ["DEL", "GC"] {
            let container = machine.node.netns("c1");
            // A name that the card keeps when the kernel sends it back.
            let _ = machine.call("ADD", &container, json!({"device": CARD})).ok();
            container.vanish();
            let nobody = json!({"cni.dev/valid-attachments": [], "cni.dev/attachments": []});
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                let ended = machine.call(verb, &container, with(json!({"device": CARD}), nobody.clone()));
                assert!(ended.succeeded(), "{ended}");
                if !machine.card().contains("does not exist") {
                    break;
                }
                assert!(Instant::now() < deadline, "the card has not come back");
            }
            machine.assert_home(&before, verb);
        }
    });
}
