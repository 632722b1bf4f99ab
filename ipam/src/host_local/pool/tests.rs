//! The texts of refusals, and the search against a naive model of it.

use std::collections::BTreeSet;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    let (ip, prefix) = text.split_once('/').unwrap();
    Cidr { ip: ip.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

/// `subnet`, `start`, `end`, `gateway`; an empty text is an absent key.
fn limits(texts: [&str; 4]) -> Limits {
    let [subnet, start, end, gateway] = texts;
    let given = |text: &str| (!text.is_empty()).then(|| ip(text));
    Limits {
        subnet: (!subnet.is_empty()).then(|| cidr(subnet)),
        start: given(start),
        end: given(end),
        gateway: given(gateway),
    }
}

fn refusal(texts: [&str; 4]) -> String {
    Range::new(&limits(texts)).unwrap_err().to_string()
}

fn set(ranges: &[[&str; 4]]) -> Result<RangeSet, PoolError> {
    RangeSet::new(&ranges.iter().map(|texts| limits(*texts)).collect::<Vec<_>>())
}

#[test]
fn fills_in_what_is_left_open() {
    let shown = |texts| {
        let range = Range::new(&limits(texts)).unwrap();
        format!("{range} gw {}", range.gateway())
    };
    assert_eq!(shown(["10.1.0.0/24", "", "", ""]), "10.1.0.1-10.1.0.254 gw 10.1.0.1");
    assert_eq!(shown(["10.1.0.0/30", "", "", ""]), "10.1.0.1-10.1.0.2 gw 10.1.0.1");
    assert_eq!(shown(["fd77::/64", "", "", ""]), "fd77::1-fd77::ffff:ffff:ffff:ffff gw fd77::1");
    assert_eq!(shown(["0.0.0.0/0", "", "", ""]), "0.0.0.1-255.255.255.254 gw 0.0.0.1");
    assert_eq!(shown(["::/0", "", "", ""]), "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff gw ::1");
    // The network and the broadcast address can be asked for, and the gateway can be anywhere.
    assert_eq!(shown(["10.1.0.0/24", "10.1.0.0", "10.1.0.255", "10.9.9.9"]), "10.1.0.0-10.1.0.255 gw 10.9.9.9");
    assert_eq!(shown(["10.1.0.0/24", "::ffff:10.1.0.5", "", ""]), "10.1.0.5-10.1.0.254 gw 10.1.0.1");
}

#[test]
fn refuses_ranges_in_the_words_of_the_go_suite() {
    let cases = [
        (["", "10.1.0.4", "", ""], "IP <nil> not v4 nor v6"),
        (["10.1.0.0/31", "", "", ""], "Network 10.1.0.0/31 too small to allocate from"),
        (["10.1.0.1/32", "", "", ""], "Network 10.1.0.1/32 too small to allocate from"),
        (["fd00::/127", "", "", ""], "Network fd00::/127 too small to allocate from"),
        (["::ffff:10.1.0.0/127", "", "", ""], "Network 10.1.0.0/31 too small to allocate from"),
        (["::ffff:10.1.0.0/120", "", "", ""], "IPNet IP and Mask version mismatch"),
        (
            ["10.1.0.5/24", "", "", ""],
            "Network has host bits set. For a subnet mask of length 24 the network address is 10.1.0.0",
        ),
        (
            ["fd00::5/64", "", "", ""],
            "Network has host bits set. For a subnet mask of length 64 the network address is fd00::",
        ),
        (["10.1.0.0/24", "10.2.0.1", "", ""], "RangeStart 10.2.0.1 not in network 10.1.0.0/24"),
        (["fd00::/64", "10.1.0.1", "", ""], "RangeStart 10.1.0.1 not in network fd00::/64"),
        (["10.1.0.0/24", "10.1.0.100", "10.1.0.50", ""], "RangeStart 10.1.0.100 not in network 10.1.0.0/24"),
        (["10.1.0.0/24", "", "10.2.0.1", ""], "RangeEnd 10.2.0.1 not in network 10.1.0.0/24"),
        (["10.1.0.0/24", "", "10.1.0.0", ""], "RangeEnd 10.1.0.0 not in network 10.1.0.0/24"),
        (["10.1.0.0/24", "", "fd00::1", ""], "RangeEnd fd00::1 not in network 10.1.0.0/24"),
        (["fd00::/64", "", "10.1.0.1", ""], "RangeEnd 10.1.0.1 not in network fd00::/64"),
        (["fd00::/64", "fd00::9", "10.1.0.1", ""], "RangeEnd 10.1.0.1 not in network fd00::/64"),
        (
            ["10.1.0.0/24", "10.1.0.255", "", ""],
            "RangeStart 10.1.0.255 lies behind 10.1.0.254, the last address that network 10.1.0.0/24 gives out",
        ),
    ];
    for (texts, expected) in cases {
        assert_eq!(refusal(texts), expected, "{texts:?}");
    }
}

#[test]
fn refuses_sets_in_the_words_of_the_go_suite() {
    let text = |ranges| set(ranges).unwrap_err().to_string();
    assert_eq!(text(&[]), "empty range set");
    assert_eq!(text(&[["10.1.0.0/24", "", "", ""], ["fd00::/64", "", "", ""]]), "mixed address families");
    assert_eq!(
        text(&[["10.1.0.0/24", "", "", ""], ["10.1.0.0/24", "", "", ""]]),
        "subnets 10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.0.254 overlap"
    );
    // The first bad range decides, even if the families differ.
    assert_eq!(
        text(&[["10.1.0.0/24", "", "", ""], ["fd00::/127", "", "", ""]]),
        "Network fd00::/127 too small to allocate from"
    );
}

#[test]
fn knows_sets_that_overlap() {
    let one = set(&[["10.1.0.0/24", "10.1.0.10", "10.1.0.20", ""], ["10.2.0.0/24", "", "", ""]]).unwrap();
    assert_eq!(one.to_string(), "10.1.0.10-10.1.0.20,10.2.0.1-10.2.0.254");
    let inside = set(&[["10.2.0.0/25", "", "", ""]]).unwrap();
    let around = set(&[["10.0.0.0/8", "", "", ""]]).unwrap();
    let apart = set(&[["10.1.0.0/24", "10.1.0.21", "", ""]]).unwrap();
    let six = set(&[["::/0", "", "", ""]]).unwrap();
    assert!(one.overlaps(&inside) && inside.overlaps(&one));
    assert!(one.overlaps(&around) && around.overlaps(&one));
    assert!(!one.overlaps(&apart) && !apart.overlaps(&one));
    assert!(!one.overlaps(&six) && !six.overlaps(&one));
}

/// Occupancy as a plain set, which counts the questions.
#[derive(Default)]
struct Taken {
    addrs: BTreeSet<Addr>,
    asked: usize,
}

impl Occupancy for Taken {
    type Error = Infallible;

    fn block(&mut self, number: u128) -> Result<Block, Infallible> {
        self.asked += 1;
        let mut block = Block::default();
        let first = Addr::from_bits(number << BLOCK_BITS);
        let last = Addr::from_bits(first.bits() | 511);
        self.addrs.range(first..=last).for_each(|addr| block.set(addr.block().1));
        Ok(block)
    }
}

/// The Go suite's iterator, restated: step by step from the last address, until the first step comes back.
fn naive(set: &RangeSet, last: Option<Addr>, taken: &BTreeSet<Addr>) -> Option<Addr> {
    let all: Vec<(Addr, Addr)> = set
        .0
        .iter()
        .flat_map(|range| (range.start.bits()..=range.end.bits()).map(|bits| (Addr::from_bits(bits), range.gateway)))
        .collect();
    let start = last.and_then(|last| all.iter().position(|(addr, _)| *addr == last)).map_or(0, |at| at + 1);
    let order = all.iter().cycle().skip(start).take(all.len());
    order.into_iter().find(|(addr, gateway)| addr != gateway && !taken.contains(addr)).map(|(addr, _)| *addr)
}

/// A set of up to three small ranges, some of which cross blocks, with gateways inside and outside.
fn small_sets() -> impl Strategy<Value = RangeSet> {
    let range = |n: u8| {
        (0u16..1000, 1u16..600, prop::option::of(0u16..1700)).prop_map(move |(start, len, gateway)| {
            let addr = move |low: u16| IpAddr::from([10, n, low.to_be_bytes()[0], low.to_be_bytes()[1]]);
            Limits {
                subnet: Some(Cidr { ip: addr(0), prefix: 16 }),
                start: Some(addr(start)),
                end: Some(addr(start + len - 1)),
                gateway: gateway.map(addr),
            }
        })
    };
    (range(1), range(2), range(3), 1usize..4).prop_map(|(a, b, c, count)| RangeSet::new(&[a, b, c][..count]).unwrap())
}

fn every_address(set: &RangeSet) -> Vec<Addr> {
    set.0.iter().flat_map(|range| (range.start.bits()..=range.end.bits()).map(Addr::from_bits)).collect()
}

proptest! {
    #[test]
    fn gives_out_what_the_naive_search_gives_out(
        set in small_sets(),
        last in prop::option::of(any::<prop::sample::Index>()),
        density in 0u32..=100,
        seed in any::<u64>(),
    ) {
        let all = every_address(&set);
        let last = last.map(|index| *index.get(&all));
        let drawn = |i: usize| (seed.rotate_left(u32::try_from(i % 64).unwrap()) ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let addrs = all.iter().enumerate().filter(|(i, _)| drawn(*i) % 100 < u64::from(density)).map(|(_, a)| *a);
        let mut taken = Taken { addrs: addrs.collect(), asked: 0 };
        let found = set.next_free(last, &mut taken).unwrap();
        prop_assert_eq!(found.map(|(addr, _)| addr), naive(&set, last, &taken.addrs));
        if let Some((addr, range)) = found {
            prop_assert!(range.contains(addr) && addr != range.gateway());
            prop_assert_eq!(set.range_for(addr), Some(range));
        }
    }

    #[test]
    fn gives_out_every_address_once_and_then_none(set in small_sets(), free in any::<prop::sample::Index>()) {
        let mut taken = Taken::default();
        let mut last = None;
        for _ in 0..set.size() {
            let (addr, range) = set.next_free(last, &mut taken).unwrap().unwrap();
            prop_assert_ne!(addr, range.gateway());
            prop_assert!(taken.addrs.insert(addr));
            last = Some(addr);
        }
        prop_assert_eq!(set.next_free(last, &mut taken).unwrap(), None);
        prop_assert_eq!(set.next_free(None, &mut taken).unwrap(), None);
        if !taken.addrs.is_empty() {
            let given_back = *free.get(&taken.addrs.iter().copied().collect::<Vec<_>>());
            taken.addrs.remove(&given_back);
            prop_assert_eq!(set.next_free(last, &mut taken).unwrap().map(|(addr, _)| addr), Some(given_back));
        }
    }

    #[test]
    fn no_limits_make_it_panic_or_leave_the_subnet(
        subnet in prop::option::of((any::<IpAddr>(), 0u8..=128)),
        start in prop::option::of(any::<IpAddr>()),
        end in prop::option::of(any::<IpAddr>()),
        gateway in prop::option::of(any::<IpAddr>()),
    ) {
        let subnet = subnet.map(|(ip, prefix)| Cidr { ip, prefix: if ip.is_ipv4() { prefix % 33 } else { prefix } });
        if let Ok(range) = Range::new(&Limits { subnet, start, end, gateway }) {
            let network = IpNetwork::new(subnet.unwrap().ip, subnet.unwrap().prefix).unwrap();
            prop_assert!(network.contains(range.start.ip()) && network.contains(range.end.ip()));
            prop_assert!(range.start <= range.end);
        }
    }
}

#[test]
fn a_nearly_full_range_costs_a_question_for_each_512_addresses() {
    let set = set(&[["10.1.0.0/16", "", "", ""]]).unwrap();
    let mut taken = Taken { addrs: every_address(&set).into_iter().collect(), asked: 0 };
    let only = Addr::parse("10.1.99.1").unwrap();
    taken.addrs.remove(&only);
    let found = set.next_free(Addr::parse("10.1.99.7"), &mut taken).unwrap();
    assert_eq!(found.map(|(addr, _)| addr), Some(only));
    assert!(taken.asked <= 129, "{}", taken.asked);
}

#[test]
fn a_range_of_the_gateway_alone_has_nothing_to_give() {
    let set = set(&[["10.1.0.0/24", "10.1.0.1", "10.1.0.1", ""]]).unwrap();
    assert_eq!(set.size(), 0);
    assert_eq!(set.next_free(None, &mut Taken::default()).unwrap(), None);
    assert_eq!(set.next_free(Addr::parse("10.1.0.1"), &mut Taken::default()).unwrap(), None);
}

#[test]
fn the_last_address_of_all_does_not_overflow() {
    let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let set = set(&[["ffff::/16", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "", ""]]).unwrap();
    let mut taken = Taken::default();
    let found = set.next_free(Addr::parse(last), &mut taken).unwrap().unwrap();
    assert_eq!(found.0.to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe");
    taken.addrs.insert(found.0);
    assert_eq!(set.next_free(Some(found.0), &mut taken).unwrap().unwrap().0.to_string(), last);
}
