//! What stands in nftables, and what is refused before it does.

use super::*;

const ISOLATED: &str = r#""backend": "nftables", "ingressPolicy": "isolated""#;

#[test]
fn the_layout_is_as_documented() {
    let listed = namespace(|| {
        Fixture::new("cid1", "cni0", &["10.77.0.2/24", "fd00::2/64"], ISOLATED).add().unwrap();
        shell("nft list ruleset")
    });
    let tag = "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1";
    let expected = include_str!("layout.nft").replace("TAG", tag);
    assert_eq!(listed, expected);
}

/// What an administrator saves must load again.
#[test]
fn the_ruleset_can_be_saved_and_loaded() {
    namespace(|| {
        let attachment = Fixture::new("cid1", "cni0", &["10.77.0.2/24", "fd00::2/64"], ISOLATED);
        attachment.add().unwrap();
        let listed = shell("nft list ruleset");
        shell("nft list ruleset > /run/saved; nft flush ruleset; nft -f /run/saved");
        assert_eq!(shell("nft list ruleset"), listed);
        assert_eq!(attachment.check(), None);
        attachment.del().unwrap();
        assert_eq!(attachment::elements(), [""; 0]);
    });
}

#[test]
fn the_administrators_chain_is_left_alone() {
    namespace(|| {
        let attachment = Fixture::new("cid1", "cni0", &["10.77.0.2/24"], ISOLATED);
        attachment.add().unwrap();
        shell("nft add rule inet xnet_firewall admin ip daddr 10.77.0.2 tcp dport 22 drop");
        attachment.add().unwrap();
        assert_eq!(attachment.check(), None);
        attachment.del().unwrap();
        attachment.collect(&[]).unwrap();
        assert!(shell("nft list chain inet xnet_firewall admin").contains("tcp dport 22 drop"));
    });
}

#[test]
fn plans_print_as_commands() {
    let attachment = Fixture::new("cid1", "cni0", &["10.77.0.2/24"], ISOLATED);
    let (plan, _) = namespace(|| {
        let (plan, result) = plan(&attachment.call(), &attachment.attachment(), &mut Machine::host_only()).unwrap();
        (plan.to_string(), result)
    });
    let tag = attachment.owner().tag();
    let line = |verb: &str, element: &str| format!("nft {verb} element {element} comment \"{tag}\" }}\n");
    let expected = [
        line("create", "inet xnet_firewall addresses4 { 10.77.0.2"),
        line("create", "inet xnet_firewall guarded-by { \"cni0\" . \"v-cid1\""),
        line("create", "inet xnet_firewall isolated-by { \"cni0\" . \"v-cid1\""),
        line("add", "inet xnet_firewall guarded { \"cni0\""),
        line("add", "inet xnet_firewall within { \"cni0\" . \"cni0\""),
        line("add", "inet xnet_firewall isolated { \"cni0\" . \"cni0\""),
        line("create", "bridge xnet_firewall isolated { \"v-cid1\""),
    ];
    assert_eq!(plan, expected.concat());
}

#[test]
fn bad_input_is_refused_before_anything_is_touched() {
    namespace(|| {
        let refusal = |fixture: &Fixture, previous: &str| {
            let (call, attachment) = (fixture.call_with(previous), fixture.attachment());
            let added = Firewall.add(&call, &attachment).unwrap_err();
            assert_eq!(Firewall.check(&call, &attachment).unwrap_err(), added);
            assert_eq!(shell("nft list ruleset"), "");
            added.msg
        };
        let ips = r#""ips": [{"address": "10.77.0.2/24"}]"#;
        let plain = Fixture::new("cid1", "cni0", &[], r#""backend": "nftables""#);
        assert_eq!(refusal(&plain, ""), "missing prevResult from earlier plugin");
        let typo = Fixture::new("cid1", "cni0", &[], r#""backend": "nftables", "ingressPolicy": "x""#);
        assert_eq!(refusal(&typo, &format!(r#"{{"cniVersion": "1.1.0", {ips}}}"#)), "unknown ingress policy: \"x\"");
        let isolated = Fixture::new("cid1", "cni0", &[], ISOLATED);
        assert_eq!(
            refusal(&isolated, &format!(r#"{{"cniVersion": "1.1.0", {ips}}}"#)),
            "interface needs to be set for ingress policy \"isolated\", make sure to chain \"firewall\" plugin with \"bridge\""
        );
        let old = format!(r#"{{"cniVersion": "0.4.0", {ips}}}"#);
        assert!(refusal(&isolated, &old).starts_with("could not parse prevResult: "));
        let odd = Fixture::new("cid1", "cni0", &[], r#""backend": 7"#);
        assert!(refusal(&odd, "").starts_with("failed to load netconf: backend: invalid type"));
    });
}

/// The Go suite removes first and complains then.
#[test]
fn deletion_with_an_unknown_policy_removes_and_complains() {
    namespace(|| {
        let mut attachment = Fixture::new("cid1", "cni0", &["10.77.0.2/24"], ISOLATED);
        attachment.add().unwrap();
        attachment.config = r#""ingressPolicy": "x""#.to_owned();
        assert_eq!(attachment.del().unwrap_err().msg, "unknown ingress policy: \"x\"");
        assert_eq!(attachment::elements(), [""; 0]);
    });
}

#[test]
fn nothing_to_do_is_nothing_done() {
    namespace(|| {
        let attachment = Fixture::new("cid1", "cni0", &[], r#""backend": "nftables""#);
        assert_eq!(attachment.add().unwrap().interfaces.len(), 3);
        assert_eq!(attachment.check(), None);
        attachment.del().unwrap();
        attachment.del_without_result().unwrap();
        attachment.collect(&[]).unwrap();
        assert_eq!(shell("nft list ruleset"), "");
        assert_eq!(shell("cat /proc/thread-self/net/ip_tables_names"), "");
    });
}

#[test]
fn check_says_which_line_is_missing() {
    namespace(|| {
        let attachment = Fixture::new("cid1", "cni0", &["10.77.0.2/24"], ISOLATED);
        let missing = |line: &str| {
            attachment.add().unwrap();
            shell(line);
            let missing = attachment.check().unwrap();
            shell("nft flush ruleset");
            missing
        };
        let table = [
            ("delete element inet xnet_firewall addresses4 { 10.77.0.2 }", "addresses4 { 10.77.0.2"),
            ("delete element inet xnet_firewall guarded { \"cni0\" }", "guarded { \"cni0\""),
            (
                "delete element bridge xnet_firewall isolated { \"v-cid1\" }",
                "bridge xnet_firewall isolated { \"v-cid1\"",
            ),
            ("flush chain inet xnet_firewall forward", "add rule inet xnet_firewall forward jump admin"),
            ("delete table bridge xnet_firewall", "bridge xnet_firewall isolated { \"v-cid1\""),
        ];
        for (line, expected) in table {
            let found = missing(&format!("nft '{line}'"));
            assert!(found.starts_with("missing: nft add ") && found.contains(expected), "{line}: {found}");
        }
    });
}

#[test]
fn this_kernel_can_serve() {
    namespace(|| {
        for config in [r#""backend": "nftables""#, "", ISOLATED] {
            Fixture::new("cid1", "cni0", &[], config).status().unwrap();
        }
        assert_eq!(shell("nft list ruleset"), "");
        let error = Fixture::new("cid1", "cni0", &[], r#""ingressPolicy": "x""#).status().unwrap_err();
        assert_eq!(error.msg, "unknown ingress policy: \"x\"");
    });
}
