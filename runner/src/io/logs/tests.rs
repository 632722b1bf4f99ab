use std::cell::Cell;
use std::fs;

use tempfile::TempDir;

use crate::spec;

use super::super::log::{Log, Stream, older, path};
use super::*;

/// A log to which lines are written.
struct Stage {
    dir: TempDir,
    log: Log,
}

impl Stage {
    fn new(max_size: Option<u64>, max_files: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec::Log { max_size, max_files, ..spec::Log::default() };
        let log = Log::open(&spec, &path(dir.path(), "x")).unwrap();
        Self { dir, log }
    }

    fn write(&mut self, lines: std::ops::Range<u32>) {
        lines.for_each(|n| self.log.write(Stream::Stdout, format!("{n}\n").as_bytes()));
    }

    fn read(&self, query: &Query) -> Vec<String> {
        let (path, mut seen) = (path(self.dir.path(), "x"), Vec::new());
        let mut take = |entry: &Entry| {
            seen.push(entry.log.trim().to_owned());
            Flow::On
        };
        Reader::new(&path, query).read(&mut take).unwrap();
        seen
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Requirement: F-logs.
#[test]
fn the_last_lines_are_found_across_files() {
    let mut stage = Stage::new(Some(1000), 5);
    stage.write(0..40);
    assert!(older(&path(stage.dir.path(), "x"), 2).exists());
    let all = stage.read(&Query::default());
    assert_eq!(all, numbers(0..40));
    for lines in [0, 1, 7, 13, 30, 40, 1000] {
        let tail = Query { tail: Some(lines), ..Query::default() };
        assert_eq!(stage.read(&tail), all[40_usize.saturating_sub(lines)..], "{lines}");
    }
}

/// Requirement: F-logs.
#[test]
fn times_bound_what_is_shown() {
    let mut stage = Stage::new(None, 1);
    stage.write(0..3);
    std::thread::sleep(std::time::Duration::from_millis(5));
    let middle = Timestamp::now();
    std::thread::sleep(std::time::Duration::from_millis(5));
    stage.write(3..5);
    assert_eq!(stage.read(&Query { since: Some(middle), ..Query::default() }), numbers(3..5));
    assert_eq!(stage.read(&Query { until: Some(middle), ..Query::default() }), numbers(0..3));
}

/// Requirement: F-logs.
#[test]
fn a_follower_sees_every_line_once_whatever_is_renamed_meanwhile() {
    let mut stage = Stage::new(Some(2000), 50);
    stage.write(0..10);
    let log = path(stage.dir.path(), "x");
    let (query, count, ended) = (Query::default(), 1000, Cell::new(false));
    let mut reader = Reader::new(&log, &query);
    let mut seen = Vec::new();
    let mut take = |entry: &Entry| {
        seen.push(entry.log.trim().to_owned());
        Flow::On
    };
    reader.read(&mut take).unwrap();
    let writer = std::thread::spawn(move || {
        stage.write(10..count);
        stage
    });
    reader
        .follow(
            &|| {
                ended.set(writer.is_finished());
                !ended.get()
            },
            &mut take,
        )
        .unwrap();
    let stage = writer.join().unwrap();
    assert_eq!(seen, numbers(0..count));
    assert!(older(&path(stage.dir.path(), "x"), 10).exists());
}

#[test]
fn torn_lines_and_missing_files_are_nothing() {
    let mut stage = Stage::new(None, 1);
    assert!(stage.read(&Query { tail: Some(3), ..Query::default() }).is_empty());
    stage.write(0..2);
    let log = path(stage.dir.path(), "x");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{{\"log\":\"to\n{text}{{\"log\":\"unfin")).unwrap();
    assert_eq!(stage.read(&Query::default()), numbers(0..2));
    fs::remove_file(&log).unwrap();
    assert!(stage.read(&Query::default()).is_empty());
}
