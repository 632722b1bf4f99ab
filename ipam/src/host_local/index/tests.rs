//! The index against a plain map, and against everything that can be wrong with its file.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const BOOT: &str = "6ada50c8-93ba-469d-bae1-108ca4706509";

fn stamp(n: i64) -> Stamp {
    Stamp { dev: 1, ino: 2, mtime: (n, 3), ctime: (n, 4) }
}

fn addr(n: u32) -> Addr {
    Addr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n))
}

/// A digest as good as a real one, for a number.
fn digest(n: u32) -> u128 {
    crate::host_local::lessee::Key::new(&n.to_string()).digest()
}

fn filled(leases: u32) -> Index {
    let mut index = Index::empty();
    (0..leases).for_each(|n| index.add(digest(n), addr(n)).unwrap());
    index
}

struct Place {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index/n1");
    Place { _dir: dir, path }
}

fn is_taken(index: &mut Index, addr: Addr) -> bool {
    let (number, bit) = addr.block();
    index.block(number).unwrap().first_free(bit, bit).is_none()
}

#[test]
fn survives_the_trip_to_disk() {
    let place = place();
    filled(5000).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    let mut index = Index::load(&place.path, &stamp(1), BOOT).unwrap();
    for n in 0..5000 {
        assert_eq!(index.owned(digest(n)).unwrap(), Owned::Leases(vec![addr(n)]));
        assert!(is_taken(&mut index, addr(n)));
    }
    assert_eq!(index.owned(digest(5000)).unwrap(), Owned::Leases(vec![]));
    assert!(!is_taken(&mut index, addr(5000)));
}

#[test]
fn a_change_is_seen_by_the_next_one() {
    let place = place();
    filled(300).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    let mut index = Index::load(&place.path, &stamp(1), BOOT).unwrap();
    index.add(digest(7), addr(70_000)).unwrap();
    index.remove(digest(8), addr(8)).unwrap();
    index.save(&place.path, BOOT, || Ok(stamp(2))).unwrap();
    assert!(matches!(Index::load(&place.path, &stamp(1), BOOT), Err(IndexError::Stale)));
    let mut index = Index::load(&place.path, &stamp(2), BOOT).unwrap();
    assert_eq!(index.owned(digest(7)).unwrap(), Owned::Leases(vec![addr(7), addr(70_000)]));
    assert_eq!(index.owned(digest(8)).unwrap(), Owned::Leases(vec![]));
    assert!(is_taken(&mut index, addr(70_000)) && !is_taken(&mut index, addr(8)));
}

#[test]
fn what_has_not_changed_is_not_written() {
    let place = place();
    filled(3).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    let mut index = Index::load(&place.path, &stamp(1), BOOT).unwrap();
    index.owned(digest(2)).unwrap();
    index.save(&place.path, BOOT, || panic!("nothing to save")).unwrap();
}

#[test]
fn a_failed_stamp_leaves_the_old_header() {
    let place = place();
    filled(3).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    let mut index = Index::load(&place.path, &stamp(1), BOOT).unwrap();
    index.add(digest(9), addr(9)).unwrap();
    index.save(&place.path, BOOT, || Err(IndexError::Stale)).unwrap_err();
    // The directory carries another stamp by then, and the old one fits it no more.
    assert!(matches!(Index::load(&place.path, &stamp(2), BOOT), Err(IndexError::Stale)));
}

#[test]
fn another_boot_or_directory_makes_it_stale() {
    let place = place();
    filled(3).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    let other_boot = BOOT.replace('6', "7");
    assert!(matches!(Index::load(&place.path, &stamp(1), &other_boot), Err(IndexError::Stale)));
    for other in [
        Stamp { dev: 9, ..stamp(1) },
        Stamp { ino: 9, ..stamp(1) },
        Stamp { mtime: (1, 9), ..stamp(1) },
        Stamp { ctime: (1, 9), ..stamp(1) },
    ] {
        assert!(matches!(Index::load(&place.path, &other, BOOT), Err(IndexError::Stale)));
    }
}

#[test]
fn a_page_of_an_earlier_life_is_found_out() {
    let place = place();
    filled(100).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    let old = std::fs::read(&place.path).unwrap();
    filled(100).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    let mut mixed = std::fs::read(&place.path).unwrap();
    assert_eq!(mixed.len(), old.len());
    mixed[page::PAGE..].copy_from_slice(&old[page::PAGE..]);
    std::fs::write(&place.path, mixed).unwrap();
    let mut index = Index::load(&place.path, &stamp(1), BOOT).unwrap();
    assert!(matches!(index.owned(digest(1)), Err(IndexError::Damaged)));
}

#[test]
fn a_question_costs_a_page_whatever_the_number_of_leases() {
    let place = place();
    filled(50_000).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
    for n in (0..60_000).step_by(1_000) {
        let mut index = Index::load(&place.path, &stamp(1), BOOT).unwrap();
        index.owned(digest(n)).unwrap();
        is_taken(&mut index, addr(n));
        assert!(index.page_reads() <= 2, "{} pages for {n}", index.page_reads());
        index.remove(digest(n), addr(n)).unwrap();
        index.add(digest(n), addr(n)).unwrap();
        assert!(index.page_reads() <= 2, "{} pages for {n}", index.page_reads());
    }
}

#[test]
fn an_owner_of_many_leases_is_unlisted_and_in_nobodys_way() {
    let mut index = Index::empty();
    (0..5000).for_each(|n| index.add(digest(1), addr(n)).unwrap());
    assert_eq!(index.owned(digest(1)).unwrap(), Owned::Unlisted);
    assert!(index.header.owners <= 17, "{}", index.header.owners);
    assert!((0..5000).all(|n| is_taken(&mut index, addr(n))));
    assert_eq!(index.owned(digest(2)).unwrap(), Owned::Leases(vec![]));
}

#[test]
fn unlisted_owners_stay_unlisted() {
    let mut index = filled(10);
    index.add_unlisted(digest(3)).unwrap();
    index.add_unlisted(digest(3)).unwrap();
    assert_eq!(index.owned(digest(3)).unwrap(), Owned::Unlisted);
    index.distrust_owners();
    assert_eq!(index.owned(digest(4)).unwrap(), Owned::Unlisted);
    // Occupancy is not in doubt.
    assert!(is_taken(&mut index, addr(4)));
}

#[test]
fn keys_that_share_a_page_spill_over_and_come_back() {
    // One page of owners holds 123; the block table of one page holds 51.
    let mut index = Index::empty();
    (0..60).for_each(|n| index.occupy(addr(n * 512)).unwrap());
    let mut pages = Pages::new(None, 1);
    let table = Table { first: 1, pages: 3, value: OWNER };
    for n in 0..300u32 {
        table.insert(&mut pages, 42, &[u8::try_from(n % 250).unwrap(); OWNER]).unwrap();
    }
    let mut seen = 0;
    table
        .find(&mut pages, 42, &mut |_| {
            seen += 1;
            false
        })
        .unwrap();
    assert_eq!(seen, 300);
    // A free slot on an earlier page does not hide the later pages.
    let mut freed = 0;
    table
        .find(&mut pages, 42, &mut |slot| {
            slot.free();
            freed += 1;
            freed == 50
        })
        .unwrap();
    seen = 0;
    table
        .find(&mut pages, 42, &mut |_| {
            seen += 1;
            false
        })
        .unwrap();
    assert_eq!(seen, 250);
    assert!(matches!((0..200).try_for_each(|_| table.insert(&mut pages, 42, &[1; OWNER])), Err(IndexError::Full)));
}

#[derive(Debug, Clone)]
enum Change {
    Add(u32, u32),
    Remove(u32, u32),
    Reopen,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let pair = || (0u32..40, 0u32..2000);
    let change = prop_oneof![
        6 => pair().prop_map(|(owner, n)| Change::Add(owner, n)),
        4 => pair().prop_map(|(owner, n)| Change::Remove(owner, n)),
        1 => Just(Change::Reopen),
    ];
    prop::collection::vec(change, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn behaves_like_a_map(changes in changes()) {
        let place = place();
        let mut index = Index::empty();
        let mut model: BTreeMap<u32, BTreeSet<Addr>> = BTreeMap::new();
        let mut time = 0;
        for change in changes {
            match change {
                // As in a directory: an address has one owner, and a removal removes what is there.
                Change::Add(owner, n) => {
                    let n = addr(n);
                    if !model.values().any(|leases| leases.contains(&n)) {
                        index.add(digest(owner), n).unwrap();
                        model.entry(owner).or_default().insert(n);
                    }
                }
                Change::Remove(owner, n) => {
                    let leases = model.entry(owner).or_default();
                    if let Some(n) = leases.range(addr(n)..).next().copied() {
                        leases.remove(&n);
                        index.remove(digest(owner), n).unwrap();
                    }
                }
                Change::Reopen => {
                    time += 1;
                    index.save(&place.path, BOOT, || Ok(stamp(time))).unwrap();
                    if index.stamp() == &stamp(time) {
                        index = Index::load(&place.path, &stamp(time), BOOT).unwrap();
                    }
                }
            }
        }
        for (owner, leases) in &model {
            if let Owned::Leases(mut listed) = index.owned(digest(*owner)).unwrap() {
                listed.sort();
                prop_assert_eq!(listed, leases.iter().copied().collect::<Vec<_>>());
            }
        }
        let taken: BTreeSet<Addr> = model.into_values().flatten().collect();
        for n in 0..2000 {
            prop_assert_eq!(is_taken(&mut index, addr(n)), taken.contains(&addr(n)));
        }
    }

    #[test]
    fn any_damage_is_found_or_does_not_matter(at in any::<prop::sample::Index>(), with in 1u8..=255, cut in any::<bool>()) {
        let place = place();
        filled(200).save(&place.path, BOOT, || Ok(stamp(1))).unwrap();
        let mut bytes = std::fs::read(&place.path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= with }
        std::fs::write(&place.path, &bytes).unwrap();
        let Ok(mut index) = Index::load(&place.path, &stamp(1), BOOT) else { return Ok(()) };
        prop_assert!(!cut);
        for n in 0..200 {
            if let Ok(owned) = index.owned(digest(n)) {
                prop_assert_eq!(owned, Owned::Leases(vec![addr(n)]));
            }
            if let Ok(block) = index.block(addr(n).block().0) {
                prop_assert_eq!(block.first_free(addr(n).block().1, addr(n).block().1), None);
            }
        }
    }
}
