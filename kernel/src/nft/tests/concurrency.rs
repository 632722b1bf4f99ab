//! Many at once: nothing is doubled, nothing is lost, nobody fails.

use std::sync::Barrier;

use super::elements::owned;
use super::*;
use crate::netns::NetNs;

const CROWD: usize = 32;

/// Runs `work` in as many threads as there are in the crowd, all in the namespace of the caller and all at once.
fn crowd(work: impl Fn(usize) + Sync) {
    let here = NetNs::current().unwrap();
    let barrier = Barrier::new(CROWD);
    thread::scope(|scope| {
        for number in 0..CROWD {
            let (here, barrier, work) = (&here, &barrier, &work);
            scope.spawn(move || {
                here.run(|| {
                    barrier.wait();
                    work(number);
                })
                .unwrap();
            });
        }
    });
}

fn address(number: usize) -> String {
    format!("10.0.0.{}", number + 1)
}

#[test]
fn a_crowd_finds_the_layout_missing() {
    namespace(|| {
        crowd(|number| {
            let mine = owned(&format!("owner {number}"), &[&address(number)]);
            mine.apply(&mut Nft::open().unwrap()).unwrap();
        });
        let listed = nft(&["list", "ruleset"]);
        assert_eq!(listed.matches("masquerade").count(), 1, "{listed}");
        assert_eq!(Nft::open().unwrap().elements(&TABLE.object("sources")).unwrap().len(), CROWD);
    });
}

#[test]
fn a_crowd_comes_and_goes() {
    namespace(|| {
        crowd(|number| {
            let mut kernel = Nft::open().unwrap();
            for round in 0..10 {
                let mine = owned(&format!("owner {number}"), &[&address(number)]);
                mine.apply(&mut kernel).unwrap();
                assert_eq!(mine.check(&mut kernel).unwrap(), None, "round {round}");
                mine.remove(&mut kernel).unwrap();
            }
        });
        let listed = nft(&["list", "ruleset"]);
        assert_eq!(listed.matches("masquerade").count(), 1, "{listed}");
        assert_eq!(Nft::open().unwrap().elements(&TABLE.object("sources")).unwrap(), []);
    });
}

/// All want one address: somebody has it in the end, as a whole, and the late deletions of the others do not touch it.
#[test]
fn a_crowd_fights_for_one_address() {
    namespace(|| {
        crowd(|number| {
            let mine = owned(&format!("owner {number}"), &["10.0.0.1"]);
            mine.apply(&mut Nft::open().unwrap()).unwrap();
        });
        let entry = Nft::open().unwrap().element(&TABLE.object("sources"), &v4("10.0.0.1")).unwrap().unwrap();
        let winner = entry.comment.unwrap();
        crowd(|number| {
            let mine = owned(&format!("owner {number}"), &["10.0.0.1"]);
            if format!("owner {number}") != winner {
                mine.remove(&mut Nft::open().unwrap()).unwrap();
            }
        });
        let entry = Nft::open().unwrap().element(&TABLE.object("sources"), &v4("10.0.0.1")).unwrap().unwrap();
        assert_eq!(entry.comment, Some(winner));
    });
}

/// Whoever deletes without knowing the keys reads the whole set, while others keep changing it.
#[test]
fn a_crowd_sweeps() {
    namespace(|| {
        crowd(|number| {
            let mut kernel = Nft::open().unwrap();
            let tag = format!("owner {number}");
            for _ in 0..5 {
                owned(&tag, &[&address(number)]).apply(&mut kernel).unwrap();
                assert_eq!(kernel.remove_owned(&TABLE.object("sources"), &|comment| comment == tag).unwrap(), 1);
            }
        });
        assert_eq!(Nft::open().unwrap().elements(&TABLE.object("sources")).unwrap(), []);
    });
}
