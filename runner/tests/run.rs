//! What a container is, seen from inside and by its exit status.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use sandbox::{Ended, Sandbox, executable};

/// Requirement: F-run, F-exit.
#[test]
fn the_exit_status_is_the_commands() {
    let sandbox = Sandbox::new();
    sandbox.sh("exit 0").expect(0, "");
    sandbox.sh("exit 42").expect(42, "");
    sandbox.sh("exit 255").expect(255, "");
    sandbox.run(&["--net=none", "--init"], &["sh", "-c", "exit 42"]).expect(42, "");
    sandbox.run(&["--net=none", "--init"], &["sh", "-c", "kill -9 $$"]).expect(137, "");
    sandbox.assert_clean();
}

/// Requirement: S3-6, F-exit.
#[test]
fn what_cannot_be_executed_is_127_or_126_and_says_why() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    executable(&root.join("bin/script"), "#!/no/interpreter\n");
    executable(&root.join("bin/empty"), "\0\0");
    fs::write(root.join("bin/data"), "x").unwrap();
    let dir = root.to_str().unwrap();
    let run = |cmd: &str| sandbox.run(&["--net=none", "--rootfs", dir], &[cmd]);
    run("/bin/bash").expect_refusal(127, "/bin/bash: no such file");
    run("bash").expect_refusal(127, "bash: command not found");
    run("/bin/script").expect_refusal(127, "its interpreter /no/interpreter does not exist");
    run("/bin/data").expect_refusal(126, "/bin/data: Permission denied");
    run("/bin").expect_refusal(126, "/bin: it is a directory");
    run("/bin/empty").expect_refusal(126, "exec format error");
    sandbox.assert_clean();
}

/// Requirement: F-exit.
#[test]
fn usage_errors_are_125_and_touch_nothing() {
    let sandbox = Sandbox::new();
    for options in [
        &["--net=nonsense"][..],
        &["--name=a/b"],
        &["--hostname", &"a".repeat(65)],
        &["--memory=1k"],
        &["--cpus=0"],
        &["--rootfs=/no/such/directory"],
        &["--workdir=relative"],
        &["--env==x"],
        &["--no-such-option"],
    ] {
        let ended = sandbox.run(options, &["true"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (125, ""), "{options:?}: {}", ended.stderr);
    }
    assert_eq!(Ended::of(&mut sandbox.command(&["run"])).code, 125);
    assert!(!sandbox.path("state").exists(), "a refused command line has made the state directory");
}

/// Requirement: S0-P1, S3-3, S3-11.
#[test]
fn the_command_is_process_1_of_its_own_namespaces() {
    let sandbox = Sandbox::new();
    sandbox.sh("echo $$").expect(0, "1");
    for namespace in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
        let inside = sandbox.sh(&format!("readlink /proc/self/ns/{namespace}"));
        let outside = fs::read_link(format!("/proc/thread-self/ns/{namespace}")).unwrap();
        assert_eq!(inside.code, 0);
        assert_ne!(inside.stdout.trim(), outside.to_str().unwrap(), "{namespace}");
    }
    let listed = sandbox.sh("for p in /proc/[0-9]*; do echo ${p#/proc/}; done | sort -n | head -2 | tr '\\n' ' '");
    assert!(listed.stdout.starts_with("1 "), "{}", listed.stdout);
    let groups = sandbox.sh("cut -d: -f3 /proc/self/cgroup | sort -u");
    groups.expect(0, "/");
    sandbox.assert_clean();
}

/// Requirement: S0-U1.
#[test]
fn the_host_name_is_the_short_id_or_what_was_asked_for() {
    let sandbox = Sandbox::new();
    let ended = sandbox.sh("hostname; cat /etc/hostname; echo $HOSTNAME");
    let names: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(names.len(), 3, "{}", ended.stderr);
    assert!(names.iter().all(|n| *n == names[0] && n.len() == 12), "{names:?}");
    let asked =
        sandbox.run(&["--net=none", "--hostname=web-1"], &["sh", "-c", "hostname; cat /etc/hostname; echo $HOSTNAME"]);
    asked.expect(0, "web-1\nweb-1\nweb-1");
}

/// Requirement: F-env.
#[test]
fn the_environment_is_the_containers_own() {
    let sandbox = Sandbox::new();
    let options = ["--net=none", "-e", "A=1", "-e", "FROM_CALLER", "-e", "A=2", "-e", "NOT_SET", "-e", "HOME=/x"];
    let mut command = sandbox.run_command(&options, &["env"]);
    command.env("FROM_CALLER", "yes").env("SECRET", "s").env_remove("TERM").env_remove("NOT_SET");
    let ended = Ended::of(&mut command);
    let mut lines: Vec<_> = ended.stdout.lines().filter(|l| !l.starts_with("HOSTNAME=")).collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["A=2", "FROM_CALLER=yes", "HOME=/x", path]);
}

/// Requirement: S0-M1.
#[test]
fn the_hosts_secrets_and_data_do_not_show() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("secret"), "s").unwrap();
    sandbox.sh(&format!("test -e {}", sandbox.path("secret").display())).expect(1, "");
    sandbox.sh("cat /etc/shadow; find /root /home /srv /mnt /opt /run /tmp -mindepth 1").expect(0, "");
    sandbox.sh("find /etc -type f ! -perm -o=r -size +0 | head").expect(0, "");
    sandbox.sh("cd / && echo *").expect(0, &shown_at_the_top());
}

fn shown_at_the_top() -> String {
    let shown = ["bin", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "sbin", "usr"];
    let made = ["dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var"];
    let mut names: Vec<_> =
        shown.into_iter().filter(|n| fs::symlink_metadata(format!("/{n}")).is_ok()).chain(made).collect();
    names.sort_unstable();
    names.join(" ")
}

/// Requirement: S0-L4.
#[test]
fn the_root_can_be_written_and_the_host_stays_as_it_is() {
    let sandbox = Sandbox::new();
    sandbox.sh("echo x > /usr/bin/xnet-probe && rm /bin/ls && mkdir /new && cat /usr/bin/xnet-probe").expect(0, "x");
    assert!(!Path::new("/usr/bin/xnet-probe").exists() && Path::new("/bin/ls").exists());
    let root = sandbox.rootfs();
    let before: Vec<_> = fs::read_dir(&root).unwrap().flatten().map(|e| e.file_name()).collect();
    sandbox.run(&["--net=none", "--rootfs", root.to_str().unwrap()], &["touch", "/x"]).expect(0, "");
    let after: Vec<_> = fs::read_dir(&root).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(before, after, "the lower layer was written to");
}

/// Requirement: S0-M1, S0-M2, P-12.
#[test]
fn no_mount_of_the_host_shows_and_none_of_ours_leaks() {
    let sandbox = Sandbox::new();
    let before = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let inside = sandbox.sh("cat /proc/mounts").stdout;
    for line in inside.lines() {
        let point = line.split(' ').nth(1).unwrap();
        let known = ["/proc", "/sys", "/dev"].iter().any(|p| point == *p || point.starts_with(&format!("{p}/")));
        // The container's own three files, each a mount of itself.
        let own = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"].contains(&point);
        assert!(known || own || point == "/" || point == "/usr", "{line}");
        assert!(!line.contains(sandbox.path("state").to_str().unwrap()), "{line}");
    }
    let after = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let lines = |text: &str| text.lines().filter(|l| !l.contains("/netns ")).count();
    assert_eq!(lines(&before), lines(&after), "{after}");
}

/// Requirement: F-dev, P-4.
#[test]
fn devices_are_the_harmless_ones() {
    let sandbox = Sandbox::new();
    let list =
        sandbox.sh("cd /dev && echo * && echo hello > null && head -c 3 zero | od -An -tx1 && readlink fd ptmx stdin");
    list.expect(0, "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n 00 00 00\n/proc/self/fd\npts/ptmx\n/proc/self/fd/0");
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!((null.uid(), null.mode() & 0o777, null.rdev()), (0, 0o666, 0x103), "the host's /dev/null was touched");
    let script = "mknod /tmp/disk b 1 0 && (cat /tmp/disk 2>/dev/null || echo refused)";
    sandbox.sh(script).expect(0, "refused");
}

/// Requirement: P-27, F-masks, NET-H2.
#[test]
fn what_would_change_the_host_is_masked_or_read_only() {
    let sandbox = Sandbox::new();
    for path in ["/proc/sys/kernel/hostname", "/proc/irq/default_smp_affinity", "/sys/kernel/mm/ksm/run"] {
        let ended = sandbox.sh(&format!("test -e {path} || exit 0; echo 1 2>/dev/null > {path}"));
        assert!(ended.code != 0 || !Path::new(path).exists(), "{path} could be written");
    }
    sandbox.sh("cat /proc/keys /proc/timer_list /proc/interrupts; ls -A /sys/firmware").expect(0, "");
    sandbox.sh("mount -t tmpfs x /mnt 2>/dev/null; umount /proc/keys 2>/dev/null; cat /proc/keys").expect(0, "");
    sandbox.sh("for d in /sys/fs/cgroup/*/; do mkdir $d/x 2>/dev/null && echo $d; done; true").expect(0, "");
    sandbox
        .sh("sed -n 's/^Cap\\(Bnd\\|Inh\\|Amb\\):\t//p' /proc/self/status")
        .expect(0, "0000000000000000\n00000000a80425fb\n0000000000000000");
}

/// Requirement: NET-H2, F-caps.
#[test]
fn privileged_keeps_all_of_it() {
    let sandbox = Sandbox::new();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap().to_owned();
    let run = |script: &str| sandbox.run(&["--net=none", "--privileged"], &["sh", "-c", script]);
    run("sed -n 's/^CapBnd:\t//p' /proc/self/status").expect(0, &bounding);
    run("echo changed > /proc/sys/kernel/hostname && hostname && mount -t tmpfs x /mnt && ip link add xprobe type bridge").expect(0, "changed");
    // What it makes below its groups goes with them.
    run("for d in /sys/fs/cgroup/*/; do mkdir $d/inner $d/inner/most; done; cd /sys/fs/cgroup/*/inner/most && echo made").expect(0, "made");
    sandbox.assert_clean();
}

/// Requirement: NET-H2.
#[test]
fn privileged_has_all_devices_of_the_host() {
    let sandbox = Sandbox::new();
    let devices = "find /dev -path /dev/pts -prune -o -path /dev/shm -prune -o '(' -type c -o -type b ')' -exec stat -c '%n %F %t:%T %a %u:%g' {} + \
                   | grep -v '^/dev/\\(console\\|ptmx\\|tty\\|null\\|zero\\|full\\|random\\|urandom\\) ' | sort";
    let lines = |ended: Ended| ended.stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    let host = || lines(Ended::of(Command::new("sh").args(["-c", devices])));
    let run = |options: &[&str], script: &str| sandbox.run(&[&["--net=none"], options].concat(), &["sh", "-c", script]);
    // Devices may come and go meanwhile.
    let (before, shown, after) = (host(), lines(run(&["--privileged"], devices)), host());
    let missing: Vec<_> = before.iter().filter(|line| after.contains(line) && !shown.contains(line)).collect();
    assert!(!before.is_empty() && missing.is_empty(), "{missing:#?}");
    let more: Vec<_> = shown.iter().filter(|line| !before.contains(line) && !after.contains(line)).collect();
    assert!(more.is_empty(), "{more:#?}");
    run(&[], devices).expect(0, "");
    run(&["--privileged"], "head -c 0 /dev/kmsg && head -c 1 /dev/zero | wc -c && tty < /dev/null")
        .expect(1, "1\nnot a tty");
    // In a user namespace it is root of that alone.
    run(&["--privileged", "--userns=auto"], devices).expect(0, "");
    sandbox.assert_clean();
}

/// Who may open a device is for the controller to say; where it is, is nobody's business.
/// Requirement: F-devices.
#[test]
fn nodes_on_the_root_file_system_are_as_good_as_those_in_dev() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let run = |options: &[&str], script: &str| {
        let fixed = ["--net=none", "--rootfs", root.to_str().unwrap()];
        sandbox.run(&[&fixed, options].concat(), &["sh", "-c", script])
    };
    let script = "busybox mknod /zero c 1 5 && busybox mknod /kmsg c 1 11 && busybox head -c 1 /zero | busybox wc -c; cat /kmsg 2>&1";
    run(&[], script).expect(1, "1\ncat: can't open '/kmsg': Operation not permitted");
    run(&["--privileged"], "busybox mknod /kmsg c 1 11 && busybox head -c 0 /kmsg && echo read").expect(0, "read");
    sandbox.assert_clean();
}

/// Requirement: P-3.
#[test]
fn only_stdio_is_inherited() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.run_command(&["--net=none"], &["ls", "/proc/self/fd"]);
    // The caller leaks descriptors of host directories into xnet.
    let leaked: Vec<_> = (0..50).map(|_| fs::File::open("/").unwrap()).collect();
    for file in &leaked {
        nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    }
    // The fourth is the directory that is being listed.
    Ended::of(&mut command).expect(0, "0\n1\n2\n3");
    for fd in (0..12).chain(leaked.iter().map(AsRawFd::as_raw_fd)) {
        let mut command = sandbox.run_command(&["--net=none", "-w", &format!("/proc/self/fd/{fd}")], &["pwd"]);
        command.stdin(fs::File::open("/").unwrap());
        let ended = Ended::of(&mut command);
        assert_eq!((ended.code, ended.stdout.as_str()), (125, ""), "fd {fd}: {}", ended.stderr);
    }
    sandbox.assert_clean();
}

#[test]
fn the_callers_umask_is_not_the_containers() {
    let sandbox = Sandbox::new();
    let xnet =
        sandbox.run_command(&["--net=none"], &["sh", "-c", "umask; stat -c %a /etc/hosts /dev/pts /dev/null /home"]);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Ended::of(&mut command).expect(0, "0022\n644\n755\n666\n755");
}

/// Requirement: F-env.
#[test]
fn the_working_directory_is_made_and_entered() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--net=none", "-w", "/usr/lib"], &["pwd"]).expect(0, "/usr/lib");
    sandbox.run(&["--net=none", "-w", "/a/b/c"], &["pwd"]).expect(0, "/a/b/c");
    sandbox.run(&["--net=none", "-w", "/etc/passwd"], &["pwd"]).expect_refusal(125, "Not a directory");
}

/// Requirement: S0-P2.
#[test]
fn a_privileged_container_can_run_another() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::copy(env!("CARGO_BIN_EXE_xnet"), root.join("bin/xnet")).unwrap();
    let options = ["--net=none", "--privileged", "--rootfs", root.to_str().unwrap()];
    let inner = ["xnet", "run", "--net=none", "--privileged", "--rootfs=/", "--"];
    sandbox.run(&options, &[&inner[..], &["sh", "-c", "echo $$"]].concat()).expect(0, "1");
    // No overlay can be stacked there any more, so the inner ones are copies.
    let deepest = sandbox.run(&options, &[&inner[..], &inner, &["sh", "-c", "echo $$ > /x; cat /x"]].concat());
    assert!(deepest.stderr.contains("--storage vfs"), "{}", deepest.stderr);
    deepest.expect(0, "1");
    sandbox.assert_clean();
}

/// Requirement: S3-5, P-11.
#[test]
fn root_inside_cannot_chroot_its_way_out() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::copy("/bin/busybox", root.join("bin/chroot")).unwrap();
    let script = "cd /; ls -d .. ; busybox mkdir d; busybox chroot d /bin/true; cd ../../../..; busybox pwd; busybox ls -A / | busybox tr '\\n' ' '";
    let ended = sandbox.run(&["--net=none", "--rootfs", root.to_str().unwrap()], &["sh", "-c", script]);
    assert!(ended.stdout.ends_with("/\nbin d dev etc proc sys "), "{}", ended.stdout);
}

/// Requirement: S0-I1.
#[test]
fn sysv_and_posix_ipc_are_private() {
    let sandbox = Sandbox::new();
    sandbox
        .sh("ipcmk -Q >/dev/null && ipcs -q | grep -c '^0x'; echo x > /dev/shm/f; df -k /dev/shm | awk 'END{print $2}'")
        .expect(0, "1\n65536");
    assert!(!Path::new("/dev/shm/f").exists());
}
