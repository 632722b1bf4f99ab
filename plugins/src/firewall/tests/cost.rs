//! The cost of one attachment among ten thousand.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;

const MANY: usize = 10_000;
const ROUNDS: usize = 20;

fn others() {
    let attachment = Fixture::new("other", "br1", &["10.99.0.1/16"], CONFIG);
    attachment.add().unwrap();
    let tag = |number: usize| Fixture::new(&format!("c{number}"), "br1", &[], "").owner().tag();
    let mut script = String::new();
    for set in ["addresses4", "guarded-by", "isolated-by"] {
        write!(script, "add element inet xnet_firewall {set} {{ ").unwrap();
        for number in 0..MANY {
            let key = match set {
                "addresses4" => format!("10.88.{}.{}", number / 250, number % 250),
                _ => format!("\"br1\" . \"w{number}\""),
            };
            write!(script, "{key} comment \"{}\", ", tag(number)).unwrap();
        }
        script.push_str("}\n");
    }
    std::fs::write("/run/others", script).unwrap();
    shell("nft -f /run/others");
}

const CONFIG: &str = r#""backend": "nftables", "ingressPolicy": "isolated""#;

/// The fastest ADD and the fastest DEL of some. All are added before the first is deleted, because a change that follows a
/// deletion waits until no processor can see what was deleted.
fn fastest() -> (Duration, Duration) {
    let attachments: Vec<Fixture> = (0..ROUNDS)
        .map(|number| Fixture::new(&format!("c{number}"), "br1", &[&format!("10.77.0.{number}/24")], CONFIG))
        .collect();
    let time = |work: &dyn Fn(&Fixture)| {
        let time = |attachment| {
            let start = Instant::now();
            work(attachment);
            start.elapsed()
        };
        attachments.iter().map(time).min().unwrap()
    };
    (time(&|attachment| drop(attachment.add().unwrap())), time(&|attachment| attachment.del().unwrap()))
}

/// A wide bound, because the machine may be busy: with a look at every attachment it would be a hundred times as much.
#[test]
fn one_among_ten_thousand_costs_what_one_alone_costs() {
    let alone = namespace(|| {
        Fixture::new("other", "br1", &["10.99.0.1/16"], CONFIG).add().unwrap();
        fastest()
    });
    let (among_many, handing_on) = namespace(|| {
        others();
        let fastest = fastest();
        // Whoever holds what is shared looks for somebody else.
        let start = Instant::now();
        Fixture::new("other", "br1", &["10.99.0.1/16"], CONFIG).del().unwrap();
        (fastest, start.elapsed())
    });
    eprintln!("ADD and DEL alone {alone:?}, among {MANY} {among_many:?}; DEL that hands on {handing_on:?}");
    assert!(among_many.0 < 4 * alone.0, "ADD: {:?}, alone {:?}", among_many.0, alone.0);
    assert!(among_many.1 < 4 * alone.1, "DEL: {:?}, alone {:?}", among_many.1, alone.1);
}
