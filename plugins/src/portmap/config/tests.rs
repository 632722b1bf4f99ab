use super::*;

fn config(json: &str) -> Result<Config, Error> {
    let written = cni::decode::from_slice(json.as_bytes()).map_err(|error| Error::internal(error.to_string()))?;
    Config::validate(written, Impossible::Refuse)
}

fn for_deletion(json: &str) -> Result<Config, Error> {
    Config::validate(cni::decode::from_slice(json.as_bytes()).unwrap(), Impossible::Ignore)
}

fn with_mappings(mappings: &str) -> String {
    format!(r#"{{"runtimeConfig": {{"portMappings": [{mappings}]}}}}"#)
}

/// A mapping of TCP, in short: host port, container port, more keys.
fn mapping(host: i64, container: i64, more: &str) -> String {
    format!(r#"{{"hostPort": {host}, "containerPort": {container}, "protocol": "tcp"{more}}}"#)
}

fn refusal(json: &str) -> String {
    config(json).unwrap_err().msg
}

#[test]
fn nothing_written_means_the_defaults() {
    let expected = Config {
        backend: Backend::Nftables,
        snat: true,
        masq_all: false,
        mark: Mark::Bit(13),
        conditions_v4: Vec::new(),
        conditions_v6: Vec::new(),
        mappings: Vec::new(),
    };
    assert_eq!(config("{}").unwrap(), expected);
    let nulls = r#"{"backend": null, "snat": null, "markMasqBit": null, "runtimeConfig": {"portMappings": null}}"#;
    assert_eq!(config(nulls).unwrap(), expected);
}

#[test]
fn mappings_are_read_as_they_are_meant() {
    let json = with_mappings(
        r#"{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"},
           {"hostport": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "192.0.2.1"},
           {"hostPort": 65535, "containerPort": 1, "protocol": "sctp", "hostIP": "::"},
           {"hostPort": 1, "containerPort": 2, "protocol": "tcp", "hostIP": "::ffff:192.0.2.1"}"#,
    );
    let read = config(&json).unwrap().mappings;
    let shown: Vec<String> = read
        .iter()
        .map(|m| {
            format!("{:?} {} {}->{}", m.host_ip.map(|ip| ip.to_string()), m.protocol, m.host_port, m.container_port)
        })
        .collect();
    let expected = [
        "None tcp 8080->80",
        "Some(\"192.0.2.1\") udp 53->5353",
        "Some(\"::\") sctp 65535->1",
        "Some(\"192.0.2.1\") tcp 1->2",
    ];
    assert_eq!(shown, expected);
    assert!(read[0].is_for(false) && read[0].is_for(true));
    assert!(!read[2].is_for(false) && read[2].is_for(true) && read[2].specific_ip().is_none());
    assert!(read[3].is_for(false) && !read[3].is_for(true));
}

#[test]
fn ports_that_can_not_be_are_refused_in_the_words_that_callers_know() {
    let table = [
        (0, 80, "Invalid host port number: 0"),
        (-1, 80, "Invalid host port number: -1"),
        (8080, 0, "Invalid container port number: 0"),
        (0, 0, "Invalid container port number: 0"),
        (65536, 80, "Invalid host port number: 65536"),
        (8080, 65536, "Invalid container port number: 65536"),
        (i64::MAX, 80, "Invalid host port number: 9223372036854775807"),
    ];
    for (host, container, expected) in table {
        assert_eq!(refusal(&with_mappings(&mapping(host, container, ""))), expected);
    }
    assert_eq!(refusal(&with_mappings(r#"{"containerPort": 80}"#)), "Invalid host port number: 0");
}

#[test]
fn what_is_wrong_with_a_mapping_is_named() {
    let table = [
        (r#", "protocol": "zz""#, "unknown protocol \"zz\" in the mapping of host port 8080"),
        (r#", "protocol": """#, "unknown protocol \"\" in the mapping of host port 8080"),
        (r#", "hostIP": "zz""#, "invalid hostIP \"zz\" in the mapping of host port 8080"),
        (r#", "hostIP": "10.0.0.256""#, "invalid hostIP \"10.0.0.256\" in the mapping of host port 8080"),
        (r#", "hostIP": "fe80::1%eth0""#, "invalid hostIP \"fe80::1%eth0\" in the mapping of host port 8080"),
        (r#", "hostIP": "10.0.0.1/24""#, "invalid hostIP \"10.0.0.1/24\" in the mapping of host port 8080"),
    ];
    for (more, expected) in table {
        let error = config(&with_mappings(&mapping(8080, 80, more))).unwrap_err();
        assert_eq!((error.msg.as_str(), error.code), (expected, Code::INVALID_CONFIG));
    }
}

#[test]
fn one_host_port_has_one_target() {
    let both = |one: &str, two: &str| {
        config(&with_mappings(&format!("{},{}", mapping(8080, 80, one), mapping(8080, 81, two))))
    };
    let expected = "host port 8080/tcp is mapped to both container port 80 and 81";
    for (one, two) in [
        ("", ""),
        ("", r#", "hostIP": "0.0.0.0""#),
        (r#", "hostIP": "::""#, ""),
        (r#", "hostIP": "192.0.2.1""#, r#", "hostIP": "192.0.2.1""#),
    ] {
        assert_eq!(both(one, two).unwrap_err().msg, expected, "{one} {two}");
    }
    for (one, two) in [
        ("", r#", "hostIP": "192.0.2.1""#),
        ("", r#", "protocol": "udp""#),
        (r#", "hostIP": "0.0.0.0""#, r#", "hostIP": "::""#),
        (r#", "hostIP": "192.0.2.1""#, r#", "hostIP": "192.0.2.2""#),
    ] {
        assert_eq!(both(one, two).unwrap().mappings.len(), 2, "{one} {two}");
    }
    let twice = [mapping(8080, 80, ""), mapping(8080, 80, "")].join(",");
    assert_eq!(config(&with_mappings(&twice)).unwrap().mappings.len(), 1);
}

/// A pod whose ADD was refused is deleted all the same.
#[test]
fn deletions_leave_out_what_can_not_be() {
    let odd = [
        mapping(8080, 80, ""),
        mapping(8080, 81, ""),
        mapping(65536, 80, ""),
        mapping(1, 80, r#", "protocol": "zz""#),
        mapping(1, 80, r#", "hostIP": "zz""#),
    ];
    let ports: Vec<u16> =
        for_deletion(&with_mappings(&odd.join(","))).unwrap().mappings.iter().map(|m| m.container_port).collect();
    assert_eq!(ports, [80, 81]);
    let refused = for_deletion(&with_mappings(&mapping(0, 80, ""))).unwrap_err();
    assert_eq!(refused.msg, "Invalid host port number: 0");
}

#[test]
fn marks() {
    assert_eq!(config(r#"{"markMasqBit": 0}"#).unwrap().mark, Mark::Bit(0));
    assert_eq!(config(r#"{"markMasqBit": 31}"#).unwrap().mark, Mark::Bit(31));
    for bit in [-1, 32, 256, i64::MIN] {
        assert_eq!(refusal(&format!(r#"{{"markMasqBit": {bit}}}"#)), "MasqMarkBit must be between 0 and 31");
    }
    assert_eq!(
        refusal(r#"{"markMasqBit": 40, "externalSetMarkChain": "X"}"#),
        "Cannot specify externalSetMarkChain and markMasqBit"
    );
    let external = config(r#"{"externalSetMarkChain": "X"}"#).unwrap();
    assert_eq!((external.mark, external.backend), (Mark::Chain("X".into()), Backend::Iptables));
}

#[test]
fn options_choose_the_back_end_where_nobody_else_does() {
    let table = [
        (r#"{"backend": "iptables"}"#, Backend::Iptables),
        (r#"{"backend": "nftables"}"#, Backend::Nftables),
        (r#"{"conditionsV4": []}"#, Backend::Nftables),
        (r#"{"conditionsV4": ["", "-s"]}"#, Backend::Nftables),
        (r#"{"conditionsV4": ["-s", "10.0.0.1"]}"#, Backend::Iptables),
        (r#"{"conditionsV6": ["!", "-s", "fd00::1"]}"#, Backend::Iptables),
        (r#"{"conditionsV4": ["ip", "saddr", "10.0.0.1"]}"#, Backend::Nftables),
        (r#"{"backend": "iptables", "conditionsV4": ["-s", "10.0.0.1"]}"#, Backend::Iptables),
    ];
    for (json, expected) in table {
        assert_eq!(config(json).unwrap().backend, expected, "{json}");
    }
}

#[test]
fn options_of_the_other_back_end_are_refused() {
    let table = [
        (r#"{"backend": "zz"}"#, "unrecognized backend \"zz\""),
        (r#"{"backend": ""}"#, "unrecognized backend \"\""),
        (
            r#"{"backend": "nftables", "conditionsV4": ["-s", "10.0.0.1"]}"#,
            "nftables backend was requested but configuration contains iptables-specific options [conditionsV4]",
        ),
        (
            r#"{"backend": "nftables", "externalSetMarkChain": "X", "conditionsV6": ["!"]}"#,
            "nftables backend was requested but configuration contains iptables-specific options \
             [externalSetMarkChain conditionsV6]",
        ),
        (
            r#"{"backend": "iptables", "conditionsV4": ["a"], "conditionsV6": ["b"]}"#,
            "iptables backend was requested but configuration contains nftables-specific options \
             [conditionsV4 conditionsV6]",
        ),
        (
            r#"{"conditionsV4": ["-s", "10.0.0.1"], "conditionsV6": ["ip6", "saddr", "fd00::1"]}"#,
            "iptables backend was requested but configuration contains nftables-specific options [conditionsV6]",
        ),
    ];
    for (json, expected) in table {
        assert_eq!(refusal(json), expected, "{json}");
    }
}
