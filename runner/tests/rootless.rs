//! Containers of somebody who is not root.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod person;
mod sandbox;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use person::{LENT, Person, UID};
use sandbox::{Ended, Sandbox, eventually, executable};

fn pid(person: &Person, id: &str) -> String {
    person.xnet(&["inspect", "-f", "{{.State.Pid}}", id]).stdout.trim().to_owned()
}

/// Root inside, the caller outside; the ids that are lent are the others, on the disk too.
///
/// Requirement: S1-U2, S1-U1, F-rootless, P-23.
#[test]
fn somebody_is_root_of_a_container_with_the_ids_that_are_lent() {
    let person = Person::new();
    let volume = person.home.join("volume");
    fs::create_dir(&volume).unwrap();
    chown(&volume, Some(UID), Some(UID)).unwrap();
    let option = format!("{}:/mnt", volume.display());
    let script = "id -u; cat /proc/self/uid_map /proc/self/setgroups; touch /mnt/a /mnt/b /x /usr/x; chown 33:44 /mnt/b; \
                  stat -c %u:%g /mnt/a /mnt/b /etc /x; rm /x /etc/passwd; \
                  echo x > /dev/null && cat /proc/1/comm; hostname";
    let ended = person.sh(&["--hostname=box", "-v", &option], script);
    let words: Vec<_> = ended.stdout.split_whitespace().collect();
    let lent = LENT.to_string();
    let expected = ["0", "0", "1000", "1", "1", &lent, "65536", "allow", "0:0", "33:44", "0:0", "0:0", "sh", "box"];
    assert_eq!(words, expected, "{}", ended.stderr);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let owner = |name: &str| fs::metadata(volume.join(name)).map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!((owner("a"), owner("b")), ((UID, UID), (LENT + 32, LENT + 43)));
    person.assert_clean();
    assert!(person.data().join("containers").is_dir());
}

/// Users and groups of the container's own files are had with the ids that are lent, and the caller's own are not.
///
/// Requirement: S1-U2, P-24.
#[test]
fn users_and_groups_are_the_containers() {
    let mut person = Person::new();
    person.groups = "--groups=4,1000";
    person.sh(&["-u", "33:34", "--group-add", "50"], "id -u; id -G").expect(0, "33\n34 50");
    person.sh(&[], "id -G").expect(0, "0");
    let refused = person.sh(&["-u", "70000"], "id -u");
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("does not map this id"), "{}", refused.stderr);
}

/// Without lent ids there is one, with a word about it; what needs more is refused.
///
/// Requirement: S1-U2, P-23.
#[test]
fn without_lent_ids_there_is_one() {
    let mut person = Person::with("");
    person.groups = "--groups=4,1000";
    let ended =
        person.sh(&[], "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; touch /x; stat -c %u:%g /x");
    let words: Vec<_> = ended.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "1000", "1", "0", "1000", "1", "deny", "0:0"], "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("/etc/subuid lends no ids to ann"), "{}", ended.stderr);
    for options in [["-u", "33"], ["--group-add", "4"]] {
        let refused = person.sh(&options, "echo ran");
        assert_eq!((refused.code, refused.stdout.as_str()), (125, ""), "{}", refused.stderr);
        let last = refused.stderr.lines().last().unwrap();
        assert!(last.contains("map this id") || last.contains("--group-add"), "{last}");
    }
    person.assert_clean();
}

/// A group of the caller's keeps the caller out of a file; giving it up would open the file (CVE-2018-7169).
///
/// Requirement: P-23.
#[test]
fn a_group_that_keeps_out_cannot_be_left() {
    let mut person = Person::with("");
    person.groups = "--groups=4,1000";
    let dir = person.sandbox.path("closed");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("secret"), "secret\n").unwrap();
    chown(&dir, Some(0), Some(4)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o705)).unwrap();
    let volume = format!("{}:/mnt", dir.display());
    let script = "cat /mnt/secret; setpriv --clear-groups cat /mnt/secret; true";
    person.sh(&["-v", &volume, "--cap-add=ALL"], script).expect(0, "");
    person.groups = "--clear-groups";
    // A new world, without that group.
    person.sh(&["-v", &volume], "cat /mnt/secret").expect(0, "secret");
}

/// The commands for containers reach those of one's own, from whichever process they come.
///
/// Requirement: S1-U2, F-rootless.
#[test]
fn ones_own_containers_can_be_seen_entered_and_ended() {
    let person = Person::new();
    let id = person.detach(&["--net=none", "--name=web", "-u", "33"]);
    person.xnet(&["ps", "--format", "{{.Names}} {{.State}}"]).expect(0, "web running");
    let first = pid(&person, "web");
    assert_eq!(fs::metadata(format!("/proc/{first}")).unwrap().uid(), LENT + 32);
    person.xnet(&["exec", "web", "id", "-u"]).expect(0, "33");
    person
        .xnet(&["exec", "-u", "0", "web", "sh", "-c", "readlink /proc/1/ns/user /proc/self/ns/user | uniq | wc -l"])
        .expect(0, "1");
    person.xnet(&["exec", "-u", "0", "web", "touch", "/root/x"]).expect(0, "");
    person.xnet(&["diff", "web"]).expect(0, "C /root\nA /root/x");
    let other = person.detach(&["--net=container:web"]);
    assert_eq!(
        fs::read_link(format!("/proc/{first}/ns/net")).unwrap(),
        fs::read_link(format!("/proc/{}/ns/net", pid(&person, &other))).unwrap()
    );
    let loud = person.xnet(&["run", "-d", "--name=loud", "--net=none", "--", "sh", "-c", "echo said"]);
    assert_eq!(loud.code, 0, "{}", loud.stderr);
    person.xnet(&["wait", "loud"]).expect(0, "0");
    person.xnet(&["logs", "loud"]).expect(0, "said");
    assert_eq!(person.xnet(&["stop", "-t", "0", "web", &other]).code, 0);
    person.xnet(&["start", "web"]).expect(0, "web");
    person.xnet(&["exec", "-u", "0", "web", "ls", "/root"]).expect(0, "x");
    assert_eq!(person.xnet(&["rm", "-f", "web", "loud", &other]).code, 0);
    assert!(!Path::new(&format!("/proc/{first}")).exists());
    assert!(!id.is_empty());
    person.assert_clean();
}

/// The world of user ids outlives everything but the containers in it: when their monitors are killed, too.
///
/// Requirement: S1-U2, P-33.
#[test]
fn a_container_that_has_lost_its_monitor_is_found_again() {
    let person = Person::new();
    let id = person.detach(&["--net=none"]);
    let first = pid(&person, &id);
    let text = fs::read(person.state().join(&id).join("info.json")).unwrap();
    let info: serde_json::Value = serde_json::from_slice(&text).unwrap();
    sandbox::kill(&info["monitor"]["pid"]);
    person
        .xnet(&["exec", &id, "readlink", "/proc/self/ns/user"])
        .expect(0, fs::read_link(format!("/proc/{first}/ns/user")).unwrap().to_str().unwrap());
    person.xnet(&["stop", "-t", "0", &id]).expect(0, &id);
    eventually("the container ends", || !Path::new(&format!("/proc/{first}")).exists());
}

/// Several at the same time share one world, whoever comes first.
///
/// Requirement: S1-U2.
#[test]
fn those_who_come_at_once_share_one_user_namespace() {
    let person = Person::new();
    let script = "readlink /proc/self/ns/user; read end; true";
    let running: Vec<_> = (0..4).map(|_| person.start(&[], script)).collect();
    assert!(running.iter().all(|one| one.first == running[0].first), "more than one");
    drop(running);
}

/// Networks that only root can make are refused; without a program that carries packets there is none, and a word about it.
///
/// Requirement: S1-U2, F-rootless.
#[test]
fn networks_are_those_that_can_be_had() {
    let person = Person::new();
    let run = |net: &[&str], script: &str| person.xnet(&[&["run", "--rm"], net, &["--", "sh", "-c", script]].concat());
    let plain = run(&[], "ls /sys/class/net; readlink /proc/self/ns/net");
    assert!(plain.stdout.starts_with("lo\nnet:"), "{}{}", plain.stdout, plain.stderr);
    assert!(plain.stderr.contains("pasta") && plain.stderr.lines().count() == 1, "{}", plain.stderr);
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    run(&["--net=host"], "readlink /proc/self/ns/net").expect(0, own.to_str().unwrap());
    run(&["--net=none"], "ip -br addr show lo | grep -c 127.0.0.1/8").expect(0, "1");
    for net in ["--net=bridge", "--net=lab"] {
        run(&[net], "echo ran").expect_refusal(125, "needs root");
    }
    run(&["--net=pasta"], "echo ran").expect_refusal(125, "package passt");
    run(&["-p", "80"], "echo ran").expect_refusal(125, "packages passt, slirp4netns");
    person.sandbox.run(&["--net=pasta"], &["true"]).expect_refusal(125, "for users other than root");
    person.assert_clean();
}

/// A program that carries packets is started before the command and goes with the run; if it gives up, nothing is run. Its
/// part is played by a script that is ready at once, and carries nothing.
///
/// Requirement: S1-U2, F-rootless.
#[test]
fn a_program_that_carries_packets_lives_as_long_as_the_container() {
    let person = Person::new();
    let program = person.sandbox.path("bin/slirp4netns");
    if !person.may_open_tunnels(0o666) {
        eprintln!("skipped: this kernel makes no tunnels");
        return;
    }
    let note = person.home.join("pid");
    let script = format!("#!/bin/sh\necho $$ $* > {}\necho 1 >&0\nexec /bin/sleep 1000\n", note.display());
    executable(&program, &script);
    let ended = person.xnet(&["run", "--rm", "--", "sh", "-c", "cat /etc/resolv.conf; ls /sys/class/net"]);
    ended.expect(0, "nameserver 10.0.2.3\nlo");
    let said = fs::read_to_string(&note).unwrap();
    let pid = said.split(' ').next().unwrap();
    let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    assert!(ended(), "it is still there");
    let netns = person.state().join(".netns");
    assert!(said.contains(&format!(" {}/", netns.display())) && said.ends_with(" tap0\n"), "{said}");
    executable(&program, "#!/bin/sh\necho no device >&2\nexit 1\n");
    let refused = person.xnet(&["run", "--rm", "--", "echo", "ran"]);
    refused.expect_refusal(125, "slirp4netns has ended: no device");
    person.assert_clean();
}

/// A limit that nobody can keep is left out, with one line for all of them.
///
/// Requirement: S1-U2.
#[test]
fn limits_that_are_not_delegated_are_left_out_with_a_word() {
    let person = Person::new();
    let ended = person.sh(&["-m", "64m", "--pids-limit", "50"], "echo ran");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "ran\n"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("limits are not applied") && ended.stderr.contains("memory, pids"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    person.sh(&[], "echo quiet").expect(0, "quiet");
}

/// A group that belongs to the caller keeps limits.
///
/// Requirement: S1-U2.
#[test]
fn limits_are_kept_in_a_delegated_group() {
    let person = Person::new();
    let group = Path::new("/sys/fs/cgroup/pids").join(person.sandbox.cgroup());
    if fs::create_dir(&group).is_err() {
        eprintln!("skipped: this host has no version 1 hierarchy");
        return;
    }
    for file in ["", "cgroup.procs", "tasks"] {
        chown(group.join(file), Some(UID), Some(UID)).unwrap();
    }
    let mut inner =
        person.command(&["run", "--rm", "-i", "--net=none", "--pids-limit", "50", "--", "cat", "/proc/self/cgroup"]);
    let xnet: Vec<_> = inner.get_args().map(|arg| arg.to_str().unwrap().to_owned()).collect();
    inner.arg("unused");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec /usr/bin/setpriv \"$@\""]).arg(&group).args(xnet);
    command.env_clear().env("PATH", person.sandbox.path("bin")).env("HOME", &person.home);
    command.env("XDG_RUNTIME_DIR", person.sandbox.path("run"));
    let ended = Ended::of(&mut command);
    let left = fs::read_dir(&group).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    fs::remove_dir(&group).unwrap();
    assert_eq!((ended.code, ended.stderr.as_str(), left), (0, "", 0), "{}", ended.stdout);
    assert!(ended.stdout.contains(":pids:/\n"), "its group is not its root: {}", ended.stdout);
}

/// Directories and images are base enough; owners of an image's files are kept as far as there are ids.
///
/// Requirement: S1-U2, F-rootless.
#[test]
fn directories_and_images_are_stacked() {
    let person = Person::new();
    let root = person.sandbox.rootfs();
    let dir = root.display().to_string();
    let run = |words: &[&str]| person.xnet(&[&["run", "--rm", "--net=none"], words].concat());
    run(&["--rootfs", &dir, "sh", "-c", "echo x > /new && cat /new"]).expect(0, "x");
    assert!(!root.join("new").exists());
    fs::create_dir(root.join("srv")).unwrap();
    fs::write(root.join("srv/mine"), "").unwrap();
    fs::write(root.join("srv/far"), "").unwrap();
    chown(root.join("srv/mine"), Some(33), Some(33)).unwrap();
    chown(root.join("srv/far"), Some(90_000), Some(33)).unwrap();
    let tar = person.sandbox.path("root.tar");
    let made = Command::new("tar").args(["-C", &dir, "-cf"]).arg(&tar).arg(".").status().unwrap();
    assert!(made.success());
    let imported = person.xnet(&["import", tar.to_str().unwrap(), "bb"]);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert!(imported.stderr.contains("1 of the files could not be made"), "{}", imported.stderr);
    run(&["bb", "sh", "-c", "ls -ln /srv/mine | while read mode links uid rest; do echo $uid; done"]).expect(0, "33");
    run(&["bb", "sh", "-c", "rm -r /srv && mkdir /srv && ls /srv"]).expect(0, "");
    run(&["--storage=vfs", "bb", "ls", "/srv"]).expect(0, "far\nmine");
    person.assert_clean();
}

/// The caller is the caller inside, too, and root inside is somebody else.
///
/// Requirement: S1-U1, S1-U2.
#[test]
fn keep_id_keeps_the_callers_own() {
    let person = Person::new();
    let option = format!("{}:/mnt", person.home.display());
    let script =
        "id -u; id -g; touch /mnt/made; stat -c %u:%g /mnt /etc; touch /root/x 2>/dev/null || echo not root; read end";
    let mut running = person.start(&["--userns=keep-id", "-v", &option], script);
    assert_eq!(running.first, "1000");
    for line in ["1000", "1000:1000", "0:0", "not root"] {
        assert_eq!(running.line(), line);
    }
    running.end_input();
    running.wait();
    assert_eq!(fs::metadata(person.home.join("made")).unwrap().uid(), UID);
    person.sh(&["--userns=keep-id", "-u", "0"], "id -u; touch /root/x && stat -c %u /root/x").expect(0, "0\n0");
    let refused = Person::with("1000:700000:10\n").sh(&["--userns=keep-id"], "echo ran");
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("10 are lent"), "{}", refused.stderr);
    person.sandbox.run(&["--net=none", "--userns=keep-id"], &["true"]).expect_refusal(125, "other than root");
}

/// Requirement: S1-U2, F-features.
#[test]
fn info_tells_what_is_missing() {
    let person = Person::new();
    let ended = person.xnet(&["info", "-f", "{{.Rootless}} {{.RootDir}} {{.StateDir}} {{len .RootlessMissing}}"]);
    let expected = format!("true {} {} 4", person.data().display(), person.state().display());
    ended.expect(0, &expected);
    person.sandbox.xnet(&["info", "-f", "{{.Rootless}} {{len .RootlessMissing}}"]).expect(0, "false 0");
}

/// Root in a user namespace that is not the host's is served like somebody without root, without being told anything.
///
/// Requirement: S1-U2.
#[test]
fn root_in_somebody_elses_user_namespace_has_containers() {
    let sandbox = Sandbox::new();
    let words =
        ["run", "--rm", "-i", "--net=none", "--", "sh", "-c", "id -u; touch /usr/x /x && echo x > /dev/null; ls /x"];
    let inner = sandbox.command(&words);
    let mut command = Command::new("unshare");
    command.args(["-r", "-m", "--"]).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?)))).stdin(Stdio::null());
    Ended::of(&mut command).expect(0, "0\n/x");
    sandbox.assert_clean();
}

/// A container with ids, or a clock, of its own can be entered.
///
/// Requirement: S1-U1, S1-K3, F-exec.
#[test]
fn containers_with_ids_or_clocks_of_their_own_are_entered() {
    let sandbox = Sandbox::new();
    let ids = sandbox.detach(&["--net=none", "--userns=100000:100000:65536"], &["sleep", "1000"]);
    sandbox
        .xnet(&["exec", &ids, "sh", "-c", "id -u; id -G; cat /proc/self/uid_map; touch /x && stat -c %u /x"])
        .expect(0, &format!("0\n0\n{:>10} {:>10} {:>10}\n0", 0, 100_000, 65536));
    sandbox.xnet(&["exec", "-u", "33", &ids, "id", "-u"]).expect(0, "33");
    let refused = sandbox.xnet(&["exec", "-u", "70000", &ids, "id", "-u"]);
    assert!(refused.stderr.contains("does not map this id"), "{}", refused.stderr);
    let clock = sandbox.detach(&["--net=none", "--time-offset=boottime=1000000"], &["sleep", "1000"]);
    let ended = sandbox.xnet(&["exec", &clock, "cat", "/proc/uptime"]);
    let uptime: f64 = ended.stdout.split_whitespace().next().unwrap().parse().unwrap();
    assert!(uptime > 1_000_000.0, "{uptime}");
    assert_eq!(sandbox.xnet(&["rm", "-f", &ids, &clock]).code, 0);
    sandbox.assert_clean();
}
