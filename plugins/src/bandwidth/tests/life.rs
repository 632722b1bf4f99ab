//! From ADD to DEL.

use cni::Code;
use cni::plugin::Plugin;

use super::*;

#[test]
fn both_ways_are_limited_and_nothing_is_left() {
    play(|stage| {
        let before = traces();
        let result = stage.add(&[INGRESS, EGRESS]).unwrap();
        let names: Vec<&str> = result.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["br0", "veth0", "eth0", GO_NAME]);
        let block = Handle::here().unwrap().link(GO_NAME).unwrap().unwrap();
        assert_eq!(result.interfaces[3].mac, block.mac.unwrap().to_string());
        assert_eq!(result.interfaces[3].sandbox, "");
        assert_eq!(block.alias.as_deref(), Some(owner("n1", "cid1", "eth0").tag().as_str()));
        assert_eq!((block.mtu, block.up), (1400, true));

        let after = traces();
        for trace in [
            "qdisc tbf 1: dev veth0 root refcnt 3 rate 8Mbit burst 100000b lat 25ms",
            "qdisc tbf 1: dev bwpca7a875c2b85 root refcnt 2 rate 16Mbit burst 200000b lat 25ms",
            "qdisc ingress ffff: dev veth0",
            "mirred (Egress Redirect to device bwpca7a875c2b85) stolen",
        ] {
            assert!(after.contains(trace), "{trace} in {after}");
        }
        stage.check(&[INGRESS, EGRESS]).unwrap();
        stage.del(&[INGRESS, EGRESS]).unwrap();
        assert_eq!(traces(), before);
        stage.del(&[INGRESS, EGRESS]).unwrap();
    });
}

#[test]
fn one_way_alone() {
    play(|stage| {
        let before = traces();
        assert_eq!(stage.add(&[INGRESS]).unwrap().interfaces.len(), 3);
        assert!(blocks().is_empty());
        assert!(!traces().contains("ingress"));
        stage.check(&[INGRESS]).unwrap();
        stage.del(&[INGRESS]).unwrap();
        assert_eq!(traces(), before);

        assert_eq!(stage.add(&[EGRESS]).unwrap().interfaces.len(), 4);
        assert!(!traces().contains("dev veth0 root tbf"));
        stage.check(&[EGRESS]).unwrap();
        stage.del(&[EGRESS]).unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn said_again_everything_is_as_it_was() {
    play(|stage| {
        let first = stage.add(&[INGRESS, EGRESS]).unwrap();
        let state = traces();
        assert_eq!(stage.add(&[INGRESS, EGRESS]).unwrap(), first);
        assert_eq!(traces(), state);
        let other = r#""ingressRate": 80000000, "ingressBurst": 8000000"#;
        stage.add(&[other, EGRESS]).unwrap();
        assert!(traces().contains("dev veth0 root refcnt 3 rate 80Mbit"));
        stage.check(&[other, EGRESS]).unwrap();
    });
}

#[test]
fn del_needs_neither_result_nor_namespace_nor_rates() {
    type Way = fn(&Stage) -> (Call, Attachment);
    let ways: [Way; 4] = [
        |stage| (call(&[INGRESS, EGRESS]), stage.attachment("eth0")),
        |stage| (call(&[]), stage.attachment("eth0")),
        |stage| (stage.call(&[]), Attachment { netns: String::new(), ..stage.attachment("eth0") }),
        |stage| (call(&[]), Attachment { netns: "/nonexistent".into(), ..stage.attachment("eth0") }),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        play(move |stage| {
            let before = traces();
            stage.add(&[INGRESS, EGRESS]).unwrap();
            let (call, attachment) = way(stage);
            Bandwidth.del(&call, &attachment).unwrap();
            assert!(blocks().is_empty(), "{number}");
            // The pair is found by the namespace, or by a result that names a link with the attachment's alias.
            assert_eq!(traces() == before, number < 2, "{number}");
            Bandwidth.del(&call, &attachment).unwrap();
        });
    }
    play(|stage| {
        let before = traces();
        sh(&format!("ip link set veth0 alias '{}'", owner("n1", "cid1", "eth0").tag()));
        stage.add(&[INGRESS, EGRESS]).unwrap();
        let attachment = Attachment { netns: String::new(), ..stage.attachment("eth0") };
        Bandwidth.del(&stage.call(&[]), &attachment).unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn del_after_the_pair_has_gone() {
    play(|stage| {
        stage.add(&[INGRESS, EGRESS]).unwrap();
        sh("ip link del veth0");
        stage.del(&[INGRESS, EGRESS]).unwrap();
        assert!(blocks().is_empty());
    });
}

#[test]
fn without_rates_there_is_nothing_to_do() {
    play(|stage| {
        let before = traces();
        let odd = r#""prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "lo"}]}"#;
        let nowhere = Attachment { netns: "/nonexistent".into(), ..stage.attachment("eth0") };
        let result = Bandwidth.add(&call(&[odd]), &nowhere).unwrap();
        assert_eq!(result.interfaces[0].name, "lo");
        Bandwidth.check(&call(&[odd]), &nowhere).unwrap();
        Bandwidth.del(&call(&[odd]), &nowhere).unwrap();
        let error = Bandwidth.add(&call(&[]), &nowhere).unwrap_err();
        assert_eq!(error.msg, "must be called as chained plugin");
        let error = Bandwidth.check(&call(&[]), &nowhere).unwrap_err();
        assert_eq!(error.msg, "must be called as a chained plugin");
        assert_eq!(traces(), before);
    });
}

#[test]
fn what_can_be_refused_is_refused_before_anything_is_touched() {
    play(|stage| {
        let before = traces();
        let wanted = [INGRESS, EGRESS];
        let result = |text: &str| format!(r#""prevResult": {{"cniVersion": "1.1.0", "interfaces": [{text}]}}"#);
        let add = |more: &str, ifname: &str, netns: String| {
            let attachment = Attachment { netns, ..stage.attachment(ifname) };
            Bandwidth.add(&call(&[&wanted[..], &[more]].concat()), &attachment).unwrap_err().msg
        };
        let known = stage.previous("veth0", "eth0");
        stage.inside("ip link add eth7 index 70 type veth peer name eth8 index 71");
        let table = [
            (add(&result(""), "eth0", stage.netns()), "no interfaces provided".to_owned()),
            (
                add(&result(r#"{"name": "veth9"}, {"name": "veth0", "sandbox": "/x"}"#), "eth0", stage.netns()),
                "no veth peer of container interface found in host ns".to_owned(),
            ),
            (
                add(&known, "eth9", stage.netns()),
                "container interface eth9 has no veth peer: could not look up \"eth9\": Link not found".to_owned(),
            ),
            (
                add(&known, "lo", stage.netns()),
                "container interface lo has no veth peer: interface \"lo\" was not a veth interface".to_owned(),
            ),
            (add(&known, "eth7", stage.netns()), "veth peer with index 71 is not in host ns".to_owned()),
            (
                add(&known, "eth0", "/nonexistent".to_owned()),
                "failed to open netns \"/nonexistent\": failed to Statfs \"/nonexistent\": no such file or directory"
                    .to_owned(),
            ),
            (
                add(r#""prevResult": {"cniVersion": "0.4.0"}"#, "eth0", stage.netns()),
                "could not parse prevResult: could not parse prevResult: result type supports [1.0.0 1.1.0] but \
                 unmarshalled CNIVersion is \"0.4.0\""
                    .to_owned(),
            ),
            (
                stage.add(&[r#""ingressRate": 7, "ingressBurst": 800"#, EGRESS]).unwrap_err().msg,
                "create qdisc: invalid argument".to_owned(),
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
        assert_eq!(traces(), before);
    });
}

/// The number of a link in the container can be that of a foreign link in the host, even of one that the result knows.
#[test]
fn a_link_with_the_right_number_is_not_the_right_link() {
    play(|stage| {
        sh("ip link add veth5 index 71 type veth peer name veth6");
        stage.inside("ip link add eth7 index 70 type veth peer name eth8 index 71");
        let call = call(&[INGRESS, &stage.previous("veth5", "eth7")]);
        let error = Bandwidth.add(&call, &stage.attachment("eth7")).unwrap_err();
        assert_eq!(error.msg, "veth peer with index 71 is not in host ns");
        assert!(!traces().contains("tbf"));
    });
}

#[test]
fn check_finds_every_kind_of_damage() {
    let damage = [
        ("tc qdisc del dev veth0 root", "Failed to find qdisc"),
        ("tc qdisc replace dev veth0 root handle 2: htb", "Failed to find qdisc"),
        ("tc qdisc del dev bwpca7a875c2b85 root", "Failed to find qdisc"),
        ("tc qdisc change dev veth0 root handle 1: tbf rate 9mbit burst 100000 latency 25ms", "Rate doesn't match"),
        (
            "tc qdisc change dev bwpca7a875c2b85 root handle 1: tbf rate 16mbit burst 200000 latency 50ms",
            "Limit doesn't match",
        ),
        ("tc qdisc change dev veth0 root handle 1: tbf rate 8mbit burst 90000 limit 125000", "Buffer doesn't match"),
        ("ip link del bwpca7a875c2b85", "get ifb device: Link not found"),
        ("ip link set bwpca7a875c2b85 alias else", "get ifb device: Link not found"),
        ("ip link set bwpca7a875c2b85 down", "ifb device bwpca7a875c2b85 is down"),
        ("tc qdisc del dev veth0 ingress", "Failed to find filter: nothing redirects veth0 to bwpca7a875c2b85"),
        (
            "ip link add ifb9 type ifb; tc filter replace dev veth0 parent ffff: handle 800::800 protocol all prio 1 \
             u32 match u32 0 0 action mirred egress redirect dev ifb9",
            "Failed to find filter: nothing redirects veth0 to bwpca7a875c2b85",
        ),
    ];
    for (command, expected) in damage {
        play(move |stage| {
            stage.add(&[INGRESS, EGRESS]).unwrap();
            sh(command);
            let error = stage.check(&[INGRESS, EGRESS]).unwrap_err();
            assert_eq!((error.code, error.msg.as_str()), (Code::INTERNAL, expected), "{command}: {error}");
        });
    }
}

#[test]
fn status_is_good_where_the_kernel_can_do_it() {
    Bandwidth.status(&call(&[])).unwrap();
    Bandwidth.status(&call(&[INGRESS, EGRESS])).unwrap();
    let error = Bandwidth.status(&call(&[r#""ingressRate": 8"#])).unwrap_err();
    assert_eq!(error.msg, "if rate is set, burst must also be set");
}
