//! GC: by tag, and for what has none by what is on record.

use super::*;

#[test]
fn collection_goes_by_network_and_attachment() {
    both(|| {
        let table = [
            ("n1", "alive", "10.77.0.2"),
            ("n1", "dead", "10.77.0.3"),
            ("n1", "dead", "fd00::3"),
            ("n2", "dead", "10.88.0.3"),
        ];
        for (net, id, ip) in table {
            add(&owner(net, id), Policy::SameBridge, &[ip]);
        }
        collect("n1", &["alive"]);
        let left = everything().concat();
        assert!(!left.iter().any(|rule| rule.contains("10.77.0.3") || rule.contains("fd00::3")), "{left:?}");
        assert!(!rules(Family::V6, FILTER).iter().any(|rule| rule.contains("br0")), "nobody wants it for IPv6");
        for (net, id, ip) in [table[0], table[3]] {
            assert_eq!(check(&owner(net, id), Policy::SameBridge, &[ip]), None, "{net} {id}");
        }
        let before = everything();
        gc(&mut Machine::host_only(), &"n1".parse().unwrap(), &ValidAttachments::unspecified()).unwrap();
        assert_eq!(everything(), before);
        collect("n1", &[]);
        collect("n2", &[]);
        let left = everything().concat();
        assert!(!left.iter().any(|rule| rule.contains("10.") || rule.contains("br0")), "{left:?}");
        assert_eq!(all_notes(), NONE);
    });
}

/// Rules of the Go suite have no owner. They go if an attachment of this network that is not valid has the address on
/// record, and nobody else.
#[test]
fn what_has_no_owner_is_collected_by_its_record() {
    both(|| {
        node();
        let ips = ["10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5", "10.88.0.2"].map(|ip| format!("{ip}/24"));
        for (n, ip) in ips.iter().enumerate() {
            go_well("firewall", "ADD", &format!("cid{n}"), &[ip], r#""backend": "iptables","#);
        }
        record("n1", "dead", "10.77.0.2");
        record("n1", "alive", "10.77.0.3");
        // 10.77.0.4 is on no record.
        record("n1", "dead", "10.77.0.5");
        record("n2", "dead", "10.77.0.5");
        record("n2", "dead", "10.88.0.2");
        shell("iptables -A CNI-FORWARD -s 10.77.0.2 -p tcp -j ACCEPT");
        collect("n1", &["alive"]);
        let left = rules(Family::V4, FILTER);
        let accepted: Vec<&str> = ips
            .iter()
            .map(|ip| ip.split('/').next().unwrap())
            .filter(|ip| left.contains(&format!("-A CNI-FORWARD -s {ip}/32 -j ACCEPT")))
            .collect();
        assert_eq!(accepted, ["10.77.0.3", "10.77.0.4", "10.77.0.5", "10.88.0.2"]);
        assert!(
            left.iter().any(|rule| rule.contains("10.77.0.2/32 -p tcp")),
            "an administrator's rule is gone: {left:?}"
        );
    });
}

/// An address that somebody has noted is not looked up.
#[test]
fn a_stale_record_does_not_take_what_is_noted() {
    namespace(|| {
        add(&owner("n2", "alive"), Policy::Open, &["10.77.0.2"]);
        record("n1", "dead", "10.77.0.2");
        collect("n1", &[]);
        assert_eq!(check(&owner("n2", "alive"), Policy::Open, &["10.77.0.2"]), None);
    });
}
