//! The same call to both suites, and either taking down what the other has made.

use super::*;

struct Case {
    what: &'static str,
    prepare: &'static str,
    ips: &'static str,
    keys: &'static str,
}

const V4: &str = r#"{"interface": 1, "address": "10.1.0.2/24", "gateway": "10.1.0.1"}"#;
const V6: &str = r#"{"interface": 1, "address": "fd01::2/64", "gateway": "fd01::1"}"#;

/// What the suite of Debian 12 knows too; it has neither `gateways` nor `addSourceHints`.
const CASES: &[Case] = &[
    Case { what: "IPv4", prepare: "", ips: V4, keys: "" },
    Case { what: "IPv6", prepare: "", ips: V6, keys: "" },
    Case {
        what: "both families",
        prepare: "",
        ips: r#"{"interface": 1, "address": "10.1.0.2/24", "gateway": "10.1.0.1"},
                {"interface": 1, "address": "fd01::2/64", "gateway": "fd01::1"}"#,
        keys: "",
    },
    Case {
        what: "two addresses of a network, one without a router, both of no interface",
        prepare: "ip -n pod addr add 10.1.0.3/24 dev net1",
        ips: r#"{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}, {"interface": 9, "address": "10.1.0.3/24"}"#,
        keys: "",
    },
    Case {
        what: "an address of another interface",
        prepare: "",
        ips: r#"{"interface": 0, "address": "10.9.0.2/24"}, {"interface": 1, "address": "10.1.0.2/24"}"#,
        keys: "",
    },
    Case {
        what: "routes of all kinds",
        prepare: "ip -n pod route add 10.9.0.0/16 via 10.1.0.1 metric 7 mtu 1300 advmss 900
                  ip -n pod route add 10.8.0.0/16 dev net1 scope link
                  ip -n pod route add 10.7.0.0/16 dev net1 src 10.1.0.2 proto static
                  ip -n pod -6 route add fd09::/64 via fd01::1 metric 7 mtu 1300",
        ips: V4,
        keys: "",
    },
    Case {
        what: "no default route in main",
        prepare: "ip -n pod route del default; ip -n pod -6 route del default",
        ips: V4,
        keys: "",
    },
    Case {
        what: "tables in use",
        prepare: "ip -n pod rule add from 10.99.0.1 lookup 100; ip -n pod -6 rule add from fd99::1 lookup 101",
        ips: V4,
        keys: "",
    },
];

/// The state after each of some verbs, in a pod of its own.
fn after(case: &Case, verbs: &[(&str, bool)]) -> String {
    namespace(|| {
        shell(TOPOLOGY);
        attach(1);
        shell(case.prepare);
        let json = conf_with(1, case.ips, case.keys);
        for (verb, ours) in verbs {
            match ours {
                true => NET1.ours(&Sbr, verb, &json).good(),
                false => NET1.go("sbr", verb, &json).good(),
            };
        }
        routing()
    })
}

#[test]
fn both_suites_route_alike() {
    for case in CASES {
        let (ours, theirs) = (after(case, &[("ADD", true)]), after(case, &[("ADD", false)]));
        assert!(ours.contains("lookup 10"), "{}: {ours}", case.what);
        assert_eq!(ours, theirs, "{}", case.what);
    }
}

#[test]
fn either_suite_takes_down_what_the_other_made() {
    for case in CASES {
        let both_go = after(case, &[("ADD", false), ("DEL", false)]);
        for order in [[("ADD", true), ("DEL", false)], [("ADD", false), ("DEL", true)], [("ADD", true), ("DEL", true)]]
        {
            assert_eq!(after(case, &order), both_go, "{}: {order:?}", case.what);
        }
    }
}

/// CHECK and a second ADD of ours accept what the Go suite has made.
#[test]
fn what_the_go_suite_made_is_good_enough() {
    for case in CASES {
        let made = after(case, &[("ADD", false)]);
        assert_eq!(
            after(case, &[("ADD", false), ("CHECK", true), ("ADD", true), ("CHECK", true)]),
            made,
            "{}",
            case.what
        );
    }
}

#[test]
fn answers_and_refusals_are_alike() {
    namespace(|| {
        shell(TOPOLOGY);
        attach(1);
        let bare = r#"{"cniVersion": "1.0.0", "name": "n1", "type": "sbr"}"#.to_owned();
        for json in [bare, conf_with(1, "", "")] {
            assert_eq!(NET1.ours(&Sbr, "ADD", &json).stdout, NET1.go("sbr", "ADD", &json).stdout);
        }
        let missing = Caller { ifname: "net9", ..NET1 };
        let json = conf(9, "");
        assert_eq!(missing.ours(&Sbr, "ADD", &json).stdout, missing.go("sbr", "ADD", &json).stdout);
        // An error in Debian's version of the suite, no longer in later ones.
        missing.ours(&Sbr, "DEL", &json).good();
        let json = conf(1, "");
        let theirs = NET1.go("sbr", "ADD", &json).good();
        assert_eq!(NET1.ours(&Sbr, "ADD", &json).good().result(), theirs.result());
    });
}

/// A configured table, which Debian 12's suite does not know.
#[test]
fn both_suites_lead_to_a_table_alike() {
    let Some(folder) = newer_go() else { return };
    let json = conf(1, r#", "table": 70000"#);
    let after = |calls: [(bool, &str); 2]| {
        namespace(|| {
            shell(TOPOLOGY);
            attach(1);
            calls.map(|(ours, verb)| {
                let answer = match ours {
                    true => NET1.ours(&Sbr, verb, &json),
                    false => NET1.go_in(&folder, "sbr", verb, &json),
                };
                answer.good();
                routing()
            })
        })
    };
    let theirs = after([(false, "ADD"), (false, "DEL")]);
    for (adds, deletes) in [(true, true), (true, false), (false, true)] {
        assert_eq!(after([(adds, "ADD"), (deletes, "DEL")]), theirs);
    }
}
