//! Containers of images.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
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
