//! Against both iptables in private namespaces.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs `work` in a network namespace of its own, with a `/run` of its own for the lock of legacy iptables.
fn namespace(work: impl FnOnce() + Send) {
    nft::tests::namespace(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace needs root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        work();
    });
}

/// A chain as the plugins make it, with a jump to it.
fn masquerade(family: Family) -> Restore {
    let (source, network) = match family {
        Family::V4 => ("10.77.0.2/32", "10.77.0.0/24"),
        Family::V6 => ("fd00::2/128", "fd00::/64"),
    };
    let comment = "name: \"n1\" id: \"cid1\"";
    let mut restore = Restore::new(family, "nat");
    restore.chain("CNI-abc");
    restore.append(Rule::new("CNI-abc", ["-d", network, "-m", "comment", "--comment", comment, "-j", "ACCEPT"]));
    restore.append(Rule::new("POSTROUTING", ["-s", source, "-m", "comment", "--comment", comment, "-j", "CNI-abc"]));
    restore
}

fn found(family: Family, wanted: Wanted<'_>) -> Vec<Saved> {
    find(Some(&mut Nft::open().unwrap()), family, "nat", wanted).unwrap()
}

#[test]
fn nothing_is_found_where_nothing_is() {
    namespace(|| {
        assert_eq!(found(Family::V4, Wanted::Chain("CNI-abc")), []);
        assert_eq!(found(Family::V6, Wanted::Prefix("CNI-")), []);
        // Looking must not create the legacy table.
        assert!(!is_legacy_in_use(Family::V4, "nat").unwrap());
    });
}

fn comes_and_goes(family: Family, variant: Variant) {
    namespace(|| {
        let wanted = Wanted::Chain("CNI-abc");
        let changes = masquerade(family);
        restore(&changes, variant).unwrap();
        let listed = found(family, wanted);
        assert_eq!(listed.iter().map(|saved| saved.variant).collect::<Vec<_>>(), [variant]);
        let text = changes.to_string();
        for rule in &listed[0].rules {
            assert!(text.contains(&format!("-A {rule}\n")), "{rule} is not as it was written");
        }
        assert_eq!(found(family, Wanted::Prefix("CNI-")), listed);
        assert_eq!(found(family, Wanted::Prefix("KUBE-")), []);

        let mut undo = Restore::new(family, "nat");
        listed[0].chain("POSTROUTING").for_each(|rule| undo.delete(rule.clone()));
        undo.delete_chain("CNI-abc");
        restore(&undo, variant).unwrap();
        assert_eq!(found(family, wanted), []);
        assert_eq!(save(family, "nat", variant).unwrap().rules, []);
    });
}

#[test]
fn nf_tables_variant() {
    comes_and_goes(Family::V4, Variant::Nft);
    comes_and_goes(Family::V6, Variant::Nft);
}

#[test]
fn legacy_variant() {
    comes_and_goes(Family::V4, Variant::Legacy);
    comes_and_goes(Family::V6, Variant::Legacy);
}

#[test]
fn a_refused_line_undoes_the_others_and_is_told() {
    namespace(|| {
        let mut changes = masquerade(Family::V4);
        changes.delete(Rule::new("POSTROUTING", ["-j", "CNI-nowhere"]));
        let refused = restore(&changes, Variant::Nft).unwrap_err().to_string();
        assert!(refused.contains("CNI-nowhere"), "{refused}");
        assert!(!refused.contains('\n'), "{refused}");
        assert_eq!(found(Family::V4, Wanted::Chain("CNI-abc")), []);
    });
}

#[test]
fn both_variants_are_found_at_once() {
    namespace(|| {
        restore(&masquerade(Family::V4), Variant::Nft).unwrap();
        restore(&masquerade(Family::V4), Variant::Legacy).unwrap();
        let variants: Vec<Variant> =
            found(Family::V4, Wanted::Chain("CNI-abc")).into_iter().map(|saved| saved.variant).collect();
        assert_eq!(variants, [Variant::Nft, Variant::Legacy]);
    });
}

/// What the rules do, each variant by its own way of asking.
fn outline_of(variant: Variant, chain: &str) -> Option<Outline> {
    match variant {
        Variant::Legacy => legacy(Family::V4, "filter").unwrap().and_then(|saved| saved.outline(chain)),
        _ => outline(&mut Nft::open().unwrap(), Family::V4, "filter", chain).unwrap(),
    }
}

#[test]
fn outlines_say_what_rules_do() {
    for variant in [Variant::Nft, Variant::Legacy] {
        namespace(|| {
            assert_eq!(outline_of(variant, "FORWARD"), None);
            let mut changes = Restore::new(Family::V4, "filter");
            changes.new_chain("OWN");
            for words in [
                "-s 10.0.0.1/32 -m comment --comment mine -j ACCEPT",
                "-m comment --comment there -j OWN",
                "-j DROP",
                "-p tcp -j REJECT",
                "-g OWN",
                "-d 10.0.0.1/32",
            ] {
                changes.append(Rule::new("FORWARD", words.split(' ')));
            }
            restore(&changes, variant).unwrap();
            let expected = [
                (Effect::Accept, Some("mine")),
                (Effect::Jump("OWN".to_owned()), Some("there")),
                (Effect::Drop, None),
                (Effect::Other, None),
                (Effect::Other, None),
                (Effect::Other, None),
            ];
            let rules = expected.map(|(effect, comment)| RuleOutline { effect, comment: comment.map(str::to_owned) });
            assert_eq!(outline_of(variant, "FORWARD"), Some(Outline { accepts: true, rules: rules.to_vec() }));
            assert_eq!(outline_of(variant, "OWN"), Some(Outline { accepts: true, rules: vec![] }));
            assert_eq!(outline_of(variant, "OTHER"), None);
        });
    }
}

#[test]
fn outlines_tell_the_policy() {
    for (variant, program) in [(Variant::Nft, "iptables-nft"), (Variant::Legacy, "iptables-legacy")] {
        namespace(|| {
            for (policy, accepts) in [("DROP", false), ("ACCEPT", true)] {
                assert!(Command::new(program).args(["-P", "FORWARD", policy]).status().unwrap().success());
                assert_eq!(outline_of(variant, "FORWARD"), Some(Outline { accepts, rules: vec![] }));
            }
        });
    }
}

#[test]
fn a_new_chain_must_be_new() {
    for variant in [Variant::Nft, Variant::Legacy] {
        namespace(|| {
            let mut changes = Restore::new(Family::V4, "filter");
            changes.new_chain("OWN");
            changes.append(Rule::new("OWN", ["-j", "ACCEPT"]));
            restore(&changes, variant).unwrap();
            assert!(matches!(restore(&changes, variant), Err(Error::Refused { .. })));
            assert_eq!(save(Family::V4, "filter", variant).unwrap().chain("OWN").count(), 1);
        });
    }
}

#[test]
fn a_word_is_no_way_into_the_next_line() {
    namespace(|| {
        for word in ["x\n-F FORWARD", "x\r", "\0"] {
            let mut changes = Restore::new(Family::V4, "filter");
            changes.append(Rule::new("FORWARD", ["-m", "comment", "--comment", word]));
            let refused = restore(&changes, Variant::Nft).unwrap_err().to_string();
            assert!(refused.contains("line break"), "{refused}");
        }
        assert_eq!(outline_of(Variant::Nft, "FORWARD"), None);
    });
}

#[test]
fn the_lock_is_held_by_one() {
    namespace(|| {
        let counter = AtomicUsize::new(0);
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _lock = Lock::take().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                        counter.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(counter.into_inner(), 160);
    });
}

#[test]
fn the_lock_is_for_root_alone() {
    namespace(|| {
        drop(Lock::take().unwrap());
        let mode = std::fs::metadata("/run/xnet-iptables.lock").unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn programs_are_there() {
    assert!(ready(Family::V4).is_ok() && ready(Family::V6).is_ok());
}
