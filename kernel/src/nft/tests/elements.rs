//! Owned elements: created with their layout, taken over, checked, removed.

use super::*;

/// A table with one base chain, and elements of `tag` in it.
pub(super) fn owned(tag: &str, addresses: &[&str]) -> Elements {
    let sources = set(&TABLE, "sources", Type::Ipv4Addr);
    let base = Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: 100, policy: Policy::Accept };
    let statements =
        vec![Statement::Lookup(vec![Field::IpSaddr], Comparison::Equal, "sources".into()), Statement::Masquerade];
    let mut masquerade = rule(&TABLE, "postrouting", statements);
    masquerade.comment = Some("all sources".into());
    let postrouting = Chain { name: TABLE.object("postrouting"), base: Some(base), comment: None };
    let parts = vec![
        Part { object: PartObject::Chain(postrouting), rules: Vec::new() },
        Part { object: PartObject::Set(sources.clone()), rules: vec![masquerade] },
    ];
    let elements = addresses.iter().map(|address| element(&sources, v4(address), tag)).collect();
    Elements { layout: Layout { table: Table { name: TABLE, comment: None }, parts }, elements }
}

#[test]
fn the_layout_comes_with_the_first_elements_and_stays() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let one = owned("one", &["10.0.0.1", "10.0.0.2"]);
        one.apply(&mut kernel).unwrap();
        let two = owned("two", &["10.0.0.3"]);
        two.apply(&mut kernel).unwrap();
        let listed = nft(&["list", "ruleset"]);
        assert_eq!(listed.matches("masquerade").count(), 1, "{listed}");
        assert_eq!(one.check(&mut kernel).unwrap(), None);
        one.remove(&mut kernel).unwrap();
        one.remove(&mut kernel).unwrap();
        assert!(kernel.chain_exists(&TABLE.object("postrouting")).unwrap());
        assert_eq!(two.check(&mut kernel).unwrap(), None);
        assert_eq!(
            one.check(&mut kernel).unwrap().as_deref(),
            Some("nft add element inet t sources { 10.0.0.1 comment \"one\" }")
        );
    });
}

#[test]
fn applying_twice_changes_nothing() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let one = owned("one", &["10.0.0.1", "10.0.0.2"]);
        one.apply(&mut kernel).unwrap();
        let before = nft(&["-a", "list", "ruleset"]);
        one.apply(&mut kernel).unwrap();
        assert_eq!(nft(&["-a", "list", "ruleset"]), before);
    });
}

#[test]
fn a_half_known_attachment_is_completed() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        owned("one", &["10.0.0.2"]).apply(&mut kernel).unwrap();
        let whole = owned("one", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        whole.apply(&mut kernel).unwrap();
        assert_eq!(whole.check(&mut kernel).unwrap(), None);
    });
}

/// An owner that died without a deletion leaves its address to the next one; its late deletion must not hurt that one.
#[test]
fn a_dead_owners_element_is_taken_over() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let dead = owned("dead", &["10.0.0.1", "10.0.0.2"]);
        let alive = owned("alive", &["10.0.0.2"]);
        dead.apply(&mut kernel).unwrap();
        alive.apply(&mut kernel).unwrap();
        assert_eq!(alive.check(&mut kernel).unwrap(), None);
        assert_eq!(
            dead.check(&mut kernel).unwrap().as_deref(),
            Some("nft add element inet t sources { 10.0.0.2 comment \"dead\" } (it belongs to: alive)")
        );
        dead.remove(&mut kernel).unwrap();
        assert_eq!(alive.check(&mut kernel).unwrap(), None);
        assert_eq!(kernel.elements(&TABLE.object("sources")).unwrap().len(), 1);
    });
}

#[test]
fn a_missing_part_is_repaired_without_the_others() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let one = owned("one", &["10.0.0.1"]);
        one.apply(&mut kernel).unwrap();
        nft(&["flush chain inet t postrouting; delete set inet t sources"]);
        assert_eq!(
            one.check(&mut kernel).unwrap().as_deref(),
            Some("nft add element inet t sources { 10.0.0.1 comment \"one\" }")
        );
        one.apply(&mut kernel).unwrap();
        assert_eq!(one.check(&mut kernel).unwrap(), None);
        nft(&["flush chain inet t postrouting"]);
        let rule = "nft add rule inet t postrouting ip saddr @sources masquerade comment \"all sources\"";
        assert_eq!(one.check(&mut kernel).unwrap().as_deref(), Some(rule));
    });
}

#[test]
fn owners_can_be_removed_without_their_keys() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let sources = TABLE.object("sources");
        assert_eq!(kernel.remove_owned(&sources, &|_| true).unwrap(), 0);
        owned("net1-a", &["10.0.0.1", "10.0.0.2"]).apply(&mut kernel).unwrap();
        owned("net1-b", &["10.0.0.3"]).apply(&mut kernel).unwrap();
        owned("net2-a", &["10.0.0.4"]).apply(&mut kernel).unwrap();
        nft(&["add element inet t sources { 10.0.0.5 }"]);
        assert_eq!(kernel.remove_owned(&sources, &|tag| tag.starts_with("net1-")).unwrap(), 3);
        assert_eq!(kernel.elements(&sources).unwrap().len(), 2);
    });
}

#[test]
fn removing_where_there_is_nothing_is_fine() {
    namespace(|| owned("one", &["10.0.0.1"]).remove(&mut Nft::open().unwrap()).unwrap());
}

#[test]
fn long_tags_still_belong_to_their_owner() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let long = owned(&"ü".repeat(100), &["10.0.0.1"]);
        long.apply(&mut kernel).unwrap();
        long.apply(&mut kernel).unwrap();
        assert_eq!(long.check(&mut kernel).unwrap(), None);
        long.remove(&mut kernel).unwrap();
        assert_eq!(kernel.elements(&TABLE.object("sources")).unwrap(), []);
    });
}

#[test]
fn elements_print_as_nft_lines() {
    assert_eq!(
        owned("one", &["10.0.0.1", "10.0.0.2"]).to_string(),
        "nft create element inet t sources { 10.0.0.1 comment \"one\" }\n\
         nft create element inet t sources { 10.0.0.2 comment \"one\" }"
    );
}

/// Those who ask first: a live owner keeps its element, and nothing else of the newcomer's is made.
#[test]
fn a_claim_can_be_refused_as_a_whole() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        owned("alive, of flesh", &["10.0.0.2"]).apply(&mut kernel).unwrap();
        let mut asked = Vec::new();
        let newcomer = owned("newcomer", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let refused = newcomer.claim(&mut kernel, &mut |element, entry| {
            asked.push((element.key.clone(), entry.comment.clone()));
            Claim::Refuse("it is taken".into())
        });
        assert!(matches!(refused, Err(Error::Taken(text)) if text == "it is taken"));
        assert_eq!(asked, [(v4("10.0.0.2"), Some("alive, of flesh".to_owned()))]);
        assert_eq!(kernel.elements(&TABLE.object("sources")).unwrap().len(), 1);
        assert_eq!(owned("alive, of bone", &["10.0.0.2"]).check(&mut kernel).unwrap(), None);
        newcomer.claim(&mut kernel, &mut |_, _| Claim::Replace).unwrap();
        assert_eq!(newcomer.check(&mut kernel).unwrap(), None);
        newcomer.claim(&mut kernel, &mut |_, _| Claim::Keep).unwrap();
        newcomer.remove(&mut kernel).unwrap();
        assert_eq!(kernel.elements(&TABLE.object("sources")).unwrap(), []);
    });
}

/// Between the judgement and the replacement somebody else may have come.
#[test]
fn what_was_judged_is_what_is_replaced() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        owned("dead", &["10.0.0.1"]).apply(&mut kernel).unwrap();
        let mut judged = Vec::new();
        let newcomer = owned("newcomer", &["10.0.0.1"]);
        let refused = newcomer.claim(&mut kernel, &mut |_, entry| {
            let owner = entry.comment.clone().unwrap();
            judged.push(owner.clone());
            if owner == "dead" {
                owned("quicker", &["10.0.0.1"]).apply(&mut Nft::open().unwrap()).unwrap();
                return Claim::Replace;
            }
            Claim::Refuse(format!("{owner} has it"))
        });
        assert_eq!(refused.unwrap_err().to_string(), "quicker has it");
        assert_eq!(judged, ["dead", "quicker"]);
        assert_eq!(owned("quicker", &["10.0.0.1"]).check(&mut kernel).unwrap(), None);
    });
}

#[test]
fn what_is_taken_away_is_returned() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let sources = TABLE.object("sources");
        let keys: Vec<Value> = (0..200u32).map(|last| Value::Ipv4((0x0a00_0000 + last).into())).collect();
        let targets: Vec<(&ObjectName, &Value)> = keys.iter().map(|key| (&sources, key)).collect();
        assert_eq!(kernel.take(&targets, &|_| true).unwrap(), []);
        owned("one", &["10.0.0.7", "10.0.0.100"]).apply(&mut kernel).unwrap();
        owned("two", &["10.0.0.8"]).apply(&mut kernel).unwrap();
        let taken = kernel.take(&targets, &|comment| comment == "one").unwrap();
        let places: Vec<usize> = taken.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [7, 100]);
        assert!(taken.iter().all(|(place, entry)| entry.key.bytes() == keys[*place].bytes()));
        assert_eq!(kernel.take_owned(&sources, &|_| true).unwrap().len(), 1);
    });
}

/// The kernel says what it thinks of a layout, and nothing comes of it.
#[test]
fn a_rehearsal_leaves_nothing() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let mut layout = owned("one", &[]).layout;
        layout.rehearse(&mut kernel).unwrap();
        assert_eq!(nft(&["list", "ruleset"]), "");
        let unheard_of = vec![Statement::Match(Field::IbrName, Comparison::Equal, Value::IfName("x".into()).into())];
        layout.parts[1].rules.push(rule(&TABLE, "nowhere", unheard_of));
        assert!(layout.rehearse(&mut kernel).unwrap_err().is_not_found());
        owned("one", &["10.0.0.1"]).apply(&mut kernel).unwrap();
        let before = nft(&["-a", "list", "ruleset"]);
        owned("one", &[]).layout.rehearse(&mut kernel).unwrap();
        assert_eq!(nft(&["-a", "list", "ruleset"]), before);
    });
}

#[test]
fn sets_retire_with_their_rules_when_they_are_empty() {
    namespace(|| {
        let mut kernel = Nft::open().unwrap();
        let (sources, chain) = (TABLE.object("sources"), TABLE.object("postrouting"));
        let users = [(chain.clone(), "all sources".to_owned())];
        let retire = |kernel: &mut Nft| kernel.retire(std::slice::from_ref(&sources), &users, &[]).unwrap();
        assert!(!retire(&mut kernel), "there is none");
        let one = owned("one", &["10.0.0.1"]);
        one.apply(&mut kernel).unwrap();
        assert!(!retire(&mut kernel));
        assert_eq!(one.check(&mut kernel).unwrap(), None);
        one.remove(&mut kernel).unwrap();
        assert!(retire(&mut kernel));
        assert!(!kernel.set_exists(&sources).unwrap() && kernel.rules(&chain).unwrap().is_empty());
        one.apply(&mut kernel).unwrap();
        assert_eq!(one.check(&mut kernel).unwrap(), None);
    });
}

/// Whoever was told that its element is there has it, also while others retire the set in every moment when it is empty.
#[test]
fn a_set_in_use_does_not_retire() {
    namespace(|| {
        let here = crate::netns::NetNs::current().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            let (here, done) = (&here, &done);
            scope.spawn(move || {
                here.run(|| {
                    let mut kernel = Nft::open().unwrap();
                    let users = [(TABLE.object("postrouting"), "all sources".to_owned())];
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        kernel.retire(&[TABLE.object("sources")], &users, &[]).unwrap();
                    }
                })
                .unwrap();
            });
            let mut kernel = Nft::open().unwrap();
            let one = owned("one", &["10.0.0.1"]);
            for _ in 0..200 {
                one.apply(&mut kernel).unwrap();
                assert_eq!(one.check(&mut kernel).unwrap(), None);
                one.remove(&mut kernel).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}
