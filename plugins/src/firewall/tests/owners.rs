//! Whose an element is: deletion, collection, and what is shared.

use std::thread;

use kernel::netns::NetNs;

use super::attachment::elements;
use super::*;

const OPEN: &str = r#""backend": "nftables""#;
const SAME_BRIDGE: &str = r#""backend": "nftables", "ingressPolicy": "same-bridge""#;
const ISOLATED: &str = r#""backend": "nftables", "ingressPolicy": "isolated""#;

#[test]
fn adding_twice_is_adding_once() {
    namespace(|| {
        let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24", "10.77.0.2/24", "fd00::2/64"], ISOLATED);
        attachment.add().unwrap();
        let once = shell("nft list ruleset");
        attachment.add().unwrap();
        assert_eq!(shell("nft list ruleset"), once);
    });
}

#[test]
fn deletion_takes_only_ones_own() {
    namespace(|| {
        let other = Fixture::new("c2", "br1", &["10.77.0.3/24", "fd00::3/64"], ISOLATED);
        other.add().unwrap();
        let before = elements();
        for config in [OPEN, SAME_BRIDGE, ISOLATED] {
            let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24", "fd00::2/64"], config);
            let deletions: [Deletion; 2] = [Fixture::del, Fixture::del_without_result];
            for delete in deletions {
                attachment.add().unwrap();
                assert_eq!(attachment.check(), None);
                delete(&attachment).unwrap();
                assert_eq!(elements(), before);
                delete(&attachment).unwrap();
                assert_eq!(other.check(), None);
            }
        }
    });
}

/// The configuration may have changed since ADD, and the result may tell less than it did.
#[test]
fn deletion_does_not_go_by_the_configuration() {
    namespace(|| {
        for config in [r#""backend": "iptables""#, r#""backend": "nftables""#, ""] {
            let mut attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], ISOLATED);
            attachment.add().unwrap();
            attachment.config = config.to_owned();
            let previous = r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.77.0.2/24"}]}"#;
            Firewall.del(&attachment.call_with(previous), &attachment.attachment()).unwrap();
            assert_eq!(elements(), [""; 0]);
        }
    });
}

/// An address that was left behind goes to whoever has it now, and a late DEL does not take it away.
#[test]
fn addresses_follow_their_owners() {
    namespace(|| {
        let old = Fixture::new("c1", "br1", &["10.77.0.2/24"], OPEN);
        let new = Fixture::new("c2", "br1", &["10.77.0.2/24"], OPEN);
        old.add().unwrap();
        new.add().unwrap();
        old.del().unwrap();
        assert_eq!(new.check(), None);
        assert_eq!(elements(), ["inet addresses4: 10.77.0.2 (c2)"]);
    });
}

#[test]
fn a_bridge_stays_guarded_until_the_last_has_left() {
    namespace(|| {
        let attachment = |id: &str| Fixture::new(id, "br1", &[], ISOLATED);
        let ids = ["c1", "c2", "c3"];
        let all: Vec<Fixture> = (2..)
            .zip(ids)
            .map(|(host, id)| Fixture { ips: vec![format!("10.77.0.{host}/24")], ..attachment(id) })
            .collect();
        all.iter().for_each(|attachment| drop(attachment.add().unwrap()));
        let shared = |id: &str| {
            [
                format!("inet guarded: br1 ({id})"),
                format!("inet isolated: br1 br1 ({id})"),
                format!("inet within: br1 br1 ({id})"),
            ]
        };
        let found = || {
            elements()
                .into_iter()
                .filter(|line| !line.contains("-by") && !line.contains("addresses") && !line.contains("bridge"))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(), shared("c1"));
        // Somebody who does not hold it leaves; then whoever holds it.
        all[1].del().unwrap();
        assert_eq!(found(), shared("c1"));
        all[0].del_without_result().unwrap();
        assert_eq!(found(), shared("c3"));
        assert_eq!(all[2].check(), None);
        all[2].del().unwrap();
        assert_eq!(elements(), [""; 0]);
    });
}

#[test]
fn one_bridge_may_be_under_two_policies() {
    namespace(|| {
        let same = Fixture::new("c1", "br1", &["10.77.0.2/24"], SAME_BRIDGE);
        let isolated = Fixture::new("c2", "br1", &["10.77.0.3/24"], ISOLATED);
        isolated.add().unwrap();
        same.add().unwrap();
        assert!(elements().contains(&"inet isolated: br1 br1 (c2)".to_owned()));
        isolated.del().unwrap();
        let expected = [
            "inet addresses4: 10.77.0.2 (c1)",
            "inet guarded-by: br1 v-c1 (c1)",
            "inet guarded: br1 (c1)",
            "inet within: br1 br1 (c1)",
        ];
        assert_eq!(elements(), expected);
    });
}

#[test]
fn collection_takes_the_dead_of_one_network() {
    namespace(|| {
        let fixture = |net: &str, id: &str, ip: &str| Fixture::new(id, "br1", &[ip], ISOLATED).in_network(net);
        let dead = fixture("n1", "dead", "10.77.0.2/24");
        let live = fixture("n1", "live", "10.77.0.3/24");
        let other = fixture("n2", "dead", "10.77.0.4/24");
        [&dead, &live, &other].iter().for_each(|attachment| drop(attachment.add().unwrap()));
        // Nobody said who is alive.
        Firewall.gc(&dead.call_with(""), &ValidAttachments::unspecified()).unwrap();
        assert_eq!(dead.check(), None);
        dead.collect(&["live"]).unwrap();
        let found = elements();
        assert!(!found.iter().any(|line| line.contains("10.77.0.2") || line.contains("v-dead")), "{found:?}");
        assert_eq!((live.check(), other.check()), (None, None));
        assert!(dead.check().unwrap().contains("10.77.0.2"));
        // The last of both networks; what is shared goes with them.
        live.collect(&[]).unwrap();
        assert_eq!(other.check(), None);
        other.collect(&[]).unwrap();
        assert_eq!(elements(), [""; 0]);
    });
}

/// DEL may be killed between its halves, and what is left is released by the next one, or by GC.
#[test]
fn what_a_crash_left_is_released() {
    namespace(|| {
        let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], ISOLATED);
        let cleanups: [Deletion; 3] = [Fixture::del, Fixture::del_without_result, |attachment| attachment.collect(&[])];
        for clean in cleanups {
            attachment.add().unwrap();
            shell("nft flush set inet xnet_firewall guarded-by; nft flush set inet xnet_firewall isolated-by");
            shell("nft flush set bridge xnet_firewall isolated; nft flush set inet xnet_firewall addresses4");
            assert_eq!(elements().len(), 3);
            clean(&attachment).unwrap();
            assert_eq!(elements(), [""; 0]);
        }
    });
}

/// Attachments come and go while others hand on: whoever was told of success is protected.
#[test]
fn nobody_is_left_without_protection() {
    namespace(|| {
        let here = NetNs::current().unwrap();
        thread::scope(|scope| {
            for number in 2..12 {
                let here = &here;
                scope.spawn(move || {
                    here.run(|| {
                        let ip = format!("10.77.0.{number}/24");
                        let attachment = Fixture::new(&format!("c{number}"), "br1", &[&ip], ISOLATED);
                        for round in 0..10 {
                            attachment.add().unwrap();
                            assert_eq!(attachment.check(), None);
                            if round % 2 == 0 { attachment.del() } else { attachment.del_without_result() }.unwrap();
                        }
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(elements(), [""; 0]);
    });
}

/// Each half of the step is refused in turn.
#[test]
fn a_refused_addition_leaves_nothing() {
    namespace(|| {
        let other = Fixture::new("c2", "br1", &["10.77.0.3/24"], SAME_BRIDGE);
        let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], ISOLATED);
        // A set of another type in the place of ours takes no element.
        for (table, set) in [
            ("inet", "addresses4"),
            ("inet", "guarded-by"),
            ("inet", "guarded"),
            ("inet", "isolated"),
            ("bridge", "isolated"),
        ] {
            attachment.add().unwrap();
            attachment.del().unwrap();
            shell(&format!(
                "nft delete chain {table} xnet_firewall forward; nft delete set {table} xnet_firewall {set}"
            ));
            shell(&format!("nft add set {table} xnet_firewall {set} '{{ type inet_service; }}'"));
            let before = elements();
            let error = attachment.add().unwrap_err();
            assert!(error.msg.contains(&format!("{table} xnet_firewall {set} {{ ")), "{error}");
            assert_eq!(elements(), before, "{table} {set}");
            shell("nft flush ruleset");
        }
        // What somebody else has stays.
        other.add().unwrap();
        let before = elements();
        shell("nft add table bridge xnet_firewall; nft add set bridge xnet_firewall isolated '{ type inet_service; }'");
        attachment.add().unwrap_err();
        assert_eq!(elements(), before);
        assert_eq!(other.check(), None);
    });
}

#[test]
fn a_later_failure_takes_the_step_back() {
    namespace(|| {
        let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], ISOLATED);
        let machine = &mut Machine::host_only();
        let (plan, _) = plan(&attachment.call(), &attachment.attachment(), machine).unwrap();
        let mut done = Applied::default();
        plan.apply(machine, &mut done).unwrap();
        assert_eq!(elements().len(), 7);
        assert_eq!(done.undo(machine), []);
        assert_eq!(elements(), [""; 0]);
    });
}
