//! ADD, DEL and CHECK: what is answered, and what is in the directory afterwards.

use super::*;

/// An ADD of both families with a route, in this version.
fn add_both(node: &Node, id: &str, version: &str) -> String {
    let ipam = json!({
        "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}],
    });
    let mut config = node.config(&ipam);
    config["cniVersion"] = version.into();
    node.call("ADD", id, &config).text
}

#[test]
fn answers_in_version_1_1_0() {
    let node = Node::new();
    insta::assert_snapshot!(add_both(&node, "cid1", "1.1.0"), @r#"
    {
        "cniVersion": "1.1.0",
        "ips": [
            {
                "address": "10.77.0.2/24",
                "gateway": "10.77.0.1"
            },
            {
                "address": "fd77::2/64",
                "gateway": "fd77::1"
            }
        ],
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.77.0.1"
            }
        ]
    }
    "#);
    assert_eq!(node.lease("10.77.0.2").as_deref(), Some("cid1\r\neth0"));
    assert_eq!(node.lease("fd77::2").as_deref(), Some("cid1\r\neth0"));
    assert_eq!(node.lease("last_reserved_ip.0").as_deref(), Some("10.77.0.2"));
    assert_eq!(node.lease("last_reserved_ip.1").as_deref(), Some("fd77::2"));
}

#[test]
fn answers_in_version_0_4_0() {
    insta::assert_snapshot!(add_both(&Node::new(), "cid1", "0.4.0"), @r#"
    {
        "cniVersion": "0.4.0",
        "ips": [
            {
                "version": "4",
                "address": "10.77.0.2/24",
                "gateway": "10.77.0.1"
            },
            {
                "version": "6",
                "address": "fd77::2/64",
                "gateway": "fd77::1"
            }
        ],
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.77.0.1"
            }
        ],
        "dns": {}
    }
    "#);
}

#[test]
fn answers_in_version_0_2_0() {
    insta::assert_snapshot!(add_both(&Node::new(), "cid1", "0.2.0"), @r#"
    {
        "cniVersion": "0.2.0",
        "ip4": {
            "ip": "10.77.0.2/24",
            "gateway": "10.77.0.1",
            "routes": [
                {
                    "dst": "0.0.0.0/0",
                    "gw": "10.77.0.1"
                }
            ]
        },
        "ip6": {
            "ip": "fd77::2/64",
            "gateway": "fd77::1"
        },
        "dns": {}
    }
    "#);
}

#[test]
fn hands_on_the_resolver_settings() {
    let node = Node::new();
    let path = node.dir.path().join("resolv.conf");
    fs::write(&path, "nameserver 10.0.0.53\nsearch a.test\n").unwrap();
    let config = node.config(&json!({"subnet": "10.1.0.0/24", "resolvConf": path}));
    let answer = node.call("ADD", "cid1", &config).json();
    assert_eq!(answer["dns"], json!({"nameservers": ["10.0.0.53"], "search": ["a.test"]}));
}

#[test]
fn keys_in_any_letter_case_are_understood() {
    let node = Node::new();
    let config = json!({
        "cniVersion": "1.1.0", "name": "n1",
        "IPAM": {"DataDir": node.data_dir(), "SUBNET": "10.1.0.0/24", "rangestart": "10.1.0.9"},
        "RuntimeConfig": {"IPs": null},
    });
    assert_eq!(node.call("ADD", "cid1", &config).addresses(), ["10.1.0.9/24"]);
}

#[test]
fn a_second_add_is_refused_for_either_form_of_lease() {
    let node = Node::new();
    let config = node.config(&pool());
    node.call("ADD", "cidA", &config);
    let expected =
        "failed to allocate for range 0: 10.1.0.2 has been allocated to cidA, duplicate allocation is not allowed";
    assert_eq!(node.call("ADD", "cidA", &config).msg(), expected);
    node.put("10.1.0.77", "cidB");
    let expected =
        "failed to allocate for range 0: 10.1.0.77 has been allocated to cidB, duplicate allocation is not allowed";
    assert_eq!(node.call("ADD", "cidB", &config).msg(), expected);
    // Another interface of the same container is another attachment.
    assert_eq!(node.call_with("ADD", "cidA", &config, &[("CNI_IFNAME", "eth1")]).addresses(), ["10.1.0.3/24"]);
}

#[test]
fn a_lease_in_another_set_is_no_duplicate() {
    let node = Node::new();
    node.put("10.9.0.5", "cidA\r\neth0");
    assert_eq!(node.call("ADD", "cidA", &node.config(&pool())).addresses(), ["10.1.0.2/24"]);
}

#[test]
fn requests_come_from_three_places_and_each_counts_once() {
    let node = Node::new();
    let mut config = node.config(&json!({"ranges": [
        [{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}], [{"subnet": "10.2.0.0/24"}], [{"subnet": "10.3.0.0/24"}],
    ]}));
    config["args"] = json!({"cni": {"ips": ["fd00::77/64", null]}});
    config["runtimeConfig"] = json!({"ips": ["10.2.0.77", "10.1.0.77/16"]});
    let answer = node.call_with("ADD", "cid1", &config, &[("CNI_ARGS", "IgnoreUnknown=1;X=y;IP=10.1.0.77")]);
    assert_eq!(answer.addresses(), ["10.1.0.77/24", "fd00::77/64", "10.2.0.77/24", "10.3.0.2/24"]);
    assert_eq!(node.lease("last_reserved_ip.0").as_deref(), Some("10.1.0.77"));
    // The next one follows the requested address.
    assert_eq!(node.call("ADD", "cid2", &node.config(&pool())).addresses(), ["10.1.0.78/24"]);
}

#[test]
fn refuses_requests_that_can_not_be_met() {
    let node = Node::new();
    let asking = |ips: Value| {
        let mut config = node.config(&json!({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/24"}]]}));
        config["runtimeConfig"] = json!({ "ips": ips });
        config
    };
    let gateway = node.call("ADD", "cid1", &asking(json!(["10.2.0.1"])));
    assert_eq!(gateway.msg(), "failed to allocate for range 0: requested ip 10.2.0.1 is subnet's gateway");
    node.put("10.1.0.77", "cidA\r\neth0");
    let taken = node.call("ADD", "cid1", &asking(json!(["10.1.0.77"])));
    assert_eq!(
        taken.msg(),
        "failed to allocate for range 0: requested IP address 10.1.0.77 is not available in range set \
         10.1.0.1-10.1.0.254,10.2.0.1-10.2.0.254"
    );
    assert_eq!(taken.details(), "10.1.0.77 is leased to cidA, interface eth0");
    let left = node.call("ADD", "cid1", &asking(json!(["10.1.0.5", "10.9.0.1", "10.1.0.6", "10.9.0.1"])));
    assert_eq!(left.msg(), "failed to allocate all requested IPs: 10.9.0.1 10.1.0.6");
    // Nothing stays behind.
    assert_eq!(node.lease("10.1.0.5"), None);
    assert_eq!(node.call("CHECK", "cid1", &asking(json!([]))).code(), 999);
}

#[test]
fn an_empty_request_by_cni_args_is_none() {
    let node = Node::new();
    let answer = node.call_with("ADD", "cid1", &node.config(&pool()), &[("CNI_ARGS", "IP=")]);
    assert_eq!(answer.addresses(), ["10.1.0.2/24"]);
}

#[test]
fn ranges_of_the_runtime_come_first_and_shift_the_sets() {
    let node = Node::new();
    let mut config = node.config(&json!({"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24"}]]}));
    config["runtimeConfig"] = json!({"ipRanges": [[{"subnet": "10.8.0.0/24", "gateway": ""}]]});
    assert_eq!(node.call("ADD", "cid1", &config).addresses(), ["10.8.0.2/24", "10.1.0.2/24", "10.2.0.2/24"]);
    assert_eq!(node.lease("last_reserved_ip.0").as_deref(), Some("10.8.0.2"));
    assert_eq!(node.lease("last_reserved_ip.2").as_deref(), Some("10.2.0.2"));
}

#[test]
fn a_full_set_says_so_and_takes_nothing_from_the_others() {
    let node = Node::new();
    let ipam = json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/29"}]]});
    let config = node.config(&ipam);
    (0..5).for_each(|n| assert!(node.call("ADD", &format!("c{n}"), &config).ok));
    let full = node.call("ADD", "cid1", &config);
    assert_eq!(full.msg(), "failed to allocate for range 1: no IP addresses available in range set: 10.2.0.1-10.2.0.6");
    assert!(full.details().starts_with("5 of 5 in use; "), "{}", full.details());
    assert!(full.details().contains("GC"), "{}", full.details());
    assert_eq!(node.lease("10.1.0.7"), None);
    // The history has moved on, as in the Go suite.
    assert_eq!(node.lease("last_reserved_ip.0").as_deref(), Some("10.1.0.7"));
}

#[test]
fn what_an_earlier_add_holds_survives_a_failed_one() {
    let node = Node::new();
    let config = node.config(&json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}));
    assert!(node.call("ADD", "cid1", &config).ok);
    // The request skips the check for duplicates in set 0; set 1 then finds one.
    let again = node.call_with("ADD", "cid1", &config, &[("CNI_ARGS", "IP=10.1.0.9")]);
    assert!(again.msg().starts_with("failed to allocate for range 1: 10.2.0.2 has been allocated to cid1"));
    assert_eq!(node.lease("10.1.0.9"), None);
    assert_eq!(node.lease("10.1.0.2").as_deref(), Some("cid1\r\neth0"));
    assert_eq!(node.lease("10.2.0.2").as_deref(), Some("cid1\r\neth0"));
}

#[test]
fn del_removes_what_is_there_and_is_content_with_nothing() {
    let node = Node::new();
    let config = node.config(&pool());
    node.call("ADD", "cid1", &config);
    node.put("10.1.0.50", "cid1\r\neth0\n");
    node.put("10.1.0.51", "cid1\r\neth1");
    for _ in 0..2 {
        assert_eq!(node.call("DEL", "cid1", &config), Answer { ok: true, text: String::new() });
        assert_eq!((node.lease("10.1.0.2"), node.lease("10.1.0.50")), (None, None));
    }
    assert!(node.lease("10.1.0.51").is_some());
    assert_eq!(node.lease("last_reserved_ip.0").as_deref(), Some("10.1.0.2"));
}

#[test]
fn del_takes_old_leases_at_once_when_there_are_several_sets() {
    let node = Node::new();
    let two = node.config(&json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}));
    node.put("10.1.0.5", "cid1\r\neth0");
    node.put("10.1.0.6", "cid1");
    node.call("DEL", "cid1", &two);
    assert_eq!((node.lease("10.1.0.5"), node.lease("10.1.0.6")), (None, None));
}

#[test]
fn check_is_content_with_any_lease() {
    let node = Node::new();
    let config = node.config(&pool());
    let missing = node.call("CHECK", "nope", &config);
    assert_eq!(missing.msg(), "host-local: Failed to find address added by container nope");
    node.call("ADD", "cid1", &config);
    assert!(node.call("CHECK", "cid1", &config).ok);
    node.put("elsewhere", "cid2");
    assert!(node.call("CHECK", "cid2", &config).ok);
}

#[test]
fn a_held_lock_ends_the_call_with_the_holder() {
    let node = Node::new();
    let config = node.config(&pool());
    node.call("ADD", "cid1", &config);
    let lock = fs::File::open(node.file("lock")).unwrap();
    lock.lock().unwrap();
    for command in ["ADD", "DEL", "CHECK", "STATUS"] {
        let answer = node.call_with(command, "cid2", &config, &[("XNET_LOCK_TIMEOUT", "0.01")]);
        assert_eq!(answer.code(), 11);
        let holder = format!("{} is still locked by process {} (", node.file("lock").display(), std::process::id());
        assert!(answer.msg().starts_with(&holder), "{}", answer.msg());
        assert!(answer.msg().ends_with(" after 0.01 s"), "{}", answer.msg());
    }
    drop(lock);
    assert!(node.call("ADD", "cid2", &config).ok);
}
