//! GC: blocks of this network whose attachment is not valid.

use super::*;
use crate::bandwidth::block;

/// A block with an alias, as ADD makes it for an attachment.
fn tagged(name: &str, owner: &Owner) {
    sh(&format!("ip link add {name} type ifb; ip link set {name} alias '{}'", owner.tag()));
}

fn untagged(name: &str) {
    sh(&format!("ip link add {name} type ifb"));
}

#[test]
fn of_blocks_that_say_whose_they_are() {
    play(|_| {
        tagged("bwp1", &owner("n1", "dead", "eth0"));
        tagged("bwp2", &owner("n1", "alive", "eth0"));
        tagged("bwp3", &owner("n1", "alive", "eth1"));
        tagged("bwp4", &owner("n2", "dead", "eth0"));
        sh("ip link add bwp5 type ifb; ip link set bwp5 alias 'the admin'");
        Bandwidth.gc(&call(&[]), &ValidAttachments::unspecified()).unwrap();
        assert_eq!(blocks(), ["bwp1", "bwp2", "bwp3", "bwp4", "bwp5"]);
        gc(&[("alive", "eth0")]).unwrap();
        assert_eq!(blocks(), ["bwp2", "bwp4", "bwp5"]);
        gc(&[]).unwrap();
        assert_eq!(blocks(), ["bwp4", "bwp5"]);
    });
}

#[test]
fn of_the_go_suites_blocks_only_those_on_record() {
    play(|_| {
        let net = "n1".parse().unwrap();
        let [dead, alive, unknown] = ["dead", "alive", "unknown"].map(|id| block::go_name(&net, id));
        let elsewhere = block::go_name(&"n2".parse().unwrap(), "dead");
        let [crashed, working] = ["eth7", "eth8"].map(|ifname| block::own_name(&net, "alive", ifname));
        for name in [&dead, &alive, &unknown, &elsewhere, &crashed, &working] {
            untagged(name);
        }
        untagged("ifb0");
        for (id, ifname) in [("dead", "eth0"), ("alive", "eth0"), ("alive", "eth7"), ("alive", "eth8")] {
            record("n1", id, ifname);
        }
        record("n2", "unknown", "eth0");
        gc(&[("alive", "eth8")]).unwrap();
        let mut left = vec![alive, unknown, elsewhere, working, "ifb0".to_owned()];
        left.sort();
        assert_eq!(blocks(), left);
    });
}

#[test]
fn of_nothing_where_there_is_nothing() {
    play(|_| gc(&[]).unwrap());
}
