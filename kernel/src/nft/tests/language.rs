//! Address translation, connection tracking and what else rules ask for: bytes as `nft` sends them, and lines as it lists
//! what we send.

use super::bytes::{add_rule, check};
use super::*;

const BRIDGE: TableName = TableName::new(Family::Bridge, "b");

/// Address and port of a container, by what a packet is for.
fn ports(table: &TableName, name: &'static str, key: Vec<Type>, address: Type) -> Set {
    let data = Some(DataType::Value(KeyType(vec![address, Type::InetService])));
    Set { data, ..set(table, name, KeyType(key)) }
}

fn dnat(family: Family, fields: &[Field], map: &str) -> Statement {
    Statement::DnatMap { family, fields: fields.to_vec(), map: map.to_owned() }
}

fn equal(field: Field, operand: impl Into<Operand>) -> Statement {
    Statement::Match(field, Comparison::Equal, operand.into())
}

fn not(field: Field, operand: impl Into<Operand>) -> Statement {
    Statement::Match(field, Comparison::NotEqual, operand.into())
}

#[test]
fn destinations_come_from_a_map() {
    add_rule(
        &TABLE,
        vec![dnat(Family::Ip, &[Field::IpDaddr, Field::L4Proto, Field::ThDport], "a4")],
        "add rule inet t c dnat ip to ip daddr . meta l4proto . th dport map @a4",
        "01000000060001007400000006000200630000003c01048024000180090001006d6574610000000014000280080002000000000f08000100\
         000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000340001800c000100\
         7061796c6f61640024000280080001000000000108000200000000010800030000000010080004000000000424000180090001006d657461\
         000000001400028008000200000000100800010000000009340001800c0001007061796c6f61640024000280080001000000000a08000200\
         00000002080003000000000208000400000000022c0001800b0001006c6f6f6b757000001c00028008000200000000010800030000000001\
         070001006134000030000180080001006e617400240002800800010000000001080002000000000208000300000000010800050000000009",
    );
    add_rule(
        &TABLE,
        vec![
            equal(Field::IifName, Value::IfPrefix("eth".into())),
            dnat(Family::Ip6, &[Field::L4Proto, Field::ThDport], "p6"),
        ],
        "add rule inet t c iifname \"eth*\" dnat ip6 to meta l4proto . th dport map @p6",
        "01000000060001007400000006000200630000000801048024000180090001006d6574610000000014000280080002000000000608000100\
         000000012c00018008000100636d700020000280080001000000000108000200000000000c00038007000100657468002400018009000100\
         6d657461000000001400028008000200000000100800010000000001340001800c0001007061796c6f616400240002800800010000000009\
         0800020000000002080003000000000208000400000000022c0001800b0001006c6f6f6b757000001c000280080002000000000108000300\
         00000001070001007036000030000180080001006e617400240002800800010000000001080002000000000a080003000000000108000500\
         00000002",
    );
}

#[test]
fn what_is_known_of_the_connection() {
    add_rule(
        &TABLE,
        vec![equal(Field::CtStatus, [Flag::DNAT]), Statement::Verdict(Verdict::Accept)],
        "add rule inet t c ct status dnat accept",
        "0100000006000100740000000600020063000000c40004802000018007000100637400001400028008000200000000020800010000000001\
         440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c0004800800010020000000\
         0c00058008000100000000002c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000000000\
         300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001",
    );
    add_rule(
        &TABLE,
        vec![equal(Field::CtState, [Flag::ESTABLISHED, Flag::RELATED]), Statement::Verdict(Verdict::Accept)],
        "add rule inet t c ct state established,related accept",
        "0100000006000100740000000600020063000000c40004802000018007000100637400001400028008000200000000000800010000000001\
         440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c0004800800010006000000\
         0c00058008000100000000002c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000000000\
         300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001",
    );
    add_rule(
        &TABLE,
        vec![not(Field::CtStatus, [Flag::DNAT]), Statement::Verdict(Verdict::Accept)],
        "add rule inet t c ct status ! dnat accept",
        "0100000006000100740000000600020063000000c40004802000018007000100637400001400028008000200000000020800010000000001\
         440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c0004800800010020000000\
         0c00058008000100000000002c00018008000100636d700020000280080001000000000108000200000000000c0003800800010000000000\
         300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001",
    );
}

#[test]
fn local_addresses_marks_and_links() {
    add_rule(
        &TABLE,
        vec![equal(Field::FibDaddrType, Value::Local), Statement::Verdict(Verdict::Jump("x".into()))],
        "add rule inet t c fib daddr type local jump x",
        "0100000006000100740000000600020063000000900004802800018008000100666962001c00028008000300000000020800020000000003\
         08000100000000012c00018008000100636d700020000280080001000000000108000200000000000c000380080001000200000038000180\
         0e000100696d6d656469617465000000240002800800010000000000180002801400028008000100fffffffd0600020078000000",
    );
    add_rule(
        &TABLE,
        vec![Statement::SetMark(0x2000)],
        "add rule inet t c meta mark set 0x00002000",
        "0100000006000100740000000600020063000000540004802c0001800e000100696d6d656469617465000000180002800800010000000001\
         0c000280080001000020000024000180090001006d657461000000001400028008000200000000030800030000000001",
    );
    add_rule(
        &TABLE,
        vec![not(Field::Mark, Value::Mark(0x2000)), Statement::Verdict(Verdict::Return)],
        "add rule inet t c meta mark != 0x00002000 return",
        "01000000060001007400000006000200630000008400048024000180090001006d6574610000000014000280080002000000000308000100\
         000000012c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000200000300001800e000100\
         696d6d6564696174650000001c0002800800010000000000100002800c00028008000100fffffffb",
    );
    add_rule(
        &TABLE,
        vec![equal(Field::ThSport, Value::Port(80)), Statement::Verdict(Verdict::Return)],
        "add rule inet t c th sport 80 return",
        "010000000600010074000000060002006300000094000480340001800c0001007061796c6f61640024000280080001000000000108000200\
         00000002080003000000000008000400000000022c00018008000100636d700020000280080001000000000108000200000000000c000380\
         0600010000500000300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c00028008000100fffffffb",
    );
}

/// Kernels may lack the names of bridges (`CONFIG_NFT_BRIDGE_META`), so these are bytes only.
#[test]
fn bridges_and_protocols() {
    add_rule(
        &BRIDGE,
        vec![equal(Field::Protocol, Value::EtherType(0x0800)), Statement::Verdict(Verdict::Accept)],
        "add rule bridge b c meta protocol ip accept",
        "07000000060001006200000006000200630000008400048024000180090001006d6574610000000014000280080002000000000108000100\
         000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800600010008000000300001800e000100\
         696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001",
    );
    let cni0 = || Value::IfName("cni0".into());
    add_rule(
        &BRIDGE,
        vec![equal(Field::IbrName, cni0()), equal(Field::ObrName, cni0()), Statement::Verdict(Verdict::Accept)],
        "add rule bridge b c ibrname \"cni0\" obrname \"cni0\" accept",
        "0700000006000100620000000600020063000000ec00048024000180090001006d6574610000000014000280080002000000001108000100\
         000000013800018008000100636d70002c000280080001000000000108000200000000001800038014000100636e69300000000000000000\
         0000000024000180090001006d6574610000000014000280080002000000001208000100000000013800018008000100636d70002c000280\
         080001000000000108000200000000001800038014000100636e693000000000000000000000000030000180\
         0e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001",
    );
}

#[test]
fn elements_of_maps() {
    let a4 = ports(&TABLE, "a4", vec![Type::Ipv4Addr, Type::InetProto, Type::InetService], Type::Ipv4Addr);
    let key = Value::Concat(vec![v4("192.0.2.1"), Value::Protocol(6), Value::Port(8080)]);
    let target = Some(Data::Value(Value::Concat(vec![v4("10.77.0.2"), Value::Port(80)])));
    check(
        &Change::Create(Element { data: target, ..element(&a4, key, "x") }.into()),
        0,
        "create element inet t a4 { 192.0.2.1 . tcp . 8080 comment \"x\" : 10.77.0.2 . 80 }",
        "010000000600010074000000070002006134000034000380300001801400018010000100c0000201060000001f900000100002800c000100\
         0a4d0002005000000800060000027800",
    );
}

/// Rules and elements of every new kind.
fn everything() -> Batch {
    let mut batch = Batch::new();
    batch.add(Table { name: TABLE, comment: None });
    let by_address = ports(&TABLE, "a6", vec![Type::Ipv6Addr, Type::InetProto, Type::InetService], Type::Ipv6Addr);
    let by_port = ports(&TABLE, "p4", vec![Type::InetProto, Type::InetService], Type::Ipv4Addr);
    let hashes =
        Set { data: Some(DataType::Value(Type::Mark.into())), ..set(&TABLE, "h", KeyType(vec![Type::Mark; 4])) };
    batch.add(by_address.clone());
    batch.add(by_port.clone());
    batch.add(hashes.clone());
    let base = Base { kind: Kind::Nat, hook: Hook::Prerouting, priority: -100, policy: Policy::Accept };
    batch.create(Chain { name: TABLE.object("c"), base: Some(base), comment: None });
    for statements in [
        vec![
            equal(Field::FibDaddrType, Value::Local),
            equal(Field::IifName, Value::IfPrefix("eth".into())),
            dnat(Family::Ip6, &[Field::Ip6Daddr, Field::L4Proto, Field::ThDport], "a6"),
        ],
        vec![dnat(Family::Ip, &[Field::L4Proto, Field::ThDport], "p4")],
        vec![equal(Field::CtState, [Flag::NEW]), not(Field::CtStatus, [Flag::SNAT, Flag::DNAT]), Statement::SetMark(1)],
        vec![equal(Field::CtState, [Flag::INVALID]), not(Field::Mark, Value::Mark(1)), Statement::Counter],
        vec![equal(Field::IifKind, Value::IfName("vrf".into())), equal(Field::ThSport, Value::Port(53))],
        vec![equal(Field::Protocol, Value::EtherType(0x86dd)), Statement::Verdict(Verdict::Return)],
    ] {
        batch.rule(rule(&TABLE, "c", statements));
    }
    let target = |address, port| Some(Data::Value(Value::Concat(vec![address, Value::Port(port)])));
    let key = Value::Concat(vec![Value::Protocol(132), Value::Port(9899)]);
    batch.create(Element { data: target(v4("10.77.0.2"), 9), ..element(&by_port, key, "sctp too") });
    let v6 = |text: &str| Value::Ipv6(text.parse().unwrap());
    let key = Value::Concat(vec![v6("2001:db8::1"), Value::Protocol(17), Value::Port(53)]);
    batch.create(Element { data: target(v6("fd00::2"), 53), ..element(&by_address, key, "dns") });
    let hash = [0x43d9_1f84, 0x5105_8a70, 0x0b65_a318, 0xf52e_521b];
    let key = Value::Concat(hash.map(Value::Mark).to_vec());
    batch.create(Element { data: Some(Data::Value(Value::Mark(4))), ..element(&hashes, key, "mine") });
    batch
}

#[test]
fn nft_lists_what_was_written() {
    let listed = namespace(|| {
        Nft::open().unwrap().commit(&everything()).unwrap();
        nft(&["list", "ruleset"])
    });
    let expected = r#"table inet t {
	map a6 {
		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
		elements = { 2001:db8::1 . udp . 53 comment "dns" : fd00::2 . 53 }
	}

	map p4 {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { sctp . 9899 comment "sctp too" : 10.77.0.2 . 9 }
	}

	map h {
		type mark . mark . mark . mark : mark
		elements = { 0x43d91f84 . 0x51058a70 . 0x0b65a318 . 0xf52e521b comment "mine" : 0x00000004 }
	}

	chain c {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local iifname "eth*" dnat ip6 to ip6 daddr . meta l4proto . th dport map @a6
		dnat ip to meta l4proto . th dport map @p4
		ct state new ct status ! snat,dnat meta mark set 0x00000001
		ct state invalid meta mark != 0x00000001 counter packets 0 bytes 0
		meta iifkind "vrf" th sport 53
		meta protocol ip6 return
	}
}
"#;
    assert_eq!(listed, expected);
}

#[test]
fn nft_reads_what_is_displayed_and_what_it_lists() {
    namespace(|| {
        Nft::open().unwrap().commit(&everything()).unwrap();
        let ours = nft(&["list", "ruleset"]);
        nft(&["flush", "ruleset"]);
        nft(&[&everything().to_string()]);
        assert_eq!(nft(&["list", "ruleset"]), ours);
        nft(&["flush", "ruleset"]);
        nft(&[&ours]);
        assert_eq!(nft(&["list", "ruleset"]), ours);
    });
}
