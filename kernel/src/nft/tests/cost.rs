//! What an attachment costs among few and among many. Run it by name:
//! `cargo test --release -p xnet-kernel nft::tests::cost -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::elements::owned;
use super::*;

const ROUNDS: u32 = 50;

fn fill(count: u32) {
    let mut many = owned("other", &[]);
    let sources = set(&TABLE, "sources", Type::Ipv4Addr);
    many.elements = (0..count).map(|at| element(&sources, Value::Ipv4((0x0b00_0000 + at).into()), "other")).collect();
    many.apply(&mut Nft::open().unwrap()).unwrap();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Each round as a plugin would do it: open a socket, do one thing, close the socket.
fn timed(work: impl Fn(&mut Nft)) -> (Duration, Duration) {
    let start = Instant::now();
    let mut kernel = Nft::open().unwrap();
    work(&mut kernel);
    let worked = start.elapsed();
    let start = Instant::now();
    drop(kernel);
    (worked, start.elapsed())
}

#[test]
#[ignore = "a measurement"]
fn flat() {
    for count in [10, 10_000] {
        let (adds, deletes) = namespace(|| {
            fill(count);
            let mine = owned("me", &["10.0.0.1"]);
            let rounds = 0..ROUNDS;
            rounds
                .map(|_| {
                    (
                        timed(|kernel| mine.apply(kernel).unwrap()),
                        timed(|kernel| assert_eq!(mine.remove(kernel).unwrap(), 1)),
                    )
                })
                .unzip()
        });
        let report = |name: &str, times: Vec<(Duration, Duration)>| {
            let (work, close) = times.into_iter().unzip();
            println!("{count} elements: {name} {:?}, close {:?}", median(work), median(close));
        };
        report("add", adds);
        report("delete", deletes);
    }
}
