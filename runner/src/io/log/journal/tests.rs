use std::io::Read;

use tempfile::TempDir;

use crate::cli::spec_of;

use super::*;

/// A journal that takes what it likes, and the way to it.
struct Stage {
    dir: TempDir,
    journal: Journal,
}

impl Stage {
    fn new(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec_of(&[&["--name=web"], options, &["--", "true"]].concat());
        let journal = Journal::open(&spec, &dir.path().join("socket")).unwrap();
        Self { dir, journal }
    }

    fn listen(&self) -> UnixDatagram {
        let socket = UnixDatagram::bind(self.dir.path().join("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn die(&self, journal: UnixDatagram) {
        drop(journal);
        std::fs::remove_file(self.dir.path().join("socket")).unwrap();
    }

    fn say(&mut self, line: &str) {
        self.journal.append(Stream::Stdout, line.as_bytes(), false, Timestamp::now());
        self.journal.flush();
    }
}

/// The messages that have come.
fn heard(journal: &UnixDatagram) -> Vec<String> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    while let Ok((length, fds)) = scm::receive(journal.as_fd(), &mut buffer) {
        let mut bytes = buffer[..length].to_vec();
        for fd in fds {
            let mut file = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd))).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(fcntl(&fd, FcntlArg::F_GET_SEALS).unwrap() & 15, 15, "it can still be changed");
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        all.push(text.lines().find_map(|line| line.strip_prefix("MESSAGE=")).unwrap().to_owned());
    }
    all
}

#[test]
fn a_journal_that_comes_again_gets_what_has_waited_for_it() {
    let mut stage = Stage::new(&[]);
    stage.say("before there was one\n");
    assert!(stage.journal.is_deserted());
    let journal = stage.listen();
    stage.journal.retry();
    assert_eq!(heard(&journal), ["before there was one"]);
    stage.die(journal);
    stage.say("while it was gone\n");
    assert!(stage.journal.is_deserted());
    let journal = stage.listen();
    stage.journal.finish();
    assert_eq!((heard(&journal), stage.journal.owed()), (vec!["while it was gone".to_owned()], 0));
    // Nothing was said while it was away: nobody has noticed.
    stage.die(journal);
    let journal = stage.listen();
    stage.say("to the new one\n");
    assert_eq!(heard(&journal), ["to the new one"]);
}

#[test]
fn a_journal_that_is_slow_hears_how_much_it_has_missed() {
    let mut stage = Stage::new(&[]);
    stage.journal.most = 2048;
    let journal = stage.listen();
    stage.journal.retry();
    (0..2000).for_each(|n| stage.say(&format!("line {n}\n")));
    let owed = stage.journal.owed();
    assert!(owed > 0 && stage.journal.waiting <= 2048);
    let mut all = heard(&journal);
    while stage.journal.owed() > 0 {
        stage.journal.flush();
        all.extend(heard(&journal));
    }
    stage.say("after it\n");
    all.extend(heard(&journal));
    let (notice, after) = (all[all.len() - 2].clone(), all[all.len() - 1].clone());
    let kept = all.len() - 2;
    assert_eq!(all[..kept], (0..kept).map(|n| format!("line {n}")).collect::<Vec<_>>());
    let missing = 2000 - kept;
    assert!(notice.starts_with(&format!("xnet: up to {missing} lines are missing here")), "{notice}");
    assert_eq!(after, "after it");
}

#[test]
fn what_no_datagram_can_hold_comes_as_a_file() {
    let mut stage = Stage::new(&[]);
    let journal = stage.listen();
    stage.journal.retry();
    let long = "x".repeat(3 << 20);
    stage.say(&format!("{long}\n"));
    stage.say("short\n");
    assert!(heard(&journal) == [long, "short".to_owned()]);
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let mut stage = Stage::new(&[]);
    let _journal = stage.listen();
    stage.journal.retry();
    (0..2000).for_each(|_| stage.say("line\n"));
    stage.journal.finish();
    assert!(stage.journal.owed() > 0);
}
