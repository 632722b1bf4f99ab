//! Random events between calls, against a naive reading of the directory.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::{Place, addr, lessee, small};
use crate::host_local::addr::Addr;

/// What may happen to the directory or the index between two calls.
#[derive(Debug, Clone)]
enum Event {
    Add(u32),
    Del(u32),
    Request(u8, u32),
    ForeignLease(u8, u32),
    ForeignRemoval(u8),
    EmptyLease(u8),
    DropIndex,
    CutIndex(prop::sample::Index),
    SpoilIndex(prop::sample::Index, u8),
    OldIndex,
    KeepIndex,
    DieBeforeCommit(u32),
    Look,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let owner = || 0u32..6;
    let host = || 2u8..31;
    let event = prop_oneof![
        8 => owner().prop_map(Event::Add),
        5 => owner().prop_map(Event::Del),
        2 => (host(), owner()).prop_map(|(host, owner)| Event::Request(host, owner)),
        3 => (host(), owner()).prop_map(|(host, owner)| Event::ForeignLease(host, owner)),
        3 => host().prop_map(Event::ForeignRemoval),
        1 => host().prop_map(Event::EmptyLease),
        1 => Just(Event::DropIndex),
        1 => any::<prop::sample::Index>().prop_map(Event::CutIndex),
        2 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, with)| Event::SpoilIndex(at, with)),
        1 => Just(Event::KeepIndex),
        2 => Just(Event::OldIndex),
        2 => owner().prop_map(Event::DieBeforeCommit),
        4 => Just(Event::Look),
    ];
    prop::collection::vec(event, 1..60)
}

/// The leases that the directory holds, by address.
fn truth(place: &Place) -> BTreeMap<Addr, String> {
    let Ok(entries) = fs::read_dir(place.file("")) else { return BTreeMap::new() };
    let entries = entries.map(|entry| entry.unwrap());
    let lease = |entry: fs::DirEntry| {
        let addr = Addr::from_lease_name(entry.file_name().to_str()?)?;
        Some((addr, fs::read_to_string(entry.path()).unwrap())).filter(|(_, text)| !text.is_empty())
    };
    entries.filter_map(lease).collect()
}

/// What each owner holds, as the directory says.
fn held(place: &Place) -> Vec<Vec<Addr>> {
    let truth = truth(place);
    let of = |owner| {
        let text = lessee(owner).exact().text().to_owned();
        truth.iter().filter(|(_, other)| **other == text).map(|(addr, _)| *addr).collect()
    };
    (0..6).map(of).collect()
}

/// What each owner holds, as calls say.
fn known(place: &Place) -> Vec<Vec<Addr>> {
    let of = |owner| {
        let mut addrs: Vec<Addr> = place.held(owner).iter().filter_map(|name| Addr::parse(name)).collect();
        addrs.sort();
        addrs
    };
    (0..6).map(of).collect()
}

/// The address that comes next, by going from one to the next.
fn expected(place: &Place) -> Option<Addr> {
    let taken = truth(place);
    let last = fs::read_to_string(place.file("last_reserved_ip.0")).ok().and_then(|text| Addr::parse(&text));
    let hosts: Vec<Addr> = (1..31).map(|host| addr(&format!("10.1.0.{host}"))).collect();
    let start = last.and_then(|last| hosts.iter().position(|host| *host == last)).map_or(0, |at| at + 1);
    let mut order = hosts.iter().cycle().skip(start).take(hosts.len());
    order.find(|host| host.to_string() != "10.1.0.1" && !taken.contains_key(host)).copied()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_event_between_two_calls_leads_to_a_wrong_answer(events in events()) {
        let place = Place::new();
        fs::create_dir(place.file("")).unwrap();
        let mut old_index = None;
        for event in events {
            match event {
                Event::Add(owner) | Event::DieBeforeCommit(owner) => {
                    let expected = expected(&place);
                    let mut ledger = place.open();
                    let next = ledger.reserve_next(0, &small(), &lessee(owner)).unwrap();
                    prop_assert_eq!(next.map(|(addr, _)| addr), expected);
                    if matches!(event, Event::Add(_)) {
                        ledger.commit();
                    }
                }
                Event::Del(owner) => place.del(owner),
                Event::Request(host, owner) => {
                    let wanted = addr(&format!("10.1.0.{host}"));
                    let free = !truth(&place).contains_key(&wanted);
                    prop_assert_eq!(place.call(|ledger| ledger.reserve(0, wanted, &lessee(owner)).unwrap()), free);
                }
                Event::ForeignLease(host, owner) => {
                    let file = place.file(&format!("10.1.0.{host}"));
                    if !file.exists() {
                        fs::write(file, lessee(owner).exact().text()).unwrap();
                    }
                }
                Event::ForeignRemoval(host) => drop(fs::remove_file(place.file(&format!("10.1.0.{host}")))),
                Event::EmptyLease(host) => {
                    let file = place.file(&format!("10.1.0.{host}"));
                    if !file.exists() {
                        fs::write(file, "").unwrap();
                    }
                }
                Event::DropIndex => drop(fs::remove_file(place.index())),
                Event::CutIndex(at) => {
                    if let Ok(mut bytes) = fs::read(place.index()) {
                        bytes.truncate(at.index(bytes.len() + 1));
                        fs::write(place.index(), bytes).unwrap();
                    }
                }
                Event::SpoilIndex(at, with) => {
                    if let Some(mut bytes) = fs::read(place.index()).ok().filter(|bytes| !bytes.is_empty()) {
                        let at = at.index(bytes.len());
                        bytes[at] ^= with;
                        fs::write(place.index(), bytes).unwrap();
                    }
                }
                Event::KeepIndex => old_index = fs::read(place.index()).ok(),
                Event::OldIndex => {
                    if let Some(bytes) = old_index.as_ref().filter(|_| place.index().exists()) {
                        fs::write(place.index(), bytes).unwrap();
                    }
                }
                Event::Look => prop_assert_eq!(known(&place), held(&place)),
            }
        }
        prop_assert_eq!(known(&place), held(&place));
    }
}
