//! The leases under the hands of strangers: whatever happens between two calls, the answers are the directory's.

mod random;

use std::fs;
use std::net::IpAddr;

use super::*;
use crate::host_local::pool::{Cidr, Limits};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Ledger {
        Ledger::open(self.dir.path(), "n1", Duration::from_secs(30)).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("n1").join(name)
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join(".index/n1")
    }

    /// One call: open, work, commit.
    fn call<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.open();
        let done = work(&mut ledger);
        ledger.commit();
        done
    }

    fn add(&self, owner: u32) -> Option<String> {
        let next = self.call(|ledger| ledger.reserve_next(0, &small(), &lessee(owner)).unwrap());
        next.map(|(addr, _)| addr.to_string())
    }

    fn held(&self, owner: u32) -> Vec<String> {
        let leases = self.call(|ledger| ledger.leases_of(lessee(owner).exact()).unwrap());
        leases.into_iter().map(|lease| lease.path.to_str().unwrap().to_owned()).collect()
    }

    fn del(&self, owner: u32) {
        self.call(|ledger| ledger.release(&lessee(owner)).unwrap());
    }

    /// Whether the index answers a call without being built anew.
    fn index_serves(&self) -> bool {
        let mut ledger = self.open();
        ledger.has_free(&small()).unwrap();
        ledger.index.is_some_and(|index| index.is_loaded())
    }
}

fn lessee(owner: u32) -> Lessee {
    Lessee::new(&format!("cid{owner}"), "eth0")
}

fn set(ip: &str, prefix: u8) -> RangeSet {
    let subnet = Some(Cidr { ip: ip.parse::<IpAddr>().unwrap(), prefix });
    RangeSet::new(&[Limits { subnet, ..Limits::default() }]).unwrap()
}

/// 10.1.0.2 to 10.1.0.30.
fn small() -> RangeSet {
    set("10.1.0.0", 27)
}

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

#[test]
fn gives_out_keeps_and_takes_back() {
    let place = Place::new();
    assert_eq!(place.add(1).as_deref(), Some("10.1.0.2"));
    assert!(place.index_serves());
    assert_eq!(place.add(2).as_deref(), Some("10.1.0.3"));
    assert_eq!(place.held(1), ["10.1.0.2"]);
    place.del(1);
    assert_eq!(place.held(1), [""; 0]);
    assert!(place.index_serves());
    // The address just freed comes last.
    assert_eq!(place.add(3).as_deref(), Some("10.1.0.4"));
}

#[test]
fn fills_up_and_says_so() {
    let place = Place::new();
    let given: Vec<_> = (0..29).map(|n| place.add(n).unwrap()).collect();
    assert_eq!(given.len(), 29);
    assert_eq!(place.add(99), None);
    assert!(!place.call(|ledger| ledger.has_free(&small()).unwrap()));
    place.del(13);
    assert!(place.call(|ledger| ledger.has_free(&small()).unwrap()));
    assert_eq!(place.add(99).as_ref(), Some(&given[13]));
}

#[test]
fn sees_a_lease_that_another_has_made() {
    let place = Place::new();
    place.add(1);
    fs::write(place.file("10.1.0.3"), "cid7\r\neth0").unwrap();
    assert!(!place.index_serves());
    assert_eq!(place.held(7), ["10.1.0.3"]);
    assert_eq!(place.add(2).as_deref(), Some("10.1.0.4"));
}

#[test]
fn sees_that_another_has_taken_a_lease_away() {
    let place = Place::new();
    place.add(1);
    place.add(2);
    fs::remove_file(place.file("10.1.0.2")).unwrap();
    assert_eq!(place.held(1), [""; 0]);
    fs::remove_file(place.file("10.1.0.3")).unwrap();
    fs::write(place.file("last_reserved_ip.0"), "10.1.0.1").unwrap();
    assert_eq!(place.add(3).as_deref(), Some("10.1.0.2"));
}

#[test]
fn a_lease_rewritten_in_place_is_not_released_for_its_old_owner() {
    let place = Place::new();
    place.add(1);
    // No change of the directory, and so the index still fits.
    fs::write(place.file("10.1.0.2"), "cid2\r\neth0").unwrap();
    assert!(place.index_serves());
    place.del(1);
    assert_eq!(fs::read_to_string(place.file("10.1.0.2")).unwrap(), "cid2\r\neth0");
    assert_eq!(place.held(2), ["10.1.0.2"]);
}

#[test]
fn a_directory_made_anew_is_another_one() {
    let place = Place::new();
    place.add(1);
    fs::remove_dir_all(place.dir.path().join("n1")).unwrap();
    assert_eq!(place.held(1), [""; 0]);
    assert_eq!(place.add(2).as_deref(), Some("10.1.0.2"));
}

#[test]
fn an_index_of_another_network_does_not_serve() {
    let place = Place::new();
    place.add(1);
    let mut other = Ledger::open(place.dir.path(), "n2", Duration::ZERO).unwrap();
    other.reserve(0, addr("10.1.0.2"), &lessee(5)).unwrap();
    other.commit();
    fs::copy(place.dir.path().join(".index/n2"), place.index()).unwrap();
    assert!(!place.index_serves());
    assert_eq!(place.held(1), ["10.1.0.2"]);
    assert_eq!(place.held(5), [""; 0]);
}

#[test]
fn odd_files_are_found_by_reading_the_directory() {
    let place = Place::new();
    place.add(1);
    fs::write(place.file("notes"), "cid1\r\neth0").unwrap();
    fs::write(place.file("FD77::2"), "cid1\r\neth0 ").unwrap();
    assert_eq!(place.held(1), ["10.1.0.2", "FD77::2", "notes"]);
    assert!(place.index_serves());
    assert_eq!(place.held(1), ["10.1.0.2", "FD77::2", "notes"]);
    assert_eq!(place.held(2), [""; 0]);
    place.del(1);
    assert_eq!(place.held(1), [""; 0]);
    assert!(!place.file("notes").exists() && !place.file("FD77::2").exists());
}

#[test]
fn a_change_in_a_sub_directory_is_seen() {
    let place = Place::new();
    place.add(1);
    fs::create_dir_all(place.file("sub/10.1.0.9")).unwrap();
    assert_eq!(place.held(2), [""; 0]);
    fs::write(place.file("sub/10.1.0.9/10.1.0.8"), "cid2\r\neth0").unwrap();
    assert_eq!(place.held(2), ["sub/10.1.0.9/10.1.0.8"]);
    place.del(2);
    assert_eq!(place.held(2), [""; 0]);
    // Nothing below the top takes an address; an entry of that name at the top does, whatever it is.
    fs::create_dir(place.file("10.1.0.3")).unwrap();
    assert_eq!(place.add(3).as_deref(), Some("10.1.0.4"));
}

#[test]
fn old_leases_without_interface_go_when_there_are_no_others() {
    let place = Place::new();
    fs::create_dir_all(place.file("")).unwrap();
    fs::write(place.file("10.1.0.5"), "cid1\n").unwrap();
    place.add(1);
    place.del(1);
    assert!(place.file("10.1.0.5").exists());
    place.del(1);
    assert!(!place.file("10.1.0.5").exists());
}

#[test]
fn leases_without_content_are_free() {
    let place = Place::new();
    fs::create_dir_all(place.file("")).unwrap();
    fs::write(place.file("10.1.0.2"), "").unwrap();
    assert_eq!(place.add(1).as_deref(), Some("10.1.0.2"));
    assert_eq!(fs::read_to_string(place.file("10.1.0.2")).unwrap(), "cid1\r\neth0");
}

#[test]
fn collects_the_stale_and_the_empty_and_nothing_else() {
    let place = Place::new();
    (1..5).for_each(|owner| {
        place.add(owner);
    });
    for (name, text) in [
        ("10.1.0.20", ""),
        ("10.1.0.21", "\0\0\0"),
        ("10.1.0.22", "reserved for the printer"),
        ("notes", "cid1\r\neth0"),
        ("empty", ""),
    ] {
        fs::write(place.file(name), text).unwrap();
    }
    fs::create_dir(place.file("sub")).unwrap();
    fs::write(place.file("sub/10.1.0.23"), "").unwrap();
    let failures = place.call(|ledger| ledger.collect(&|text| text.starts_with("cid1") || text.starts_with("cid3")));
    assert!(failures.unwrap().is_empty());
    let mut left: Vec<_> =
        fs::read_dir(place.file("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["10.1.0.22", "10.1.0.3", "10.1.0.5", "empty", "last_reserved_ip.0", "lock", "notes", "sub"]);
    assert!(place.file("sub/10.1.0.23").exists());
}

#[test]
fn a_lease_whose_history_can_not_be_written_is_given_back() {
    let place = Place::new();
    fs::create_dir_all(place.file("last_reserved_ip.0")).unwrap();
    let error = place.call(|ledger| ledger.reserve_next(0, &small(), &lessee(1)).unwrap_err());
    let expected = format!("cannot write {}: is a directory", place.file("last_reserved_ip.0").display());
    assert_eq!(error.to_string(), expected);
    assert!(!place.file("10.1.0.2").exists());
}

#[test]
fn works_where_no_index_can_be_written() {
    let place = Place::new();
    fs::write(place.dir.path().join(".index"), "in the way").unwrap();
    assert_eq!(place.add(1).as_deref(), Some("10.1.0.2"));
    assert_eq!(place.add(2).as_deref(), Some("10.1.0.3"));
    place.del(1);
    assert_eq!(place.held(2), ["10.1.0.3"]);
}

#[test]
fn costs_as_many_pages_with_fifty_thousand_leases_as_with_none() {
    let pages = |leases: u32| {
        let place = Place::new();
        let wide = set("10.0.0.0", 8);
        let mut ledger = place.open();
        // As if 50,000 calls had been made; the files of all but a few do not matter to the count.
        ledger.rebuild().unwrap();
        for n in 0..leases {
            let addr = Addr::from_bits(addr("10.0.0.2").bits() + u128::from(n));
            ledger.index.as_mut().unwrap().add(lessee(n).exact().digest(), addr).unwrap();
        }
        let last = Addr::from_bits(addr("10.0.0.1").bits() + u128::from(leases));
        ledger.store.set_last_reserved(0, last).unwrap();
        ledger.commit();
        let mut counts = Vec::new();
        for owner in 100_000..100_010 {
            let mut add = place.open();
            assert!(add.leases_of(lessee(owner).exact()).unwrap().is_empty());
            assert!(add.leases_of(lessee(owner).legacy()).unwrap().is_empty());
            add.reserve_next(0, &wide, &lessee(owner)).unwrap().unwrap();
            counts.push(add.index.as_ref().unwrap().page_reads());
            add.commit();
            let mut del = place.open();
            del.release(&lessee(owner)).unwrap();
            counts.push(del.index.as_ref().unwrap().page_reads());
            assert!(del.index.as_ref().unwrap().is_loaded());
            del.commit();
        }
        counts.into_iter().max().unwrap()
    };
    assert!(pages(0) <= 3);
    assert!(pages(50_000) <= 3);
}
