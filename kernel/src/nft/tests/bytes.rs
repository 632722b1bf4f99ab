//! Messages as `nft --debug=mnl` (1.0.6) shows them for the same line: family header and attributes, without the
//! transaction ids of sets that exist already (`NFTA_LOOKUP_SET_ID`, `NFTA_SET_ELEM_LIST_SET_ID`), and without the
//! hints in user data that only newer `nft` understands.

use netlink_packet_core::Emitable;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage};

use super::*;
use crate::mac::Mac;

const BRIDGE: TableName = TableName::new(Family::Bridge, "b");

/// Compares one change with its line and its bytes. The set ids of the records are arbitrary, so they are given.
pub(super) fn check(change: &Change, id: u32, line: &str, recorded: &str) {
    assert_eq!(change.to_string(), line);
    let header = NetfilterHeader::new(change.family().protocol(), 0, 0);
    let message = NetfilterMessage::new(header, change.message(id));
    let mut bytes = vec![0; Emitable::buffer_len(&message)];
    message.emit(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, recorded, "{line}");
}

pub(super) fn add_rule(table: &TableName, statements: Vec<Statement>, line: &str, recorded: &str) {
    check(&Change::AddRule(rule(table, "c", statements)), 0, line, recorded);
}

#[test]
fn tables_and_chains() {
    let masq = TableName::new(Family::Inet, "xnet_masq");
    let table = Table { name: masq.clone(), comment: Some("masq".into()) };
    check(
        &Change::Add(table.into()),
        0,
        "add table inet xnet_masq { comment \"masq\" ; }",
        "010000000e000100786e65745f6d61737100000008000200000000000b00060000056d6173710000",
    );
    let base = Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: 100, policy: Policy::Accept };
    let postrouting = Chain { name: masq.object("postrouting"), base: Some(base), comment: Some("base".into()) };
    check(
        &Change::Create(postrouting.into()),
        0,
        "create chain inet xnet_masq postrouting \
         { type nat hook postrouting priority 100 ; policy accept ; comment \"base\" ; }",
        "010000000e000100786e65745f6d61737100000010000300706f7374726f7574696e6700080007006e61740008000500000000011400\
         0480080001000000000408000200000000640b000c000005626173650000",
    );
    let base = Base { kind: Kind::Filter, hook: Hook::Prerouting, priority: -300, policy: Policy::Accept };
    check(
        &Change::Add(Chain { name: BRIDGE.object("c"), base: Some(base), comment: None }.into()),
        0,
        "add chain bridge b c { type filter hook prerouting priority -300 ; policy accept ; }",
        "07000000060001006200000006000300630000000b00070066696c7465720000080005000000000114000480080001000000000008\
         000200fffffed4",
    );
    check(
        &Change::Add(chain(&BRIDGE, "x").into()),
        0,
        "add chain bridge b x",
        "0700000006000100620000000600030078000000",
    );
}

#[test]
fn sets() {
    let masq = TableName::new(Family::Inet, "xnet_masq");
    let mut net = set(&masq, "net-10.77.0.0/24", Type::Ipv4Addr);
    net.comment = Some("net n1".into());
    check(
        &Change::Add(net.into()),
        1,
        "add set inet xnet_masq net-10.77.0.0/24 { type ipv4_addr ; comment \"net n1\" ; }",
        "010000000e000100786e65745f6d617371000000150002006e65742d31302e37372e302e302f32340000000008000300000000000800\
         040000000007080005000000000408000a000000000113000d0000040200000007076e6574206e310000",
    );
    check(
        &Change::Create(set(&BRIDGE, "g", Type::IfName).into()),
        2,
        "create set bridge b g { type ifname ; }",
        "070000000600010062000000060002006700000008000300000000000800040000000029080005000000001008000a00000000020a00\
         0d000004010000000000",
    );
    check(
        &Change::Add(set(&BRIDGE, "s", KeyType(vec![Type::IfName, Type::EtherAddr])).into()),
        1,
        "add set bridge b s { type ifname . ether_addr ; }",
        "070000000600010062000000060002007300000008000300000000000800040000000a49080005000000001808000a00000000010a00\
         0d000004000000000000",
    );
    let mut map = set(&BRIDGE, "p", Type::InetService);
    map.data = Some(DataType::Value(Type::Mark.into()));
    check(
        &Change::Add(map.into()),
        4,
        "add map bridge b p { type inet_service : mark ; }",
        "07000000060001006200000006000200700000000800030000000008080004000000000d080005000000000208000600000000130800\
         07000000000408000a000000000410000d00000402000000010401000000",
    );
    check(
        &Change::DeleteSet(BRIDGE.object("s")),
        0,
        "delete set bridge b s",
        "0700000006000100620000000600020073000000",
    );
}

#[test]
fn elements() {
    let masq = TableName::new(Family::Inet, "xnet_masq");
    let net = set(&masq, "net-10.77.0.0/24", Type::Ipv4Addr);
    check(
        &Change::Create(element(&net, v4("10.77.0.2"), "tag").into()),
        0,
        "create element inet xnet_masq net-10.77.0.0/24 { 10.77.0.2 comment \"tag\" }",
        "010000000e000100786e65745f6d617371000000150002006e65742d31302e37372e302e302f323400000000200003801c0001800c00\
         0180080001000a4d00020a0006000004746167000000",
    );
    let mac = Value::Ether(Mac::new([2, 0, 0, 0, 0, 1]));
    let con = set(&masq, "con", KeyType(vec![Type::IfName, Type::EtherAddr]));
    let key = Value::Concat(vec![Value::IfName("veth0".into()), mac.clone()]);
    check(
        &Change::Create(element(&con, key, "tag").into()),
        0,
        "create element inet xnet_masq con { \"veth0\" . 02:00:00:00:00:01 comment \"tag\" }",
        "010000000e000100786e65745f6d61737100000008000200636f6e003400038030000180200001801c00010076657468300000000000\
         00000000000002000000000100000a0006000004746167000000",
    );
    let goto = Element {
        set: BRIDGE.object("m"),
        key: mac,
        data: Some(Data::Verdict(Verdict::Goto("x".into()))),
        comment: Some("t".into()),
    };
    check(
        &Change::Create(goto.into()),
        0,
        "create element bridge b m { 02:00:00:00:00:01 comment \"t\" : goto x }",
        "070000000600010062000000060002006d0000003800038034000180100001800a0001000200000000010000180002801400028008000\
         100fffffffc06000200780000000800060000027400",
    );
    let mark = Element {
        set: BRIDGE.object("p"),
        key: Value::Port(80),
        data: Some(Data::Value(Value::Mark(0x10))),
        comment: None,
    };
    check(
        &Change::Create(mark.into()),
        0,
        "create element bridge b p { 80 : 0x00000010 }",
        "0700000006000100620000000600020070000000200003801c0001800c00018006000100005000000c0002800800010010000000",
    );
    check(
        &Change::DeleteElement(BRIDGE.object("g"), Value::IfName("veth0".into())),
        0,
        "delete element bridge b g { \"veth0\" }",
        "0700000006000100620000000600020067000000200003801c000180180001801400010076657468300000000000000000000000",
    );
}

#[test]
fn a_masquerading_rule() {
    let mut masquerade = rule(
        &TABLE,
        "c",
        vec![
            Statement::Lookup(vec![Field::IpSaddr], Comparison::Equal, "s".into()),
            Statement::Match(Field::IpDaddr, Comparison::NotEqual, network("10.77.0.0/24")),
            Statement::Masquerade,
        ],
    );
    masquerade.comment = Some("hello".into());
    check(
        &Change::AddRule(masquerade),
        0,
        "add rule inet t c ip saddr @s ip daddr != 10.77.0.0/24 masquerade comment \"hello\"",
        "01000000060001007400000006000200630000002001048024000180090001006d6574610000000014000280080002000000000f0800\
         0100000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000340001\
         800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c080004000000000424000180\
         0b0001006c6f6f6b757000001400028008000200000000010600010073000000340001800c0001007061796c6f6164002400028008\
         000100000000010800020000000001080003000000001008000400000000032c00018008000100636d70002000028008000100000000\
         0108000200000000010c000380070001000a4d000014000180090001006d61737100000000040002800c000700000668656c6c6f00",
    );
}

#[test]
fn lookups() {
    add_rule(
        &TABLE,
        vec![
            Statement::Lookup(vec![Field::IpSaddr], Comparison::NotEqual, "s".into()),
            Statement::Verdict(Verdict::Return),
        ],
        "add rule inet t c ip saddr != @s return",
        "0100000006000100740000000600020063000000e400048024000180090001006d6574610000000014000280080002000000000f0800\
         0100000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000340001\
         800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c08000400000000042c000180\
         0b0001006c6f6f6b757000001c000280080002000000000106000100730000000800050000000001300001800e000100696d6d6564\
         696174650000001c0002800800010000000000100002800c00028008000100fffffffb",
    );
    add_rule(
        &TABLE,
        vec![Statement::VerdictMap(vec![Field::IpSaddr], "m".into())],
        "add rule inet t c ip saddr vmap @m",
        "0100000006000100740000000600020063000000b400048024000180090001006d6574610000000014000280080002000000000f0800\
         0100000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000340001\
         800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c08000400000000042c000180\
         0b0001006c6f6f6b757000001c00028008000200000000010800030000000000060001006d000000",
    );
    add_rule(
        &BRIDGE,
        vec![
            Statement::Lookup(vec![Field::IifName, Field::EtherSaddr], Comparison::Equal, "s".into()),
            Statement::Verdict(Verdict::Accept),
        ],
        "add rule bridge b c iifname . ether saddr @s accept",
        "0700000006000100620000000600020063000000b000048024000180090001006d657461000000001400028008000200000000060800\
         010000000001340001800c0001007061796c6f6164002400028008000100000000020800020000000000080003000000000608000400\
         00000006240001800b0001006c6f6f6b757000001400028008000200000000010600010073000000300001800e000100696d6d656469\
         6174650000001c0002800800010000000000100002800c0002800800010000000001",
    );
}

#[test]
fn comparisons() {
    add_rule(
        &TABLE,
        vec![
            Statement::Match(Field::Ip6Daddr, Comparison::Equal, network("ff00::/8")),
            Statement::Verdict(Verdict::Return),
        ],
        "add rule inet t c ip6 daddr ff00::/8 return",
        "0100000006000100740000000600020063000000e400048024000180090001006d6574610000000014000280080002000000000f0800\
         0100000000012c00018008000100636d700020000280080001000000000108000200000000000c000380050001000a000000340001\
         800c0001007061796c6f6164002400028008000100000000010800020000000001080003000000001808000400000000012c000180\
         08000100636d700020000280080001000000000108000200000000000c00038005000100ff000000300001800e000100696d6d6564\
         696174650000001c0002800800010000000000100002800c00028008000100fffffffb",
    );
    add_rule(
        &TABLE,
        vec![
            Statement::Match(Field::IifName, Comparison::Equal, Value::IfName("veth0".into()).into()),
            Statement::Counter,
            Statement::Verdict(Verdict::Goto("x".into())),
        ],
        "add rule inet t c iifname \"veth0\" counter goto x",
        "0100000006000100740000000600020063000000ac00048024000180090001006d657461000000001400028008000200000000060800\
         0100000000013800018008000100636d70002c0002800800010000000001080002000000000018000380140001007665746830000000\
         0000000000000000140001800c000100636f756e7465720004000280380001800e000100696d6d656469617465000000240002800800\
         010000000000180002801400028008000100fffffffc0600020078000000",
    );
    add_rule(
        &BRIDGE,
        vec![
            Statement::Match(Field::IpSaddr, Comparison::Equal, network("10.0.0.0/9")),
            Statement::Verdict(Verdict::Drop),
        ],
        "add rule bridge b c ip saddr 10.0.0.0/9 drop",
        "07000000060001006200000006000200630000002801048024000180090001006d65746100000000140002800800020000000001080001\
         00000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800600010008000000340001800c\
         0001007061796c6f6164002400028008000100000000010800020000000001080003000000000c080004000000000444000180\
         0c0001006269747769736500340002800800010000000001080002000000000108000300000000040c00048008000100ff8000000c00\
         058008000100000000002c00018008000100636d700020000280080001000000000108000200000000000c000380080001000a000000\
         300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000000",
    );
    add_rule(
        &TABLE,
        vec![
            Statement::Match(Field::IpDaddr, Comparison::Equal, v4("10.0.0.1").into()),
            Statement::Match(Field::L4Proto, Comparison::Equal, Value::Protocol(17).into()),
            Statement::Verdict(Verdict::Jump("x".into())),
        ],
        "add rule inet t c ip daddr 10.0.0.1 meta l4proto udp jump x",
        "01000000060001007400000006000200630000003c01048024000180090001006d6574610000000014000280080002000000000f080001\
         00000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500010002000000340001800c\
         0001007061796c6f6164002400028008000100000000010800020000000001080003000000001008000400000000042c00018008000100\
         636d700020000280080001000000000108000200000000000c000380080001000a00000124000180090001006d65746100000000140002\
         80080002000000001008000100000000012c00018008000100636d700020000280080001000000000108000200000000000c0003800500\
         010011000000380001800e000100696d6d656469617465000000240002800800010000000000180002801400028008000100fffffffd06\
         00020078000000",
    );
}
