//! What is done with containers every day, by somebody who is not root.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod person;
mod sandbox;
mod terminal;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Stdio};

use person::{LENT, Person, UID};
use sandbox::{Ended, eventually};
use terminal::Terminal;

/// An image of busybox, with a file of user 33's if that is somebody.
fn import(person: &Person, owner: u32) {
    let root = person.sandbox.rootfs();
    fs::create_dir_all(root.join("srv")).unwrap();
    fs::write(root.join("srv/mine"), "x").unwrap();
    chown(root.join("srv/mine"), Some(owner), Some(owner)).unwrap();
    let tar = person.sandbox.path("root.tar");
    assert!(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().unwrap().success());
    assert_eq!(person.xnet(&["import", tar.to_str().unwrap(), "bb"]).code, 0);
}

/// A file of that person's.
fn file(person: &Person, name: &str, text: &str) -> String {
    let path = person.home.join(name);
    fs::write(&path, text).unwrap();
    chown(&path, Some(UID), Some(UID)).unwrap();
    path.display().to_string()
}

/// A container of that image in the background, called `c`, that waits once it has done `script`.
fn start(person: &Person, options: &[&str], script: &str) {
    let script = format!("{script}; touch /done; exec sleep 1000");
    let words = [&["run", "-d", "--name=c", "--net=none"], options, &["bb", "sh", "-c", &script]].concat();
    let ended = person.xnet(&words);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    eventually("its work is done", || person.xnet(&["exec", "c", "ls", "/done"]).code == 0);
}

/// Requirement: S1-U2, F-pty, F-attach, F-exec, F-rootless.
#[test]
fn terminals_are_had_left_and_come_back_to() {
    let person = Person::new();
    let at = |words: &[&str]| Terminal::with(person.command(words));
    let mut terminal = at(&["run", "-it", "--name=t", "--net=none", "--", "sh"]);
    terminal.types("stty size; tty; stat -c %u:%t:%T /dev/console\n");
    terminal.awaits("33 77\r\n/dev/pts/0\r\n0:88:0\r\n");
    terminal.awaits("# ");
    terminal.types("\x10\x11");
    terminal.ends(0);
    let mut beside = at(&["exec", "-it", "t", "tty"]);
    beside.awaits("/dev/pts/1\r\n");
    beside.ends(0);
    let mut again = at(&["attach", "t"]);
    again.types("echo ba''ck; exit 7\n");
    again.awaits("back\r\n");
    again.ends(7);
    assert_eq!(person.xnet(&["rm", "t"]).code, 0);
    let mut plain = at(&["run", "--rm", "-t", "--net=none", "--", "tty"]);
    plain.awaits("/dev/pts/0\r");
    plain.ends(0);
    person.assert_clean();
}

/// Files come in as root's, and out as the caller's; an archive keeps the owners as they are inside.
///
/// Requirement: S1-U2, F-cp, F-rootless.
#[test]
fn files_are_copied_in_and_out() {
    copied_both_ways(&Person::new(), 33);
}

/// Requirement: S1-U2, F-cp, F-exec, F-rootless.
#[test]
fn files_are_copied_in_and_out_with_one_id() {
    copied_both_ways(&Person::with(""), 0);
}

fn copied_both_ways(person: &Person, owner: u32) {
    import(person, owner);
    start(person, &[], "true");
    let input = file(person, "in", "text\n");
    let out = person.home.join("out");
    let copy = |from: &str, to: &str| person.xnet(&["cp", from, to]).expect(0, "");
    for state in ["running", "exited"] {
        copy(&input, &format!("c:/srv/{state}"));
        copy("c:/srv", out.to_str().unwrap());
        let meta = fs::metadata(out.join(state)).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.size()), (UID, UID, 5), "{state}");
        assert_eq!(fs::metadata(out.join("mine")).unwrap().uid(), UID);
        fs::remove_dir_all(&out).unwrap();
        let mut packed = Command::new("/bin/sh");
        packed.args(["-c", "\"$@\" | tar -tv --numeric-owner", "sh"]);
        let said = Ended::of(piped(&mut packed, person.command(&["cp", "c:/srv/mine", "-"])));
        assert!(said.stdout.contains(&format!(" {owner}/{owner} ")), "{}{}", said.stdout, said.stderr);
        person.xnet(&["stop", "-t", "0", "c"]).expect(0, "c");
    }
    person.xnet(&["start", "c"]).expect(0, "c");
    person.xnet(&["exec", "c", "busybox", "stat", "-c", "%u:%g", "/srv/running", "/srv/exited"]).expect(0, "0:0\n0:0");
}

/// `outer` with the command line and the environment of `inner` behind its own.
fn piped(outer: &mut Command, inner: Command) -> &mut Command {
    outer.arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    outer.env("PATH", "/usr/bin:/bin").stdin(Stdio::null())
}

/// What `export` writes and `commit` keeps has the ids that the container sees, whatever they are outside, and running or not.
///
/// Requirement: S1-U2, S1-U1, F-export, F-commit, F-diff, F-rootless.
#[test]
fn archives_and_images_have_the_ids_inside() {
    let person = Person::new();
    import(&person, 33);
    let tar = person.home.join("out.tar");
    let script = "touch /zero /mine /own; chown 33:34 /mine; chown 1000:1000 /own";
    for option in ["--userns=host", "--userns=keep-id", "--userns=1:1:60000"] {
        start(&person, &["-u", "0", option], script);
        for state in ["running", "exited"] {
            person.xnet(&["diff", "c"]).expect(0, "A /done\nA /mine\nA /own\nA /zero");
            person.xnet(&["export", "-o", tar.to_str().unwrap(), "c"]).expect(0, "");
            assert_eq!(fs::metadata(&tar).unwrap().uid(), UID);
            let listed = Ended::of(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&tar));
            for (owner, name) in [("0/0", "zero"), ("33/34", "mine"), ("1000/1000", "own"), ("33/33", "srv/mine")] {
                let found = |line: &str| line.contains(&format!(" {owner} ")) && line.ends_with(&format!("./{name}"));
                assert!(listed.stdout.lines().any(found), "{option} {state}: {}", listed.stdout);
            }
            let committed = person.xnet(&["commit", "c", "copy"]);
            assert_eq!(committed.code, 0, "{}", committed.stderr);
            assert_eq!(committed.stderr.contains("not frozen"), state == "running", "{}", committed.stderr);
            let look = ["stat", "-c", "%u:%g", "/zero", "/mine", "/own", "/srv/mine"];
            person
                .xnet(&[&["run", "--rm", "--net=none", "copy", "busybox"][..], &look].concat())
                .expect(0, "0:0\n33:34\n1000:1000\n33:33");
            person.xnet(&["stop", "-t", "0", "c"]).expect(0, "c");
        }
        person.xnet(&["rm", "c"]).expect(0, "c");
    }
    person.assert_clean();
}

/// Requirement: S1-U2, F-export, F-commit, F-rootless.
#[test]
fn with_one_id_there_are_archives_and_images_too() {
    let person = Person::with("");
    import(&person, 0);
    start(&person, &[], "touch /zero");
    let tar = person.home.join("out.tar");
    person.xnet(&["export", "-o", tar.to_str().unwrap(), "c"]).expect(0, "");
    let listed = Ended::of(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&tar)).stdout;
    assert!(listed.contains("./zero") && listed.lines().all(|line| line.contains(" 0/0 ")), "{listed}");
    assert_eq!(person.xnet(&["commit", "--pause=false", "c", "copy"]).code, 0);
    person.xnet(&["run", "--rm", "--net=none", "copy", "busybox", "stat", "-c", "%u", "/zero"]).expect(0, "0");
}

/// Requirement: S1-U2, F-mounts, F-rootless.
#[test]
fn volumes_and_memory_are_mounted() {
    let person = Person::new();
    import(&person, 33);
    let run = |options: &[&str], script: &str| {
        person.xnet(&[&["run", "--rm", "--net=none"], options, &["bb", "sh", "-c", script]].concat())
    };
    run(&["-v", "data:/srv"], "busybox stat -c %u /srv/mine; echo y > /srv/new").expect(0, "33");
    run(&["-v", "data:/d:ro"], "cat /d/new; touch /d/x 2>/dev/null || echo no").expect(0, "y\nno");
    person.xnet(&["volume", "ls", "-q"]).expect(0, "data");
    let kept = person.data().join("volumes/data/_data");
    assert_eq!(fs::metadata(kept.join("mine")).unwrap().uid(), LENT + 32);
    let home = format!("{}:/home", person.home.display());
    run(&["-v", &home], "echo z > /home/made; busybox stat -c %u /home").expect(0, "0");
    assert_eq!(fs::metadata(person.home.join("made")).unwrap().uid(), UID);
    run(&["--tmpfs", "/t:size=1m", "--read-only"], "touch /t/x && ls /t; touch /x 2>/dev/null || echo no")
        .expect(0, "x\nno");
    run(&["-v", "/anonymous"], "touch /anonymous/x").expect(0, "");
    person.xnet(&["volume", "rm", "data"]).expect(0, "data");
    assert_eq!(fs::read_dir(person.data().join("volumes")).unwrap().filter(|e| !hidden(e)).count(), 0);
    person.assert_clean();
}

fn hidden(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with('.'))
}

/// Requirement: S1-U2, F-health, F-restart, F-logs, F-rootless.
#[test]
fn containers_are_asked_how_they_are_and_restarted() {
    let person = Person::new();
    import(&person, 33);
    start(
        &person,
        &["--health-cmd=test -e /ok", "--health-interval=50ms", "--health-retries=1"],
        "echo said; touch /ok",
    );
    let health = |status: &str| {
        eventually(status, || person.xnet(&["inspect", "-f", "{{.State.Health.Status}}", "c"]).stdout.trim() == status);
    };
    health("healthy");
    person.xnet(&["exec", "c", "busybox", "rm", "/ok"]).expect(0, "");
    health("unhealthy");
    person.xnet(&["restart", "-t", "0", "c"]).expect(0, "c");
    health("healthy");
    person.xnet(&["logs", "c"]).expect(0, "said\nsaid");
    person.xnet(&["logs", "--tail=1", "c"]).expect(0, "said");
    person.xnet(&["kill", "c"]).expect(0, "c");
    person.xnet(&["wait", "c"]).expect(0, "137");
}

/// What takes a group that is not delegated is refused, or left out, with a word that says so.
///
/// Requirement: S1-U2, F-pause, F-top, F-stats, F-rootless.
#[test]
fn without_a_group_there_is_no_pause_and_no_limit() {
    let person = Person::new();
    import(&person, 33);
    start(&person, &[], "sleep 1001 & true");
    person.xnet(&["ps", "--format", "{{.Names}} {{.Image}}"]).expect(0, "c bb");
    let refused = |words: &[&str], text: &str| person.xnet(words).expect_refusal(1, text);
    refused(&["pause", "c"], "no cgroup that could freeze the container is delegated to you");
    refused(&["update", "-m", "64m", "c"], "no cgroup with memory is delegated to you");
    person.xnet(&["update", "--restart", "always", "c"]).expect(0, "c");
    person.xnet(&["exec", "-d", "c", "sleep", "1002"]).expect(0, "");
    eventually("all of its processes are listed, and no others", || {
        let listed = person.xnet(&["top", "--format", "{{.CMD}}", "c"]).stdout;
        let mut lines: Vec<_> = listed.lines().collect();
        lines.sort_unstable();
        lines == ["sleep 1000", "sleep 1001", "sleep 1002"]
    });
    let stats = person.xnet(&["stats", "--no-stream", "--format", "{{.Name}}"]);
    assert_eq!((stats.code, stats.stdout.as_str()), (0, "c\n"));
    assert!(stats.stderr.contains("no cgroup that counts is delegated to you"), "{}", stats.stderr);
}

/// Nothing of the host's network is touched, and no command breaks off in the middle.
///
/// Requirement: S1-U2, F-rootless.
#[test]
fn networks_of_the_host_are_refused_by_every_command() {
    let person = Person::new();
    let id = person.detach(&["--net=none", "--name=c"]);
    for words in [
        &["network", "connect", "bridge", "c"][..],
        &["network", "disconnect", "bridge", "c"],
        &["network", "create", "x"],
    ] {
        person.xnet(words).expect_refusal(1, "needs root");
    }
    for words in [&["cni", "add", "x", "/proc/self/ns/net"][..], &["netns", "attach", "c"]] {
        person.xnet(words).expect_refusal(125, "needs root");
    }
    for options in [["--net=none", "--netdev=eth7"], ["-p", "8080:80"]] {
        let text = if options[0] == "-p" { "packages passt, slirp4netns" } else { "needs root" };
        person.xnet(&[&["run", "--rm"], &options[..], &["--", "echo", "ran"]].concat()).expect_refusal(125, text);
    }
    person.xnet(&["gc"]).expect(0, "");
    let listed = person.xnet(&["netns", "ls"]);
    let line = listed.stdout.lines().find(|line| line.contains(&id)).unwrap();
    assert!(line.contains(" c ") && line.contains("lo(127.0.0.1/8,::1/128)"), "{line}");
    person.detach(&["--net=none", "--name=d"]);
    person.xnet(&["netns", "connect", "c", "d", "--subnet", "169.254.9.0/30"]).expect(0, "");
    let seen = person.xnet(&["exec", "d", "ip", "-br", "-4", "addr"]);
    assert!(seen.stdout.contains("169.254.9.2/30"), "{}{}", seen.stdout, seen.stderr);
}

/// Of the ids that are lent each container gets some of its own, as long as there are any.
///
/// Requirement: S1-U1, S1-U2, F-rootless.
#[test]
fn containers_get_slices_of_the_ids_that_are_lent() {
    let person = Person::with(&format!("{UID}:{LENT}:2100\n"));
    import(&person, 33);
    let run = |name: &str| {
        let name = format!("--name={name}");
        person.xnet(&["run", "-d", "--userns=auto", &name, "--net=none", "bb", "sleep", "1000"])
    };
    let begins = |name: &str| {
        let map = person.xnet(&["exec", name, "cat", "/proc/self/uid_map"]).stdout;
        let fields: Vec<u32> = map.split_whitespace().map(|field| field.parse().unwrap()).collect();
        assert_eq!((fields[0], fields[2]), (0, 1024));
        let pid = person.xnet(&["inspect", "-f", "{{.State.Pid}}", name]).stdout;
        fs::metadata(format!("/proc/{}", pid.trim())).unwrap().uid()
    };
    assert_eq!((run("a").code, run("b").code), (0, 0));
    let mut roots = [begins("a"), begins("b")];
    roots.sort_unstable();
    assert_eq!(roots, [LENT, LENT + 1024]);
    person.xnet(&["exec", "a", "busybox", "stat", "-c", "%u", "/srv/mine"]).expect(0, "33");
    let refused = run("c");
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("no 1024 of the ids"), "{}", refused.stderr);
    let few = person.xnet(&["rm", "-f", "a", "b"]);
    assert_eq!(few.code, 0, "{}", few.stderr);
    person.assert_clean();
}

/// Namespaces of the host's are shared as for root.
///
/// Requirement: S1-U2, F-rootless.
#[test]
fn namespaces_of_the_host_are_shared() {
    let person = Person::new();
    let inode = |kind: &str| fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap().display().to_string();
    let script = "readlink /proc/self/ns/ipc /proc/self/ns/uts; ls -d /dev/shm /dev/mqueue";
    let expected = format!("{}\n{}\n/dev/mqueue\n/dev/shm", inode("ipc"), inode("uts"));
    person.sh(&["--ipc=host", "--uts=host"], script).expect(0, &expected);
}
