//! Against both iptables in private namespaces.

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
        assert!(!legacy_table_in_use(Family::V4, "nat").unwrap());
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
