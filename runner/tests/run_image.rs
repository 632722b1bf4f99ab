//! Containers of images.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use sandbox::{Ended, Sandbox};

fn xnet(sandbox: &Sandbox, args: &[&str]) -> Ended {
    Ended::of(&mut sandbox.command(args))
}

/// An image `bb` of a busybox, with these changes.
fn image(sandbox: &Sandbox, changes: &[&str]) {
    let root = sandbox.rootfs();
    fs::create_dir_all(root.join("data")).unwrap();
    fs::write(root.join("data/seed"), "from the image\n").unwrap();
    let tar = sandbox.path("bb.tar");
    assert!(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".").status().unwrap().success());
    let changes: Vec<_> = changes.iter().flat_map(|change| ["-c", change]).collect();
    let ended = xnet(sandbox, &[&["image", "import"], &changes[..], &[tar.to_str().unwrap(), "bb"]].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

/// `xnet run ARGS` without a `--` in front of anything.
fn run(sandbox: &Sandbox, args: &[&str]) -> Ended {
    xnet(sandbox, &[&["run", "--net=none", "--cgroup-parent", sandbox.cgroup()], args].concat())
}

/// Requirement: S0-L2, S1-O1, S3-10, F-exec.
#[test]
fn what_the_image_says_holds_unless_an_option_says_otherwise() {
    let sandbox = Sandbox::new();
    image(
        &sandbox,
        &["ENTRYPOINT [\"/bin/echo\",\"said\"]", "CMD [\"default\"]", "ENV A=image", "WORKDIR /made/here", "LABEL x=y"],
    );
    run(&sandbox, &["--rm", "bb"]).expect(0, "said default");
    run(&sandbox, &["--rm", "bb", "other", "--", "-x"]).expect(0, "said other -- -x");
    let script = ["bb", "-c", "echo $A $B; pwd; id -u"];
    run(&sandbox, &[&["--rm", "--entrypoint=sh", "-e", "B=mine"], &script[..]].concat())
        .expect(0, "image mine\n/made/here\n0");
    run(&sandbox, &[&["--rm", "--entrypoint=sh", "-e", "A=mine", "-w", "/", "-u", "7"], &script[..]].concat())
        .expect(0, "mine\n/\n7");
    let refused = run(&sandbox, &["--rm", "nosuchimage", "sh"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (125, ""), "{}", refused.stderr);
    assert!(refused.stderr.contains("a command without an image needs `--` before it"), "{}", refused.stderr);
    sandbox.assert_clean();
}

/// Requirement: S0-L1, S0-L3, S1-O2, S1-O7.
#[test]
fn containers_share_the_image_and_commit_adds_a_layer() {
    let sandbox = Sandbox::new();
    image(&sandbox, &[]);
    run(&sandbox, &["--name=c", "bb", "sh", "-c", "echo mine > /mine; busybox rm /data/seed"]).expect(0, "");
    run(&sandbox, &["--rm", "bb", "sh", "-c", "ls /mine /data/seed 2>/dev/null"]).code_is_not(0);
    run(&sandbox, &["--rm", "bb", "cat", "/data/seed"]).expect(0, "from the image");
    let changes = "D /data/seed\nA /mine";
    let listed = xnet(&sandbox, &["diff", "c"]).stdout;
    assert!(changes.lines().all(|line| listed.contains(line)), "{listed}");
    assert_eq!(xnet(&sandbox, &["commit", "c", "mine"]).code, 0);
    run(&sandbox, &["--rm", "mine", "sh", "-c", "cat /mine; ls /data"]).expect(0, "mine");
    let layers = |name: &str| {
        xnet(&sandbox, &["image", "inspect", "-f", "{{len .RootFS.Layers}}", name])
            .stdout
            .trim()
            .parse::<u32>()
            .unwrap()
    };
    assert_eq!(layers("mine"), layers("bb") + 1);
    // The container needs its image.
    assert_ne!(xnet(&sandbox, &["image", "rm", "bb"]).code, 0);
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// Requirement: P-19, S3-7.
#[test]
fn volumes_of_the_image_are_filled_and_go_with_the_container() {
    let sandbox = Sandbox::new();
    image(&sandbox, &["VOLUME /data"]);
    let volumes = || fs::read_dir(sandbox.path("data/volumes")).into_iter().flatten().count();
    run(&sandbox, &["--rm", "bb", "sh", "-c", "cat /data/seed; busybox grep -c ' /data ' /proc/mounts"])
        .expect(0, "from the image\n1");
    assert_eq!(volumes(), 0);
    run(&sandbox, &["--rm", "-v", "mine:/data", "bb", "sh", "-c", "echo x > /data/x; ls /data"]).expect(0, "seed\nx");
    assert_eq!(volumes(), 1);
    run(&sandbox, &["--rm", "--storage=vfs", "bb", "cat", "/data/seed"]).expect(0, "from the image");
    sandbox.assert_clean();
}

/// As with Docker: an image of a container does what the container did.
///
/// Requirement: F-commit.
#[test]
fn what_a_container_was_asked_to_do_is_what_its_image_does() {
    let sandbox = Sandbox::new();
    image(&sandbox, &["ENTRYPOINT [\"/bin/busybox\"]", "CMD [\"echo\", \"image\"]", "ENV A=image", "LABEL of=image"]);
    let options = ["--name=c", "-e", "B=mine", "-w", "/data", "-l", "x=y", "-u", "7:8", "--stop-signal=INT"];
    run(&sandbox, &[&options, &["bb", "sh", "-c", "echo $A $B; pwd; id -u; id -g"][..]].concat())
        .expect(0, "image mine\n/data\n7\n8");
    assert_eq!(xnet(&sandbox, &["commit", "c", "same"]).code, 0);
    run(&sandbox, &["--rm", "same"]).expect(0, "image mine\n/data\n7\n8");
    let told =
        |name: &str, what: &str| xnet(&sandbox, &["image", "inspect", "-f", what, name]).stdout.trim().to_owned();
    assert_eq!(told("same", "{{json .Config.Entrypoint}}"), "[\"/bin/busybox\"]");
    assert_eq!(told("same", "{{index .Config.Cmd 0}} {{.Config.StopSignal}} {{.Config.User}}"), "sh SIGINT 7:8");
    assert_eq!(told("same", "{{json .Config.Labels}}"), "{\"of\":\"image\",\"x\":\"y\"}");
    assert!(!told("same", "{{json .Config.Env}}").contains("HOSTNAME"));
    // A change is of the image, whatever the container did.
    assert_eq!(xnet(&sandbox, &["commit", "-c", "CMD [\"echo\", \"changed\"]", "c", "other"]).code, 0);
    run(&sandbox, &["--rm", "other"]).expect(0, "changed");
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// What is written for ten containers of one image is next to nothing, and what one has read from the disk the others have in
/// memory.
///
/// Requirement: S0-L3.
#[test]
fn ten_containers_cost_the_disk_no_more_than_their_directories() {
    let sandbox = Sandbox::new();
    let big = sandbox.rootfs().join("big");
    fs::write(&big, vec![7; 4 << 20]).unwrap();
    image(&sandbox, &[]);
    let blocks = |dir: &str| {
        let ended = Ended::of(Command::new("du").args(["-sk", "--inodes"]).arg(sandbox.path(dir)));
        let count = ended.stdout.split_whitespace().next().unwrap().parse::<u64>().unwrap();
        let ended = Ended::of(Command::new("du").arg("-sk").arg(sandbox.path(dir)));
        (count, ended.stdout.split_whitespace().next().unwrap().parse::<u64>().unwrap())
    };
    run(&sandbox, &["--rm", "bb", "true"]).expect(0, "");
    let before = blocks("data");
    let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    for name in &names {
        assert_eq!(run(&sandbox, &["-d", "--name", name, "bb", "sleep", "1000"]).code, 0);
    }
    let (inodes, kilobytes) = blocks("data");
    assert!(inodes - before.0 < 10 * 25, "{} inodes for ten containers", inodes - before.0);
    assert!(kilobytes - before.1 < 10 * 120, "{} KiB for ten containers of 6 MiB", kilobytes - before.1);
    // The same file for all, whichever container looks at it: the kernel's cache has it once.
    let layer = Ended::of(Command::new("find").arg(sandbox.path("data")).args(["-name", "big", "-size", "4M"]));
    let layer = layer.stdout.trim().to_owned();
    assert_eq!(layer.lines().count(), 1, "{layer}");
    let inode = fs::metadata(&layer).unwrap().ino().to_string();
    for name in &names {
        xnet(&sandbox, &["exec", name, "busybox", "stat", "-c", "%i", "/big"]).expect(0, &inode);
    }
    // What its reading asks of the disk, in bytes.
    let read = |name: &str| {
        let script = "busybox cat /big > /dev/null; busybox awk '/^read_bytes/ {print $2}' /proc/$$/io";
        xnet(&sandbox, &["exec", name, "sh", "-c", script]).stdout.trim().parse::<u64>().unwrap()
    };
    let file = fs::File::open(&layer).unwrap();
    file.sync_all().unwrap();
    let all = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    nix::fcntl::posix_fadvise(&file, 0, 0, all).unwrap();
    assert!(read("c0") >= 4 << 20, "the cache still had the file");
    assert_eq!(read("c1"), 0, "the second container has read the file again");
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(xnet(&sandbox, &[&["rm", "-f"], &words[..]].concat()).code, 0);
    sandbox.assert_clean();
}
