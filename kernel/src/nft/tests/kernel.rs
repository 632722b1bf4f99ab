//! Batches, questions and refusals against the kernel.

use super::*;
use crate::mac::Mac;

fn bridge_mac() -> Value {
    Value::Ether(Mac::new([2, 0, 0, 0, 0, 1]))
}

/// One of everything, in two families.
fn everything() -> Batch {
    let mut batch = Batch::new();
    let base = Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: 100, policy: Policy::Accept };
    batch.add(Table { name: TABLE, comment: Some("one of everything".into()) });
    let sources = set(&TABLE, "net-10.77.0.0/24", Type::Ipv4Addr);
    batch.add(sources.clone());
    let mut ports = set(&TABLE, "ports", KeyType(vec![Type::Ipv4Addr, Type::InetProto, Type::InetService]));
    ports.data = Some(DataType::Value(KeyType(vec![Type::Ipv4Addr, Type::InetService])));
    batch.add(ports.clone());
    let mut verdicts = set(&TABLE, "verdicts", Type::Ipv6Addr);
    verdicts.data = Some(DataType::Verdict);
    batch.add(verdicts.clone());
    batch.add(chain(&TABLE, "other"));
    batch.create(Chain { name: TABLE.object("postrouting"), base: Some(base), comment: Some("a base".into()) });
    let mut masquerade = rule(
        &TABLE,
        "postrouting",
        vec![
            Statement::Lookup(vec![Field::IpSaddr], Comparison::Equal, "net-10.77.0.0/24".into()),
            Statement::Match(Field::IpDaddr, Comparison::NotEqual, network("10.77.0.0/24")),
            Statement::Match(Field::OifName, Comparison::NotEqual, Value::IfName("lo".into()).into()),
            Statement::Masquerade,
        ],
    );
    masquerade.comment = Some("leaves".into());
    batch.rule(masquerade);
    batch.rule(rule(&TABLE, "postrouting", vec![Statement::VerdictMap(vec![Field::Ip6Saddr], "verdicts".into())]));
    batch.rule(rule(
        &TABLE,
        "other",
        vec![
            Statement::Match(Field::Ip6Daddr, Comparison::NotEqual, network("fd00::/9")),
            Statement::Counter,
            Statement::Verdict(Verdict::Return),
        ],
    ));
    batch.create(element(&sources, v4("10.77.0.2"), "a tag"));
    batch.create(Element {
        data: Some(Data::Value(Value::Concat(vec![v4("10.77.0.2"), Value::Port(80)]))),
        ..element(&ports, Value::Concat(vec![v4("192.0.2.1"), Value::Protocol(6), Value::Port(8080)]), "mapped")
    });
    batch.create(Element {
        data: Some(Data::Verdict(Verdict::Goto("other".into()))),
        ..element(&verdicts, Value::Ipv6("fd00::2".parse().unwrap()), "goes")
    });
    batch
}

#[test]
fn nft_lists_what_was_written() {
    let listed = namespace(|| {
        Nft::open().unwrap().commit(&everything()).unwrap();
        nft(&["list", "ruleset"])
    });
    let expected = r#"table inet t {
	comment "one of everything"
	set net-10.77.0.0/24 {
		type ipv4_addr
		elements = { 10.77.0.2 comment "a tag" }
	}

	map ports {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 192.0.2.1 . tcp . 8080 comment "mapped" : 10.77.0.2 . 80 }
	}

	map verdicts {
		type ipv6_addr : verdict
		elements = { fd00::2 comment "goes" : goto other }
	}

	chain other {
		ip6 daddr != fd00::/9 counter packets 0 bytes 0 return
	}

	chain postrouting {
		comment "a base"
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr @net-10.77.0.0/24 ip daddr != 10.77.0.0/24 oifname != "lo" masquerade comment "leaves"
		ip6 saddr vmap @verdicts
	}
}
"#;
    assert_eq!(listed, expected);
}

/// The lines that stand in logs and errors are lines that `nft` takes, and they mean the same.
#[test]
fn nft_reads_what_is_displayed() {
    let ours = namespace(|| {
        Nft::open().unwrap().commit(&everything()).unwrap();
        nft(&["list", "ruleset"])
    });
    let theirs = namespace(|| {
        let lines = everything().to_string();
        nft(&[&lines]);
        nft(&["list", "ruleset"])
    });
    assert_eq!(ours, theirs);
}

/// What an administrator saves with `nft list ruleset` must load again.
#[test]
fn a_listed_ruleset_can_be_loaded() {
    namespace(|| {
        Nft::open().unwrap().commit(&everything()).unwrap();
        let listed = nft(&["list", "ruleset"]);
        nft(&["flush", "ruleset"]);
        nft(&[&listed]);
        assert_eq!(nft(&["list", "ruleset"]), listed);
    });
}

#[test]
fn bridge_rules_need_no_protocol_for_macs() {
    let table = TableName::new(Family::Bridge, "b");
    let listed = namespace(|| {
        let mut batch = Batch::new();
        let allowed = set(&table, "allowed", KeyType(vec![Type::IfName, Type::EtherAddr]));
        batch.add(Table { name: table.clone(), comment: None });
        batch.add(allowed.clone());
        batch.add(chain(&table, "c"));
        let fields = vec![Field::IifName, Field::EtherSaddr];
        batch.rule(rule(
            &table,
            "c",
            vec![
                Statement::Lookup(fields, Comparison::NotEqual, "allowed".into()),
                Statement::Match(Field::IpSaddr, Comparison::Equal, v4("10.0.0.1").into()),
                Statement::Verdict(Verdict::Drop),
            ],
        ));
        let key = Value::Concat(vec![Value::IfName("veth0".into()), bridge_mac()]);
        batch.create(element(&allowed, key, "mine"));
        Nft::open().unwrap().commit(&batch).unwrap();
        nft(&["list", "ruleset"])
    });
    assert!(listed.contains("iifname . ether saddr != @allowed ip saddr 10.0.0.1 drop\n"), "{listed}");
    assert!(listed.contains("elements = { \"veth0\" . 02:00:00:00:00:01 comment \"mine\" }\n"), "{listed}");
}

#[test]
fn questions_are_answered_by_name_and_key() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        kernel.supported().unwrap();
        assert!(!kernel.table_exists(&TABLE).unwrap());
        assert!(!kernel.chain_exists(&TABLE.object("other")).unwrap());
        assert!(!kernel.set_exists(&TABLE.object("ports")).unwrap());
        assert_eq!(kernel.element(&TABLE.object("ports"), &v4("10.0.0.1")).unwrap(), None);
        assert_eq!(kernel.rules(&TABLE.object("postrouting")).unwrap(), []);
        assert_eq!(kernel.sets(&TABLE).unwrap(), []);
        assert!(kernel.elements(&TABLE.object("ports")).unwrap_err().is_not_found());

        kernel.commit(&everything()).unwrap();
        assert!(kernel.table_exists(&TABLE).unwrap());
        assert!(kernel.chain_exists(&TABLE.object("other")).unwrap());
        assert!(!kernel.chain_exists(&TABLE.object("ports")).unwrap());
        assert!(kernel.set_exists(&TABLE.object("ports")).unwrap());
        let names: Vec<String> = kernel.sets(&TABLE).unwrap().into_iter().map(|set| set.name.into_owned()).collect();
        assert_eq!(names, ["net-10.77.0.0/24", "ports", "verdicts"]);
        let names: Vec<String> =
            kernel.chains(&TABLE).unwrap().into_iter().map(|chain| chain.name.into_owned()).collect();
        assert_eq!(names, ["other", "postrouting"]);
        assert_eq!(kernel.chains(&TableName::new(Family::Inet, "u")).unwrap(), []);
    });
}

#[test]
fn entries_come_back_with_data_and_comment() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        kernel.commit(&everything()).unwrap();
        let mapped = Value::Concat(vec![v4("192.0.2.1"), Value::Protocol(6), Value::Port(8080)]);
        let entry = kernel.element(&TABLE.object("ports"), &mapped).unwrap().unwrap();
        assert_eq!(entry.comment.as_deref(), Some("mapped"));
        assert_eq!(entry.key.bytes(), mapped.bytes());
        let data = Data::Value(Value::Concat(vec![v4("10.77.0.2"), Value::Port(80)]));
        assert!(entry.data.unwrap().is_same(&data));
        let entries = kernel.elements(&TABLE.object("verdicts")).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].data, Some(Data::Verdict(Verdict::Goto("other".into()))));
        let rules = kernel.rules(&TABLE.object("postrouting")).unwrap();
        let comments: Vec<Option<&str>> = rules.iter().map(|rule| rule.comment.as_deref()).collect();
        assert_eq!(comments, [Some("leaves"), None]);
        let mut lo = b"lo".to_vec();
        lo.resize(16, 0);
        // The family, the network's prefix, the interface; and the family of the other rule.
        assert_eq!(rules[0].constants, [vec![2], vec![10, 77, 0], lo]);
        assert_eq!(rules[1].constants, [vec![10]]);

        let mut batch = Batch::new();
        batch.push(Change::DeleteRule(TABLE.object("postrouting"), rules[0].handle));
        kernel.commit(&batch).unwrap();
        assert_eq!(kernel.rules(&TABLE.object("postrouting")).unwrap(), [rules[1].clone()]);
    });
}

#[test]
fn a_refusal_names_the_first_refused_change_and_nothing_is_done() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let mut batch = Batch::new();
        batch.add(Table { name: TABLE, comment: None });
        batch.add(set(&TABLE, "s", Type::Ipv4Addr));
        batch.rule(rule(&TABLE, "nowhere", vec![Statement::Verdict(Verdict::Drop)]));
        batch.create(element(&set(&TABLE, "t", Type::Ipv4Addr), v4("10.0.0.1"), "x"));
        let refused = kernel.commit(&batch).unwrap_err();
        assert!(matches!(refused, Error::NotFound { index: Some(2), .. }), "{refused:?}");
        assert_eq!(refused.to_string(), "add rule inet t nowhere drop: no such file or directory");
        assert!(!kernel.table_exists(&TABLE).unwrap());
    });
}

#[test]
fn what_exists_is_told_from_what_is_missing() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        kernel.commit(&everything()).unwrap();
        let mut again = Batch::new();
        again.create(element(&set(&TABLE, "net-10.77.0.0/24", Type::Ipv4Addr), v4("10.77.0.2"), "someone else"));
        let refused = kernel.commit(&again).unwrap_err();
        assert!(matches!(refused, Error::Exists { index: Some(0), .. }), "{refused:?}");
        let mut used = Batch::new();
        used.push(Change::DeleteChain(TABLE.object("other")));
        let refused = kernel.commit(&used).unwrap_err();
        assert!(refused.is_busy(), "{refused:?}");
        let mut full = Batch::new();
        full.push(Change::DeleteSet(TABLE.object("net-10.77.0.0/24")));
        assert!(kernel.commit(&full).unwrap_err().is_busy());
        // Adding again what is there is no error and changes nothing.
        let before = nft(&["list", "ruleset"]);
        let mut add = Batch::new();
        add.add(Table { name: TABLE, comment: Some("one of everything".into()) });
        add.add(set(&TABLE, "net-10.77.0.0/24", Type::Ipv4Addr));
        add.add(chain(&TABLE, "other"));
        kernel.commit(&add).unwrap();
        assert_eq!(nft(&["list", "ruleset"]), before);
    });
}

#[test]
fn a_batch_for_an_older_generation_is_refused() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let generation = kernel.generation().unwrap();
        let mut batch = Batch::new();
        batch.add(Table { name: TABLE, comment: None });
        kernel.commit_at(&batch, generation).unwrap();
        let refused = kernel.commit_at(&batch, generation).unwrap_err();
        assert!(matches!(refused, Error::Changed { .. }), "{refused:?}");
        assert!(kernel.generation().unwrap() > generation);
    });
}

#[test]
fn a_large_batch_is_one_transaction() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let sources = set(&TABLE, "s", Type::Ipv4Addr);
        let mut batch = Batch::new();
        batch.add(Table { name: TABLE, comment: None });
        batch.add(sources.clone());
        let tag = "a tag of the length that a tag usually has: ".repeat(2);
        for last in 0..10_000u32 {
            batch.create(element(&sources, Value::Ipv4((0x0a00_0000 + last).into()), &tag));
        }
        kernel.commit(&batch).unwrap();
        assert_eq!(kernel.elements(&sources.name).unwrap().len(), 10_000);
        // All ten thousand refusals do not fit the socket's queue; the first is still told.
        let mut again = Batch::new();
        batch.changes()[2..].iter().for_each(|change| again.push(change.clone()));
        let refused = kernel.commit(&again).unwrap_err();
        assert!(matches!(refused, Error::Exists { index: Some(0), .. }), "{refused:?}");
        assert_eq!(kernel.remove_owned(&sources.name, &|comment| comment == tag).unwrap(), 10_000);
        assert_eq!(kernel.elements(&sources.name).unwrap(), []);
    });
}
