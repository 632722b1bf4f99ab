use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use nix::poll::PollTimeout;
use nix::unistd::pipe;
use tempfile::TempDir;

use crate::spec;

use super::super::log;
use super::super::streams::{self, Stdio};
use super::*;

/// A pump, and the container's ends of its pipes.
struct Stage {
    dir: TempDir,
    pump: Pump,
    stdin: Option<File>,
    stdout: File,
    stderr: File,
}

impl Stage {
    fn new(stdin: Stdin) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let io = spec::Io { stdin, ..spec::Io::default() };
        let (ends, stdio) = streams::make(&io, dir.path()).unwrap();
        let Stdio::Pipes { stdin: theirs, stdout, stderr } = stdio else { panic!("no pipes") };
        let log = Log::open(&io.log, &log::path(dir.path(), "x")).unwrap();
        let mut pump = Pump::new(ends, stdin, log).unwrap();
        pump.outlive(dir.path()).unwrap();
        pump.listen(dir.path()).unwrap();
        Self { dir, pump, stdin: theirs.map(File::from), stdout: stdout.into(), stderr: stderr.into() }
    }

    fn log(&self) -> Vec<(Stream, String)> {
        let text = std::fs::read_to_string(log::path(self.dir.path(), "x")).unwrap();
        let entries = text.lines().map(|line| serde_json::from_str::<log::Entry>(line).unwrap());
        entries.map(|entry| (entry.stream, entry.log)).collect()
    }

    fn attach(&mut self, stdin: bool) -> OwnedFd {
        let socket = wire::call(self.dir.path()).unwrap();
        let hello = Request::Hello { stdin, stdout: true, stderr: true };
        wire::post(socket.as_fd(), &hello.encode()).unwrap();
        self.work();
        socket
    }

    /// Turns until nothing happens any more.
    fn work(&mut self) {
        while self.wait(20) {
            self.pump.turn().unwrap();
        }
    }

    fn wait(&self, milliseconds: u16) -> bool {
        poll(&mut [PollFd::new(self.pump.as_fd(), PollFlags::POLLIN)], PollTimeout::from(milliseconds)).unwrap() == 1
    }
}

fn post_patiently(socket: &OwnedFd, request: &Request) {
    while let Err(errno) = wire::post(socket.as_fd(), &request.encode()) {
        assert_eq!(errno, Errno::EAGAIN);
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE).unwrap();
    }
}

/// All that `socket` has to say now.
fn heard(socket: &OwnedFd) -> Vec<Answer> {
    let mut all = Vec::new();
    while let Ok(packet) = wire::take(socket.as_fd()) {
        match Answer::decode(&packet) {
            Some(answer) => all.push(answer),
            None => break,
        }
    }
    all
}

fn output(text: &str) -> Answer {
    Answer::Output(Stream::Stdout, text.as_bytes().to_vec())
}

/// Requirement: F-attach, F-logs.
#[test]
fn output_goes_to_the_log_and_to_everybody() {
    let mut stage = Stage::new(Stdin::Closed);
    let (one, two) = (stage.attach(false), stage.attach(false));
    stage.stdout.write_all(b"out\npart").unwrap();
    stage.work();
    stage.stderr.write_all(b"err\n").unwrap();
    stage.work();
    let expected = vec![output("out\npart"), Answer::Output(Stream::Stderr, b"err\n".to_vec())];
    assert_eq!((heard(&one), heard(&two)), (expected.clone(), expected));
    drop(one);
    stage.stdout.write_all(b"ial\nrest").unwrap();
    stage.pump.drain();
    let lines =
        [(Stream::Stdout, "out\n"), (Stream::Stderr, "err\n"), (Stream::Stdout, "partial\n"), (Stream::Stdout, "rest")];
    assert_eq!(stage.log(), lines.map(|(stream, line)| (stream, line.to_owned())));
    stage.pump.farewell(7);
    assert_eq!(heard(&two), [output("ial\nrest"), Answer::Ended(7)]);
}

/// Requirement: F-attach.
#[test]
fn the_end_of_the_first_ones_input_is_the_containers_or_not() {
    for (kind, ends) in [(Stdin::Once, true), (Stdin::Open, false)] {
        let mut stage = Stage::new(kind);
        let socket = stage.attach(true);
        for request in [Request::Input(b"typed\n".to_vec()), Request::Eof] {
            wire::post(socket.as_fd(), &request.encode()).unwrap();
        }
        stage.work();
        let mut stdin = stage.stdin.take().unwrap();
        let mut buffer = [0; 100];
        assert_eq!(stdin.read(&mut buffer).unwrap(), 6);
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap();
        assert_eq!(fds[0].revents().unwrap().contains(PollFlags::POLLHUP), ends, "{kind:?}");
    }
}

/// Somebody who says goodbye leaves the input open; somebody who is just gone does not.
///
/// Requirement: F-attach.
#[test]
fn a_detached_client_does_not_end_the_input() {
    for (goodbye, ends) in [(true, false), (false, true)] {
        let mut stage = Stage::new(Stdin::Once);
        let socket = stage.attach(true);
        if goodbye {
            wire::post(socket.as_fd(), &Request::Detach.encode()).unwrap();
        }
        drop(socket);
        stage.work();
        let stdin = stage.stdin.take().unwrap();
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap();
        assert_eq!(fds[0].revents().unwrap().contains(PollFlags::POLLHUP), ends);
    }
}

/// Requirement: F-attach.
#[test]
fn a_client_that_does_not_read_holds_the_container_up_for_a_while_only() {
    let mut stage = Stage::new(Stdin::Closed);
    stage.pump.patience = Duration::from_millis(100);
    let socket = stage.attach(false);
    let mut stdout = stage.stdout.try_clone().unwrap();
    let total = 8 << 20;
    let container = std::thread::spawn(move || stdout.write_all(&vec![b'x'; total]));
    let start = Instant::now();
    while !container.is_finished() {
        assert!(start.elapsed() < Duration::from_secs(20), "the container is held up");
        stage.wait(100);
        stage.pump.turn().unwrap();
    }
    stage.work();
    // Now it reads: what was kept for it, and how much was not.
    let (mut got, mut missed) = (0, 0);
    while got + missed < total {
        for answer in heard(&socket) {
            match answer {
                Answer::Output(_, bytes) => got += bytes.len(),
                Answer::Missed(count) => missed += usize::try_from(count).unwrap(),
                Answer::Ended(_) => panic!("it has not ended"),
            }
        }
        stage.work();
        assert!(start.elapsed() < Duration::from_secs(40), "{got} and {missed} of {total}");
    }
    assert_eq!(got + missed, total);
    assert!(missed > 0);
}

/// Requirement: F-attach.
#[test]
fn a_container_that_does_not_read_loses_nothing_of_what_is_typed() {
    let mut stage = Stage::new(Stdin::Once);
    let socket = stage.attach(true);
    let total = 3 << 20;
    let typist = std::thread::spawn(move || {
        for _ in 0..total / 16384 {
            post_patiently(&socket, &Request::Input(vec![b'x'; 16384]));
        }
        post_patiently(&socket, &Request::Eof);
        socket
    });
    stage.work();
    assert!(!typist.is_finished(), "all of it was taken, and is in memory");
    let mut stdin = stage.stdin.take().unwrap();
    let reader = std::thread::spawn(move || stdin.read_to_end(&mut Vec::new()).unwrap());
    while !reader.is_finished() {
        stage.wait(100);
        stage.pump.turn().unwrap();
    }
    assert_eq!(reader.join().unwrap(), total);
}

/// Requirement: F-attach.
#[test]
fn an_input_that_has_room_again_keeps_nobody_busy() {
    let mut stage = Stage::new(Stdin::Open);
    let socket = stage.attach(true);
    let total = 2 << 20;
    let typist = std::thread::spawn(move || {
        (0..total / 16384).for_each(|_| post_patiently(&socket, &Request::Input(vec![b'x'; 16384])));
        socket
    });
    let mut stdin = stage.stdin.take().unwrap();
    let reader = std::thread::spawn(move || {
        stdin.read_exact(&mut vec![0; total]).unwrap();
        stdin
    });
    while !reader.is_finished() {
        stage.wait(100);
        stage.pump.turn().unwrap();
    }
    let _open = (reader.join().unwrap(), typist.join().unwrap());
    (0..3).for_each(|_| drop(stage.pump.turn().unwrap()));
    assert!(!stage.wait(0), "there is nothing to do");
}

/// Requirement: S4-8.
#[test]
fn the_next_one_who_attends_the_container_finds_what_it_has_said_meanwhile() {
    let Stage { dir, pump, mut stdout, .. } = Stage::new(Stdin::Closed);
    drop(pump);
    stdout.write_all(&vec![b'x'; 900_000]).unwrap();
    let io = spec::Io::default();
    let log = Log::open(&io.log, &log::path(dir.path(), "x")).unwrap();
    let mut pump = Pump::new(streams::reopen(&io, dir.path()).unwrap(), Stdin::Closed, log).unwrap();
    pump.drain();
    let size: usize = std::fs::read_to_string(log::path(dir.path(), "x")).unwrap().matches('x').count();
    assert_eq!(size, 900_000);
}

/// Killed after it has written to the log and before it could say so; and when a file of the log was begun meanwhile.
///
/// Requirement: S4-8.
#[test]
fn what_is_in_the_log_is_not_written_again_by_the_next_one() {
    let mut stage = Stage::new(Stdin::Closed);
    let reopen = |dir: &TempDir, size: Option<u64>| {
        let io = spec::Io::default();
        let kept = spec::Log { max_size: size, max_files: 3, ..io.log.clone() };
        let log = Log::open(&kept, &log::path(dir.path(), "x")).unwrap();
        let mut pump = Pump::new(streams::reopen(&io, dir.path()).unwrap(), Stdin::Closed, log).unwrap();
        pump.outlive(dir.path()).unwrap();
        pump
    };
    stage.stdout.write_all(b"one\ntw").unwrap();
    stage.work();
    let progress = stage.dir.path().join("progress");
    let before = std::fs::read(&progress).unwrap();
    stage.stdout.write_all(b"o\nthree\nfo").unwrap();
    stage.stderr.write_all(b"error\n").unwrap();
    stage.work();
    std::fs::write(&progress, before).unwrap();
    stage.pump = reopen(&stage.dir, None);
    let said = |stage: &Stage, stream| -> Vec<String> {
        stage.log().into_iter().filter(|(of, _)| *of == stream).map(|(_, line)| line).collect()
    };
    assert_eq!(said(&stage, Stream::Stdout), ["one\n", "two\n", "three\n"]);
    assert_eq!(said(&stage, Stream::Stderr), ["error\n"]);
    stage.stdout.write_all(b"ur\n").unwrap();
    stage.work();
    assert_eq!(said(&stage, Stream::Stdout).last().unwrap(), "four\n");
    // So it is with a log of several files.
    stage.pump = reopen(&stage.dir, Some(200));
    let before = std::fs::read(&progress).unwrap();
    stage.stdout.write_all(b"five\nsix\nseven\n").unwrap();
    stage.work();
    std::fs::write(&progress, before).unwrap();
    stage.pump = reopen(&stage.dir, Some(200));
    let path = log::path(stage.dir.path(), "x");
    let files = [log::older(&path, 2), log::older(&path, 1), path];
    let all: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
    for line in ["one", "two", "three", "four", "five", "six", "seven", "error"] {
        assert!(all.matches(&format!("\"{line}\\n\"")).count() <= 1, "{line} is there twice: {all}");
    }
    assert!(all.contains("\"seven\\n\"") && all.contains("\"five\\n\""), "{all}");
}

/// Ten times as much as is kept in the files at any time.
#[test]
fn the_files_are_emptied_when_the_log_has_everything() {
    let mut stage = Stage::new(Stdin::Closed);
    let size = |stage: &Stage| std::fs::metadata(stage.dir.path().join("stdout.spool")).unwrap().len();
    for _ in 0..100 {
        stage.stdout.write_all(&[b"line\n".repeat(1400), b"part".to_vec()].concat()).unwrap();
        stage.work();
        stage.stdout.write_all(b"ial\n").unwrap();
        stage.work();
        assert!(size(&stage) < 128 * 1024);
    }
    assert_eq!(stage.log().len(), 100 * 1401);
}

#[test]
fn this_process_can_be_one_of_those_who_see_the_output() {
    let mut stage = Stage::new(Stdin::Closed);
    let ((seen, stdout), (_, stderr)) = (pipe().unwrap(), pipe().unwrap());
    stage.pump.admit(Client::own(stdout, stderr, [true, true]));
    stage.stdout.write_all(b"hello\n").unwrap();
    stage.pump.drain();
    stage.pump.farewell(0);
    let mut text = String::new();
    File::from(seen).read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello\n");
}

#[test]
fn the_socket_works_in_a_directory_whose_path_is_longer_than_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let deep: PathBuf = dir.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let listener = wire::serve(&deep).unwrap();
    wire::call(&deep).unwrap();
    // Again, as a later run does.
    drop(listener);
    assert!(wire::call(&deep).is_err());
    wire::serve(&deep).unwrap();
}
