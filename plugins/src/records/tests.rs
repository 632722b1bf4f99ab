use super::*;

/// `/var/lib/cni` of a test.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// As libcni writes it.
    fn cache(&self, net: &str, id: &str, result: &str) -> &Self {
        let text = format!(
            r#"{{"kind":"cniCacheV1","containerId":"{id}","config":"e30=","ifName":"eth0","networkName":"{net}","result":{result}}}"#
        );
        self.file(&format!("results/{net}-{id}-eth0"), text)
    }

    fn lease(&self, net: &str, address: &str, content: &str) -> &Self {
        self.file(&format!("networks/{net}/{address}"), content)
    }

    fn records(&self, net: &str) -> Records {
        Records::under(self.0.path(), &net.parse().unwrap()).unwrap()
    }

    /// Whether the address is one that a dead attachment of n1 left, when only `alive` eth0 is valid.
    fn is_stale(&self, address: &str) -> bool {
        let valid = ValidAttachments::new([("alive", "eth0")]);
        self.records("n1").is_stale_address(ip(address), &valid).unwrap()
    }

    fn is_stale_id(&self, id: &str) -> bool {
        let valid = ValidAttachments::new([("alive", "eth0")]);
        self.records("n1").is_stale_id(id, &valid).unwrap()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn record(id: &str, ifname: Option<&str>, addresses: &[&str]) -> Record {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Record { id: id.into(), ifname: ifname.map(Into::into), addresses }
}

const MODERN: &str =
    r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"},{"address":"fd00::2/64","interface":2}]}"#;
const FAMILIES: &str = r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.3/24"},"ip6":{"ip":"fd00::3/64"},"dns":{}}"#;

#[test]
fn results_of_every_version_are_read() {
    let root = Root::new();
    root.cache("n1", "a", MODERN).cache("n1", "b", FAMILIES).cache("n2", "c", MODERN).cache("n1", "l2", "{}");
    let mut records: Vec<_> = root.records("n1").iter().cloned().collect();
    records.sort_by(|one, other| one.id.cmp(&other.id));
    let expected = [
        record("a", Some("eth0"), &["10.0.0.2", "fd00::2"]),
        record("b", Some("eth0"), &["10.0.0.3", "fd00::3"]),
        record("l2", Some("eth0"), &[]),
    ];
    assert_eq!(records, expected);
}

#[test]
fn leases_are_read_in_both_formats() {
    let root = Root::new();
    root.lease("n1", "10.0.0.2", "a\r\neth0").lease("n1", "fd00::2", "a\r\neth0").lease("n1", "10.0.0.3", "old\n");
    root.lease("n1", "lock", "").lease("n1", "last_reserved_ip.0", "10.0.0.3").lease("n2", "10.0.0.9", "a\r\neth0");
    let records = root.records("n1");
    assert_eq!(records.iter().count(), 3);
    assert_eq!(records.addresses_of("a", "eth0"), [ip("10.0.0.2"), ip("fd00::2")]);
    assert!(records.addresses_of("a", "eth1").is_empty());
    assert_eq!(records.addresses_of("old", "any"), [ip("10.0.0.3")]);
}

#[test]
fn an_attachment_that_two_files_know_has_its_addresses_once() {
    let root = Root::new();
    root.cache("n1", "a", MODERN).lease("n1", "10.0.0.2", "a\r\neth0");
    assert_eq!(root.records("n1").addresses_of("a", "eth0"), [ip("10.0.0.2"), ip("fd00::2")]);
}

#[test]
fn broken_files_are_passed_over() {
    let root = Root::new();
    assert_eq!(root.records("n1").iter().count(), 0, "nothing there");
    root.cache("n1", "a", MODERN);
    for (name, content) in [
        ("n1-empty-eth0", ""),
        ("n1-cut-eth0", r#"{"kind":"cniCacheV1","containerId":"cut","#),
        ("n1-bare-eth0", MODERN),
        ("n1-list-eth0", "[1]"),
        ("n1-types-eth0", r#"{"kind":"cniCacheV1","containerId":1,"ifName":"eth0","networkName":"n1"}"#),
        ("n1-nobody-eth0", r#"{"kind":"cniCacheV1","networkName":"n1","ifName":"eth0"}"#),
        (".result-1-2-3", r#"{"kind":"cniCacheV1","containerId":"t","ifName":"eth0","networkName":"n1"}"#),
    ] {
        root.file(&format!("results/{name}"), content);
    }
    root.file("results/n1-binary-eth0", [0xff, 0, 0xfe]).file("results/folder/n1-x-eth0", "{}");
    root.file("networks/n1/10.0.0.8/inner", "").file("networks/stray", "");
    let records = root.records("n1");
    assert_eq!(records.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(root.is_stale("10.0.0.2"), "a stray file among the networks is no obstacle");
    let odd = r#"{"ips":[{"address":"x"},{},{"address":"10.0.0.4/24"}],"ip4":null}"#;
    root.cache("n1", "odd", odd);
    assert_eq!(root.records("n1").addresses_of("odd", "eth0"), [ip("10.0.0.4")]);
}

#[test]
fn a_file_in_place_of_a_directory_is_an_error() {
    let root = Root::new();
    root.file("results", "");
    let refused = Records::under(root.0.path(), &"n1".parse().unwrap());
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotADirectory);
}

#[test]
fn an_address_is_stale_only_if_nothing_speaks_against_it() {
    let of_dead = || {
        let root = Root::new();
        root.cache("n1", "dead", MODERN);
        root
    };
    assert!(of_dead().is_stale("10.0.0.2"));
    assert!(of_dead().is_stale("fd00::2"));
    assert!(!of_dead().is_stale("10.0.0.77"), "nobody knows it");
    assert!(of_dead().lease("n1", "10.0.0.2", "dead\r\neth0").is_stale("10.0.0.2"));
    for (case, net, content) in [
        ("leased to a valid attachment", "n1", "alive\r\neth0"),
        ("leased to a valid container", "n1", "alive"),
        ("a lease without a holder", "n1", ""),
        ("leased in another network", "n2", "dead\r\neth0"),
        ("a lease without a holder in another network", "n2", "\n"),
    ] {
        assert!(!of_dead().lease(net, "10.0.0.2", content).is_stale("10.0.0.2"), "{case}");
        assert!(of_dead().lease(net, "10.0.0.3", content).is_stale("10.0.0.2"), "{case}, but another address");
    }
    assert!(!of_dead().cache("n1", "alive", MODERN).is_stale("10.0.0.2"), "a result of a valid attachment");
    assert!(!of_dead().cache("n2", "dead", MODERN).is_stale("10.0.0.2"), "a result of another network");
    assert!(of_dead().lease("n1", "10.0.0.2", "alive\r\neth1").is_stale("10.0.0.2"), "another interface, not valid");
}

#[test]
fn a_container_is_stale_only_if_no_network_has_it() {
    let root = Root::new();
    root.cache("n1", "dead", MODERN).lease("n1", "10.0.0.9", "leased\r\neth0");
    assert!(root.is_stale_id("dead") && root.is_stale_id("leased"));
    root.cache("n1", "alive", MODERN).lease("n1", "10.0.0.7", "alive\r\neth1");
    assert!(!root.is_stale_id("alive"), "one of its attachments is valid");
    assert!(!root.is_stale_id("unknown"), "nobody knows it");
    root.cache("n2", "dead", "{}").lease("n3", "10.9.0.1", "leased");
    assert!(!root.is_stale_id("dead") && !root.is_stale_id("leased"), "other networks have it");
}

/// Things that are named by container and interface.
#[test]
fn an_attachment_is_stale_only_if_no_network_has_it() {
    let root = Root::new();
    let is_stale = |valid: &[(&str, &str)], name: &str| {
        let is_it = |id: &str, ifname: Option<&str>| match ifname {
            Some(ifname) => name == format!("{id}_{ifname}"),
            None => name.starts_with(&format!("{id}_")),
        };
        let valid = ValidAttachments::new(valid.iter().copied());
        root.records("n1").is_stale_attachment(is_it, &valid).unwrap()
    };
    root.cache("n1", "dead", MODERN).lease("n1", "10.0.0.9", "a\r\nb_c");
    assert!(is_stale(&[], "dead_eth0") && is_stale(&[], "a_b_c"));
    assert!(!is_stale(&[], "dead_eth1") && !is_stale(&[], "unknown_eth0"), "nobody knows them");
    assert!(!is_stale(&[("dead", "eth0")], "dead_eth0"), "it is valid");
    assert!(!is_stale(&[("a_b", "c")], "a_b_c"), "it may be the valid one");
    root.cache("n2", "dead", "{}").lease("n3", "10.9.0.1", "a");
    assert!(!is_stale(&[], "dead_eth0") && !is_stale(&[], "a_b_c"), "other networks have them");
}

#[test]
fn without_a_list_nothing_is_stale() {
    let root = Root::new();
    root.cache("n1", "dead", MODERN);
    let records = root.records("n1");
    let unspecified = ValidAttachments::unspecified();
    assert!(!records.is_stale_address(ip("10.0.0.2"), &unspecified).unwrap());
    assert!(!records.is_stale_id("dead", &unspecified).unwrap());
}
