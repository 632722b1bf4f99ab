//! A container's output goes to the journal of the host.
//!
//! The journal is a stub that reads what `systemd-journald` reads, at its place in a `/run` of the test's own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a journal that cannot be made is a failed test"
)]

mod sandbox;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::close;
use sandbox::{Ended, Sandbox, eventually, kill};

const SOCKET: &str = "/run/systemd/journal/socket";

/// One entry: its fields, and whether it came as a file.
#[derive(Debug)]
struct Entry {
    fields: BTreeMap<String, Vec<u8>>,
    file: bool,
}

impl Entry {
    fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| std::str::from_utf8(value).expect("text"))
    }

    /// Reads the protocol: `NAME=value`, or a name, a length, and as many bytes.
    fn parse(mut bytes: &[u8], file: bool) -> Self {
        let mut fields = BTreeMap::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').expect("a newline ends a field");
            let line = &bytes[..end];
            let (name, value, rest) = match line.iter().position(|byte| *byte == b'=') {
                Some(at) => (&line[..at], &line[at + 1..], &bytes[end + 1..]),
                None => {
                    let (length, rest) = bytes[end + 1..].split_first_chunk::<8>().expect("a length");
                    let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
                    (line, value, rest.strip_prefix(b"\n").expect("a newline ends a value"))
                }
            };
            let name = String::from_utf8(name.to_vec()).unwrap();
            assert!(fields.insert(name, value.to_vec()).is_none(), "a field is there twice");
            bytes = rest;
        }
        Self { fields, file }
    }
}

struct Journal(UnixDatagram);

impl Journal {
    /// Listens in a `/run` that only this test's thread and its children have.
    fn start() -> Self {
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a tmpfs");
        fs::create_dir_all("/run/systemd/journal").unwrap();
        Self::again()
    }

    fn again() -> Self {
        Self(UnixDatagram::bind(SOCKET).expect("the journal's place"))
    }

    fn die(self) {
        drop(self);
        fs::remove_file(SOCKET).unwrap();
    }

    /// The next entry; none if there is none within so many milliseconds.
    fn within(&self, milliseconds: u16) -> Option<Entry> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(milliseconds)).unwrap() == 0 {
            return None;
        }
        let mut buffer = vec![0; 1 << 20];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
        let message = message.expect("a message");
        let fds = message.cmsgs().unwrap().find_map(|part| match part {
            ControlMessageOwned::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let length = message.bytes;
        match fds.as_deref() {
            Some([fd]) => {
                assert_eq!(length, 0, "a file comes alone");
                Some(sealed(*fd))
            }
            Some(_) => panic!("several files"),
            None => Some(Entry::parse(&buffer[..length], false)),
        }
    }

    fn next(&self) -> Entry {
        self.within(20_000).expect("an entry comes")
    }
}

/// An entry in a file, which must be one that nobody can change any more.
fn sealed(fd: RawFd) -> Entry {
    let mut file = File::open(format!("/proc/self/fd/{fd}")).unwrap();
    close(fd).unwrap();
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS).expect("it can be sealed");
    let all = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    assert!(SealFlag::from_bits_retain(seals).contains(all), "it can still be changed");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    Entry::parse(&bytes, true)
}

/// A container in the background whose output goes to the journal.
fn start(sandbox: &Sandbox, name: &str, options: &[&str], script: &str) -> Ended {
    let fixed =
        ["run", "-d", "--net=none", "--log-driver=journald", "--cgroup-parent", sandbox.cgroup(), "--name", name];
    sandbox.xnet(&[&fixed, options, &["--", "sh", "-c", script]].concat())
}

/// What was missing at the end of a run, as events tell it.
fn missing(sandbox: &Sandbox) -> Vec<String> {
    let format = "{{.Actor.Attributes.missing}}";
    let options = ["events", "--since=1h", "--until=0s", "--filter=event=log-incomplete", "--format", format];
    sandbox.xnet(&options).stdout.lines().map(str::to_owned).collect()
}

/// Requirement: S4-11, F-logs.
#[test]
fn each_line_is_an_entry_that_says_whose_it_is() {
    let sandbox = Sandbox::new();
    let journal = Journal::start();
    let options = ["--label=com.example.role=db", "--label=other=x", "-e", "TWO=one\ntwo"];
    let log = ["--log-opt=tag={{.Name}}-{{.ID}}", "--log-opt=labels=com.example.role,absent", "--log-opt=env=TWO"];
    let said =
        "printf 'out\\n\\nbin\\001\\377\\n'; echo err >&2; head -c 100000 /dev/zero | tr '\\0' x; printf '\\nlast'";
    let started = start(&sandbox, "c", &[&options[..], &log].concat(), said);
    let id = started.stdout.trim().to_owned();
    assert_eq!((started.code, id.len()), (0, 64), "{}", started.stderr);
    let mut entries = Vec::new();
    while entries.last().is_none_or(|entry: &Entry| entry.fields["MESSAGE"] != b"last") {
        entries.push(journal.next());
    }
    sandbox.xnet(&["wait", "c"]).expect(0, "0");
    let error = entries.remove(entries.iter().position(|entry| entry.get("PRIORITY") == "3").expect("standard error"));
    assert_eq!(error.get("MESSAGE"), "err");
    let goes_on = |entry: &Entry| entry.get("CONTAINER_PARTIAL_MESSAGE") == "true";
    let lines: Vec<Vec<u8>> = entries
        .split_inclusive(|entry| !goes_on(entry))
        .map(|parts| parts.iter().flat_map(|part| part.fields["MESSAGE"].clone()).collect())
        .collect();
    let long = "x".repeat(100_000).into_bytes();
    let expected: [&[u8]; 5] = [b"out", b"", b"bin\x01\xff", &long, b"last"];
    assert!(lines == expected, "{:?}", lines.iter().map(Vec::len).collect::<Vec<_>>());
    assert!(entries.len() > lines.len(), "a long line comes in parts");
    for entry in &entries {
        let tag = format!("c-{}", &id[..12]);
        let image = sandbox.xnet(&["inspect", "-f", "{{.Config.Image}}", "c"]).stdout;
        for (name, value) in [
            ("PRIORITY", "6"),
            ("CONTAINER_ID", &id[..12]),
            ("CONTAINER_ID_FULL", &id),
            ("CONTAINER_NAME", "c"),
            ("CONTAINER_TAG", &tag),
            ("SYSLOG_IDENTIFIER", &tag),
            ("IMAGE_NAME", image.trim()),
            ("COM_EXAMPLE_ROLE", "db"),
            ("TWO", "one\ntwo"),
        ] {
            assert_eq!(entry.get(name), value, "{name}");
        }
        assert!(entry.get("SYSLOG_TIMESTAMP").ends_with('Z') && !entry.file);
        assert_eq!(entry.fields.len(), 11 + usize::from(goes_on(entry)), "{:?}", entry.fields.keys());
    }
    // The file beside the journal.
    let logs = sandbox.xnet(&["logs", "c"]);
    assert!(logs.code == 0 && logs.stdout.starts_with("out\n\nbin") && logs.stdout.ends_with("x\nlast"));
    let format = "{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}}";
    let config = r#"{"env":"TWO","labels":"com.example.role,absent","tag":"{{.Name}}-{{.ID}}"}"#;
    sandbox.xnet(&["inspect", "-f", format, "c"]).expect(0, &format!("journald {config}"));
    assert_eq!(missing(&sandbox), [""; 0]);
}

/// In the foreground, at a terminal or not, and with an entry that no datagram can hold.
///
/// Requirement: S4-11.
#[test]
fn an_entry_that_is_too_large_comes_as_a_sealed_file() {
    let sandbox = Sandbox::new();
    let journal = Journal::start();
    let value = "v".repeat(100_000);
    let labels: Vec<String> = ["A", "B", "C"].iter().map(|name| format!("--label={name}={value}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let options = ["--net=none", "--log-driver=journald", "--log-opt=labels=A,B,C"];
    sandbox.run(&[&options, &labels[..]].concat(), &["echo", "large"]).expect(0, "large");
    let entry = journal.next();
    assert_eq!((entry.get("MESSAGE"), entry.file), ("large", true));
    assert!(["A", "B", "C"].iter().all(|name| entry.get(name) == value));
    sandbox.run(&["--net=none", "--log-driver=journald"], &["echo", "small"]).expect(0, "small");
    let entry = journal.next();
    assert_eq!((entry.get("MESSAGE"), entry.file), ("small", false));
    start(&sandbox, "terminal", &["-t"], "echo line").code_is_not(125);
    assert_eq!(journal.next().get("MESSAGE"), "line");
}

/// Requirement: S4-11.
#[test]
fn a_journal_that_dies_takes_nothing_with_it() {
    let sandbox = Sandbox::new();
    let journal = Journal::start();
    let script = "while read line; do echo $line; echo $line >> /tmp/done; done; exit 3";
    let mut running = {
        let options = ["--net=none", "--log-driver=journald", "--name=c"];
        sandbox.start_command(sandbox.run_command(&options, &["sh", "-c", &format!("echo up; {script}")]))
    };
    assert_eq!(journal.next().get("MESSAGE"), "up");
    journal.die();
    running.say("while it was away");
    assert_eq!(running.line(), "while it was away");
    let journal = Journal::again();
    assert_eq!(journal.next().get("MESSAGE"), "while it was away");
    running.say("and then");
    assert_eq!((running.line().as_str(), journal.next().get("MESSAGE")), ("and then", "and then"));
    journal.die();
    running.say("for nobody");
    assert_eq!(running.line(), "for nobody");
    running.end_input();
    assert_eq!(running.wait(), 3);
    assert_eq!(missing(&sandbox), ["1"]);
    sandbox.assert_clean();
}

/// Requirement: S4-11.
#[test]
fn nobody_waits_for_a_journal_that_takes_nothing() {
    let sandbox = Sandbox::new();
    let journal = Journal::start();
    start(
        &sandbox,
        "c",
        &["--log-opt=max-buffer-size=8k"],
        "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done",
    )
    .code_is_not(125);
    sandbox.xnet(&["wait", "c"]).expect(0, "0");
    assert_eq!(sandbox.xnet(&["logs", "c"]).stdout.lines().count(), 3000);
    let mut taken = 0;
    while let Some(entry) = journal.within(0) {
        assert_eq!(entry.get("MESSAGE"), format!("line {taken}"));
        taken += 1;
    }
    let missing: Vec<usize> = missing(&sandbox).iter().map(|count| count.parse().unwrap()).collect();
    assert!(taken > 0 && missing == [3000 - taken], "{taken} and {missing:?}");
}

/// Requirement: S4-11, S4-8.
#[test]
fn whoever_attends_the_container_next_goes_on_with_the_journal() {
    let sandbox = Sandbox::new();
    let journal = Journal::start();
    let started = start(&sandbox, "c", &["-i"], "echo one; read line; echo $line");
    assert_eq!(journal.next().get("MESSAGE"), "one");
    kill(&sandbox.info(started.stdout.trim())["monitor"]["pid"]);
    eventually("another monitor", || sandbox.xnet(&["ps", "-q"]).stdout.lines().count() == 1);
    let mut client = sandbox.command(&["attach", "c"]);
    let mut client = client.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(client.stdin.as_mut().unwrap(), b"two\n").unwrap();
    // A line may come twice: nobody knows whether one who was killed had sent it.
    let next = std::iter::repeat_with(|| journal.next()).find(|entry| entry.get("MESSAGE") != "one").unwrap();
    assert_eq!(next.get("MESSAGE"), "two");
    client.wait().unwrap();
    sandbox.xnet(&["logs", "c"]).expect(0, "one\ntwo");
}

/// Requirement: S4-11.
#[test]
fn who_wants_a_journal_that_is_not_there_is_told_before_anything_is_made() {
    let sandbox = Sandbox::new();
    let journal = Journal::start();
    let refused = |option: &str, why: &str| {
        for command in ["run", "create"] {
            let words = [command, "--net=none", "--log-driver=journald", option, "--", "echo", "ran"];
            sandbox.xnet(&words).expect_refusal(125, why);
        }
        sandbox.assert_clean();
    };
    refused("--log-opt=tag={{.Nonsense}}", "--log-opt tag={{.Nonsense}}");
    refused("--log-opt=max-size=1m", "the log driver journald has no option \"max-size\"");
    refused("--log-opt=mode=blocking", "no container waits for the journal");
    start(&sandbox, "alone", &["--log-opt=cache-disabled=true"], "echo one").code_is_not(125);
    sandbox.xnet(&["wait", "alone"]).expect(0, "0");
    assert_eq!(journal.next().get("MESSAGE"), "one");
    sandbox.xnet(&["logs", "alone"]).expect_refusal(1, "journalctl CONTAINER_ID_FULL=");
    // One that exists starts all the same: it has done so before.
    journal.die();
    sandbox.xnet(&["start", "alone"]).expect(0, "alone");
    sandbox.xnet(&["wait", "alone"]).expect(0, "0");
    assert_eq!(missing(&sandbox), ["1"]);
    sandbox.xnet(&["rm", "alone"]).expect(0, "alone");
    refused("--log-opt=tag=x", "no systemd-journald listens at /run/systemd/journal/socket");
}
