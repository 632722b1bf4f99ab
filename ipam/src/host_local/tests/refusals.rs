//! Every refusal of the configuration, to the byte, for every verb that reads it, and before anything is touched.

use super::*;

#[track_caller]
fn refused(config: &Value, env: &[(&str, &str)], expected: &str) {
    let node = Node::new();
    let mut config = config.clone();
    if let Some(ipam) = config["ipam"].as_object_mut() {
        ipam.insert("dataDir".into(), node.data_dir().to_str().unwrap().into());
    }
    for command in ["ADD", "DEL", "CHECK"] {
        if command == "CHECK" && config["cniVersion"].as_str().is_none_or(|version| version < "0.4.0") {
            continue;
        }
        let answer = node.call_with(command, "cid1", &config, env);
        assert_eq!((answer.code(), answer.msg().as_str()), (999, expected), "{command} {config}");
    }
    assert!(!node.data_dir().exists(), "something was touched: {config}");
}

fn config(ipam: &Value) -> Value {
    json!({"cniVersion": "1.1.0", "name": "n1", "ipam": ipam})
}

#[track_caller]
fn refused_ipam(ipam: &Value, expected: &str) {
    refused(&config(ipam), &[], expected);
}

#[test]
fn no_ranges() {
    refused(&json!({"cniVersion": "1.1.0", "name": "n1"}), &[], "IPAM config missing 'ipam' key");
    refused_ipam(&json!(null), "IPAM config missing 'ipam' key");
    refused_ipam(&json!({}), "no IP ranges specified");
    refused_ipam(&json!({"ranges": []}), "no IP ranges specified");
    refused_ipam(&json!({"rangeStart": "10.1.0.5"}), "no IP ranges specified");
    refused_ipam(&json!({"ranges": [[]]}), "invalid range set 0: empty range set");
    refused_ipam(&json!({"ranges": [null]}), "invalid range set 0: empty range set");
    refused_ipam(&json!({"ranges": [[{}]]}), "invalid range set 0: IP <nil> not v4 nor v6");
    refused_ipam(&json!({"ranges": [[null]]}), "invalid range set 0: IP <nil> not v4 nor v6");
}

#[test]
fn bad_ranges() {
    let range = |range: Value, expected: &str| {
        refused_ipam(&range, expected);
        let listed = json!({"subnet": "10.99.0.0/24", "ranges": [[range]]});
        refused_ipam(&listed, &expected.replace("range set 0", "range set 1"));
    };
    range(json!({"subnet": "bogus"}), "invalid CIDR address: bogus");
    range(json!({"subnet": ""}), "invalid CIDR address: ");
    range(json!({"subnet": "10.1.0.0"}), "invalid CIDR address: 10.1.0.0");
    range(json!({"subnet": "10.1.0.0/24", "rangeStart": "bogus"}), "invalid IP address: bogus");
    range(json!({"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.1/24"}), "invalid IP address: 10.1.0.1/24");
    range(json!({"subnet": "10.1.0.0/24", "gateway": "10.1.0.01"}), "invalid IP address: 10.1.0.01");
    range(json!({"subnet": "10.1.0.0/31"}), "invalid range set 0: Network 10.1.0.0/31 too small to allocate from");
    range(json!({"subnet": "fd00::/127"}), "invalid range set 0: Network fd00::/127 too small to allocate from");
    range(json!({"subnet": "::ffff:10.1.0.0/120"}), "invalid range set 0: IPNet IP and Mask version mismatch");
    range(
        json!({"subnet": "::ffff:10.1.0.0/127"}),
        "invalid range set 0: Network 10.1.0.0/31 too small to allocate from",
    );
    range(
        json!({"subnet": "10.1.0.5/24"}),
        "invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network address is 10.1.0.0",
    );
    range(
        json!({"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}),
        "invalid range set 0: RangeStart 10.2.0.1 not in network 10.1.0.0/24",
    );
    range(
        json!({"subnet": "10.1.0.0/24", "rangeEnd": "10.2.0.1"}),
        "invalid range set 0: RangeEnd 10.2.0.1 not in network 10.1.0.0/24",
    );
}

#[test]
fn bad_sets() {
    let two = |a: &str, b: &str| json!({"ranges": [[{"subnet": a}, {"subnet": b}]]});
    refused_ipam(&two("10.1.0.0/24", "fd00::/64"), "invalid range set 0: mixed address families");
    refused_ipam(
        &two("10.1.0.0/24", "10.1.0.0/24"),
        "invalid range set 0: subnets 10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.0.254 overlap",
    );
    let sets = json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/24"}]]});
    refused_ipam(&sets, "range set 0 overlaps with 1");
    let three = json!({
        "subnet": "10.9.0.0/24",
        "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}], [{"subnet": "10.1.0.0/16"}]],
    });
    refused_ipam(&three, "range set 1 overlaps with 3");
}

#[test]
fn more_addresses_than_an_old_version_can_tell() {
    let sets = json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]});
    let of = |version: Value| {
        let mut config = config(&sets);
        config["cniVersion"] = version;
        config
    };
    refused(&of(json!("0.2.0")), &[], "CNI version 0.2.0 does not support more than 1 address per family");
    refused(&of(json!(null)), &[], "CNI version  does not support more than 1 address per family");
    // One of each family is fine.
    let node = Node::new();
    let mut both = node.config(&json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}));
    both["cniVersion"] = "0.2.0".into();
    assert!(node.call("ADD", "cid1", &both).ok);
}

#[test]
fn wrong_types_are_named_with_their_place() {
    for (config, place) in [
        (json!({"ipam": 7}), "ipam: "),
        (json!({"ipam": {"subnet": 7}}), "ipam.subnet: "),
        (json!({"ipam": {"ranges": 7}}), "ipam.ranges: "),
        (json!({"ipam": {"ranges": [{}]}}), "ipam.ranges[0]: "),
        (json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24", "gateway": 7}]]}}), "ipam.ranges[0][0].gateway: "),
        (json!({"ipam": {"subnet": "10.1.0.0/24", "resolvConf": []}}), "ipam.resolvConf: "),
        (json!({"ipam": {"subnet": "10.1.0.0/24", "routes": [{"dst": "bogus"}]}}), "ipam.routes[0].dst: "),
        (json!({"ipam": {"subnet": "10.1.0.0/24"}, "args": {"cni": {"ips": [7]}}}), "args.cni.ips[0]: "),
        (json!({"ipam": {"subnet": "10.1.0.0/24"}, "runtimeConfig": {"ips": "10.1.0.7"}}), "runtimeConfig.ips: "),
    ] {
        let node = Node::new();
        let mut config = config;
        config["cniVersion"] = "1.1.0".into();
        config["name"] = "n1".into();
        let answer = node.call("ADD", "cid1", &config);
        assert!(answer.msg().starts_with(place), "{}", answer.msg());
    }
}

#[test]
fn the_place_of_a_bad_address_is_in_the_details() {
    let node = Node::new();
    let config =
        node.config(&json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64", "gateway": "x"}]]}));
    assert_eq!(node.call("ADD", "cid1", &config).details(), "in ipam.ranges[1][0].gateway");
    let mut config = node.config(&pool());
    config["runtimeConfig"] = json!({"ips": ["10.1.0.5", "zork"]});
    let answer = node.call("ADD", "cid1", &config);
    assert_eq!(
        (answer.msg().as_str(), answer.details().as_str()),
        ("invalid IP address zork", "in runtimeConfig.ips[1]")
    );
}

#[test]
fn bad_requests() {
    let with = |key: &str, value: Value| {
        let mut config = config(&pool());
        config[key] = value;
        config
    };
    let plain = config(&pool());
    for (config, args, expected) in [
        (&plain, "IP=zork", "ARGS: error parsing value of pair \"IP=zork\": invalid IP address zork"),
        (
            &plain,
            "IP=10.1.0.7/99",
            "ARGS: error parsing value of pair \"IP=10.1.0.7/99\": invalid IP address 10.1.0.7/99",
        ),
        (&plain, "K8S_POD", "ARGS: invalid pair \"K8S_POD\""),
        (&plain, "K8S_POD=foo", "ARGS: unknown args [\"K8S_POD=foo\"]"),
        (&with("args", json!({"cni": {"ips": ["zork"]}})), "", "invalid IP address zork"),
        (&with("args", json!({"cni": {"ips": [""]}})), "", "cannot understand ip: IP <nil> not v4 nor v6"),
        (&with("runtimeConfig", json!({"ips": ["10.1.0"]})), "", "invalid IP address 10.1.0"),
        (&with("runtimeConfig", json!({"ips": [""]})), "", "cannot understand ip: IP <nil> not v4 nor v6"),
    ] {
        refused(config, &[("CNI_ARGS", args)], expected);
    }
}

#[test]
fn a_resolver_file_that_is_not_there() {
    let node = Node::new();
    let config = node.config(&json!({"subnet": "10.1.0.0/24", "resolvConf": "/nonexist"}));
    assert_eq!(node.call("ADD", "cid1", &config).msg(), "open /nonexist: no such file or directory");
    assert!(!node.data_dir().exists());
    // DEL does not look at it.
    assert!(node.call("DEL", "cid1", &config).ok);
}

#[test]
fn a_wait_that_is_no_time() {
    let node = Node::new();
    for text in ["soon", "", "-1", "nan", "1e300"] {
        let answer = node.call_with("ADD", "cid1", &node.config(&pool()), &[("XNET_LOCK_TIMEOUT", text)]);
        let expected = format!("XNET_LOCK_TIMEOUT is not a number of seconds: {text}");
        assert_eq!((answer.code(), answer.msg()), (4, expected));
    }
    assert!(!node.data_dir().exists());
}

#[test]
fn a_directory_that_can_not_be() {
    let node = Node::new();
    let config = node.config(&json!({"subnet": "10.1.0.0/24", "dataDir": "/proc/version"}));
    assert_eq!(node.call("ADD", "cid1", &config).msg(), "cannot create directory /proc/version/n1: not a directory");
}
