//! Images come in from archives and go out again, are shared, and are complete or absent.

mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sandbox::{Ended, Sandbox};

fn xnet(sandbox: &Sandbox, args: &[&str]) -> Ended {
    Ended::of(&mut sandbox.command(args))
}

/// Runs a shell script in the sandbox's directory, and gives what it prints.
fn sh(sandbox: &Sandbox, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(sandbox.path(""));
    let ended = Ended::of(&mut command);
    assert_eq!(ended.code, 0, "{script}: {}", ended.stderr);
    ended.stdout.trim().to_owned()
}

/// A small tree, of which images are made.
fn tree(sandbox: &Sandbox) {
    sh(
        sandbox,
        "umask 022; mkdir -p tree/bin tree/etc; echo hello > tree/etc/motd; ln -s motd tree/etc/link; ln tree/etc/motd tree/bin/hard",
    );
}

fn import(sandbox: &Sandbox, args: &[&str]) -> String {
    let ended = xnet(sandbox, &[&["import"], args].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.trim().to_owned()
}

fn inspect(sandbox: &Sandbox, image: &str, template: &str) -> String {
    let ended = xnet(sandbox, &["image", "inspect", "-f", template, image]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.trim().to_owned()
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Fails if anything of an image is left: blobs, layers, or what was on its way.
fn assert_empty(sandbox: &Sandbox) {
    for dir in ["data/layers", "data/images/blobs/sha256", "data/images/tmp"] {
        assert_eq!(names(&sandbox.path(dir)), BTreeSet::new(), "{dir}");
    }
}

/// An archive of `docker save` from before it wrote layouts, whose configuration says `config`.
fn docker_archive(sandbox: &Sandbox, config: &str) {
    sh(sandbox, &format!(
        "rm -rf old; mkdir -p old/abc old/def; tar -C tree -cf old/abc/layer.tar etc; ln -s ../abc/layer.tar old/def/layer.tar
         d=sha256:$(sha256sum < old/abc/layer.tar | cut -d' ' -f1)
         printf '{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{config},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}}}' $d $d > old/config.json
         printf '[{{\"Config\":\"config.json\",\"RepoTags\":[\"old:1\",\"quay.io/x/old:2\"],\"Layers\":[\"abc/layer.tar\",\"def/layer.tar\"]}}]' > old/manifest.json
         tar -C old -cf old.tar ."
    ));
}

/// Requirement: F-images, S0-L2, S3-4, F-zstd.
#[test]
fn a_root_file_system_becomes_an_image_however_it_is_packed() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    sh(&sandbox, "tar -C tree -cf t.tar .; gzip -k t.tar; zstd -q t.tar");
    let at = |name: &str| sandbox.path(name).display().to_string();
    let ids: BTreeSet<_> =
        ["tree", "t.tar", "t.tar.gz", "t.tar.zst"].iter().map(|name| import(&sandbox, &[&at(name), name])).collect();
    assert_eq!(ids.len(), 4, "each import is an image of its own");
    let layers = |name: &str| inspect(&sandbox, name, "{{json .RootFS.Layers}}");
    assert_eq!(layers("t.tar"), layers("t.tar.gz"));
    assert_eq!(layers("t.tar"), layers("t.tar.zst"));
    let diff = inspect(&sandbox, "tree", "{{.GraphDriver.Data.UpperDir}}");
    assert_eq!(fs::read_to_string(format!("{diff}/etc/link")).unwrap(), "hello\n");
    assert_eq!(fs::metadata(format!("{diff}/bin/hard")).unwrap().nlink(), 2);

    let mut command =
        sandbox.command(&["import", "-c", "CMD [\"sh\"]", "--change", "ENV A=b", "-m", "a note", "-", "piped:1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(sandbox.path("t.tar.gz")).unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(
        inspect(&sandbox, "piped:1", "{{json .Config.Cmd}} {{json .Config.Env}} {{.Comment}} {{len .Parent}}"),
        r#"["sh"] ["A=b"] a note 0"#
    );
}

/// Requirement: F-images, S4-10, S1-O3.
#[test]
fn archives_of_docker_are_loaded_old_and_new() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    docker_archive(
        &sandbox,
        r#"{"Env":null,"Entrypoint":["/bin/x"],"WorkingDir":"/w","User":"1:2","Volumes":{"/v":{}},"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD","true"],"Interval":1000}}"#,
    );
    let archive = sandbox.path("old.tar").display().to_string();
    xnet(&sandbox, &["load", "-i", &archive]).expect(0, "Loaded image: old:1\nLoaded image: quay.io/x/old:2");
    let of = |name: &str, template: &str| inspect(&sandbox, name, template);
    assert_eq!(
        of("docker.io/old:1", "{{.Id}}"),
        format!("sha256:{}", sh(&sandbox, "sha256sum < old/config.json | cut -d' ' -f1"))
    );
    assert_eq!(
        of(
            "old:1",
            "{{json .Config.Entrypoint}} {{.Config.WorkingDir}} {{.Config.User}} {{.Config.StopSignal}} {{json .Config.Healthcheck}}"
        ),
        r#"["/bin/x"] /w 1:2 SIGINT {"Test":["CMD","true"],"Interval":1000}"#
    );
    // Two layers, the same bytes; the upper one is upon the lower one.
    for key in ["UpperDir", "WorkDir", "MergedDir", "LowerDir"] {
        let dir = of("old:1", &format!("{{{{.GraphDriver.Data.{key}}}}}"));
        assert!(Path::new(&dir).is_dir(), "{key}: {dir}");
    }

    // Docker, podman and skopeo read what is written, and it comes back as the same image.
    let id = of("old:1", "{{.Id}}");
    for format in ["docker", "oci"] {
        let saved = sandbox.path("saved.tar").display().to_string();
        xnet(&sandbox, &["save", "--format", format, "-o", &saved, "old:1", "quay.io/x/old:2"]).expect(0, "");
        xnet(&sandbox, &["rmi", "-f", &id]).code_is_not(1);
        xnet(&sandbox, &["image", "prune"]).code_is_not(1);
        assert_empty(&sandbox);
        xnet(&sandbox, &["load", "-q", "-i", &saved]).code_is_not(1);
        assert_eq!(of("quay.io/x/old:2", "{{.Id}}"), id, "{format}");
        // The layout as a directory, and the archive compressed, through a pipe.
        sh(&sandbox, "rm -rf layout; mkdir layout; tar -C layout -xf saved.tar; gzip -f saved.tar");
        xnet(&sandbox, &["rmi", "-f", &id]).code_is_not(1);
        let layout = sandbox.path("layout").display().to_string();
        xnet(&sandbox, &["load", "-i", &layout]).code_is_not(1);
        let mut piped = sandbox.command(&["load", "-q"]);
        piped.stdin(fs::File::open(sandbox.path("saved.tar.gz")).unwrap());
        Ended::of(&mut piped).code_is_not(1);
        assert_eq!(of("old:1", "{{.Id}}"), id, "{format}");
    }
}

/// Requirement: F-images.
#[test]
fn others_read_what_is_saved_and_the_other_way_round() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    let id = import(&sandbox, &[&sandbox.path("tree").display().to_string(), "x"]);
    let at = |name: &str| sandbox.path(name).display().to_string();
    xnet(&sandbox, &["save", "-o", &at("both.tar"), "x"]).expect(0, "");
    xnet(&sandbox, &["save", "--format=oci", "-o", &at("oci.tar"), "x"]).expect(0, "");
    xnet(&sandbox, &["rmi", "x"]).code_is_not(1);
    // As Docker's archive, as a layout, and as a layout with compressed blobs; written back in another form each time.
    xnet(&sandbox, &["load", "-i", &at("both.tar")]).expect(0, "Loaded image: x:latest");
    xnet(&sandbox, &["rmi", "x"]).code_is_not(1);
    for (from, to, name) in [
        ("docker-archive:both.tar", "oci:one:v", "one"),
        ("oci-archive:both.tar", "docker-archive:two:two:1", "two"),
        ("oci-archive:oci.tar", "oci-archive:three:three:1", "three"),
    ] {
        sh(&sandbox, &format!("skopeo --insecure-policy copy -q {from} {to}"));
        xnet(&sandbox, &["load", "-q", "--name", "unnamed", "-i", &at(name)]).expect(0, &id);
    }
    assert_eq!(inspect(&sandbox, "unnamed", "{{json .RepoTags}}"), r#"["three:1","two:1","unnamed:latest"]"#);
}

/// Requirement: S1-O2, S0-L1, S0-L3.
#[test]
fn images_share_layers_which_go_with_the_last_of_them() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    docker_archive(&sandbox, "{}");
    let archive = sandbox.path("old.tar").display().to_string();
    xnet(&sandbox, &["load", "-q", "-i", &archive]).code_is_not(1);
    docker_archive(&sandbox, r#"{"Env":["OTHER=1"]}"#);
    sh(&sandbox, "sed -i 's/old/other/g' old/manifest.json; tar -C old -cf other.tar .");
    let other = sandbox.path("other.tar").display().to_string();
    xnet(&sandbox, &["load", "-q", "-i", &other]).code_is_not(1);
    let layers = names(&sandbox.path("data/layers"));
    assert_eq!(layers.len(), 2, "two images of the same two layers");
    let directory = sandbox.path("data/layers");
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);

    let gone = xnet(&sandbox, &["rmi", "-f", &inspect(&sandbox, "old:1", "{{.Id}}")]);
    assert!(gone.stdout.contains("Untagged: old:1") && gone.stdout.contains("Deleted: sha256:"), "{}", gone.stdout);
    assert_eq!(names(&directory), layers, "the other image needs them");
    xnet(&sandbox, &["rmi", "other:1"]).expect(0, "Untagged: other:1");
    xnet(&sandbox, &["rmi", "quay.io/x/other:2"]).code_is_not(1);
    assert_empty(&sandbox);
    xnet(&sandbox, &["rmi", "other:1"]).expect_refusal(1, "no image is called \"other:1\"");
}

/// Requirement: S0-L2, S0-T2.
#[test]
fn lists_show_what_was_asked_for() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    let tree = sandbox.path("tree").display().to_string();
    let id = import(&sandbox, &[&tree, "one", "-c", "LABEL kind=test"]);
    import(&sandbox, &[&tree, "localhost:5000/two:v"]);
    let short = &id["sha256:".len()..][..12];
    xnet(&sandbox, &["images", "-q", "one"]).expect(0, short);
    xnet(&sandbox, &["images", "--no-trunc", "-q", "-f", "label=kind=test"]).expect(0, &id);
    xnet(&sandbox, &["images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}", "one:latest"])
        .expect(0, "one:latest 6B");
    let all = xnet(&sandbox, &["image", "ls"]).stdout;
    let heading: Vec<&str> =
        all.lines().next().unwrap().split("   ").map(str::trim).filter(|h| !h.is_empty()).collect();
    assert_eq!(heading, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    assert!(all.contains("localhost:5000/two") && all.contains("ago"), "{all}");
    let shown = xnet(&sandbox, &["images", "--tree"]).stdout;
    assert!(shown.contains(&format!("{short}  one:latest  1 layer, 6B")), "{shown}");
    xnet(&sandbox, &["tag", "one", "uno:1"]).expect(0, "");
    assert_eq!(inspect(&sandbox, "uno:1", "{{json .RepoTags}}"), r#"["one:latest","uno:1"]"#);
    xnet(&sandbox, &["tag", "one", "Upper"]).code_is_not(0);
    let history = xnet(&sandbox, &["history", "--format", "{{.ID}} {{.Size}} {{.Comment}}", "one"]);
    history.expect(0, &format!("{short} 6B Imported from {tree}"));
    let missing = xnet(&sandbox, &["image", "inspect", "nothing"]);
    assert_eq!((missing.code, missing.stdout.trim()), (1, "[]"));
}

/// Requirement: S3-4.
#[test]
fn an_image_is_exported_as_its_containers_see_it() {
    let sandbox = Sandbox::new();
    sh(&sandbox, "mkdir -p low/d low/gone up/d; echo 1 > low/d/a; echo 2 > low/d/b; echo 3 > up/d/b; touch up/d/.wh.a up/.wh.gone
        tar -C low -cf 1.tar .; tar -C up -cf 2.tar .; for n in 1 2; do echo sha256:$(sha256sum < $n.tar | cut -d' ' -f1) > $n.id; done
        printf '{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}' $(cat 1.id 2.id) > c.json
        echo '[{\"Config\":\"c.json\",\"RepoTags\":[\"x\"],\"Layers\":[\"1.tar\",\"2.tar\"]}]' > manifest.json
        tar -cf in.tar manifest.json c.json 1.tar 2.tar");
    xnet(&sandbox, &["load", "-q", "-i", &sandbox.path("in.tar").display().to_string()]).code_is_not(1);
    xnet(&sandbox, &["image", "export", "x", "-o", &sandbox.path("out.tar").display().to_string()]).expect(0, "");
    assert_eq!(sh(&sandbox, "tar -tf out.tar"), "./\n./d/\n./d/b");
    assert_eq!(sh(&sandbox, "tar -xOf out.tar ./d/b"), "3");
}

/// Requirement: P-15, P-16, P-18, P-19, P-20.
#[test]
fn what_is_refused_leaves_nothing() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    let at = |name: &str| sandbox.path(name).display().to_string();
    let refused = |args: &[&str], why: &str| {
        xnet(&sandbox, args).expect_refusal(1, why);
        xnet(&sandbox, &["images", "-q"]).expect(0, "");
        // Complete blobs may wait for another try until somebody prunes; nothing else may.
        assert_eq!(names(&sandbox.path("data/images/tmp")), BTreeSet::new());
        assert_eq!(names(&sandbox.path("data/layers")), BTreeSet::new());
        xnet(&sandbox, &["image", "prune"]).code_is_not(1);
        assert_empty(&sandbox);
    };
    sh(
        &sandbox,
        "tar -C tree -P --transform 's,^etc,../etc,' -cf out.tar etc; mkdir w; touch w/.wh.; tar -C w -cf wh.tar .wh.
        head -c 5000000 /dev/zero > zeros; tar -cf - zeros | gzip > bomb.tar.gz; echo text > not.tar; mkdir empty",
    );
    refused(&["import", &at("out.tar"), "x"], "could lead out of the layer");
    refused(&["import", &at("wh.tar"), "x"], "whiteout of nothing");
    refused(
        &["import", "--max-size=1m", &at("bomb.tar.gz"), "x"],
        "more than 1048576 bytes (--max-size raises the limit)",
    );
    refused(&["import", "--max-entries=2", &at("tree"), "x"], "more than 2 entries");
    refused(&["import", &at("not.tar"), "x"], "");
    refused(&["import", "-c", "ENV =x", &at("tree"), "x"], "ENV =x");
    refused(&["import", &at("nothing"), "x"], "No such file");
    refused(&["load", "-i", &at("not.tar")], "not a tar");
    refused(&["load", "-i", &at("empty")], "neither an OCI layout");
    for (config, why) in [
        (r#"{"Env":["A"]}"#, "NAME=VALUE"),
        (r#"{"WorkingDir":"../x"}"#, "not absolute"),
        (r#"{"Volumes":{"/a/../../b":{}}}"#, "volume"),
    ] {
        docker_archive(&sandbox, config);
        refused(&["load", "-i", &at("old.tar")], why);
    }
    docker_archive(&sandbox, "{}");
    sh(&sandbox, "head -c 5000000 /dev/zero | tr '\\0' ' ' >> old/config.json; tar -C old -cf big.tar .");
    refused(&["load", "-i", &at("big.tar")], "longer than 4194304 bytes");
    docker_archive(&sandbox, "{}");
    sh(&sandbox, "tar -C tree -cf old/abc/layer.tar bin; tar -C old -cf wrong.tar .");
    refused(&["load", "-i", &at("wrong.tar")], "was promised");
    assert!(!sandbox.path("../etc/motd").exists());
}

/// Requirement: P-18.
#[test]
fn a_blob_that_is_not_what_it_is_called_is_refused() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    import(&sandbox, &[&sandbox.path("tree").display().to_string(), "x"]);
    xnet(&sandbox, &["save", "--format=oci", "-o", &sandbox.path("x.tar").display().to_string(), "x"]).expect(0, "");
    xnet(&sandbox, &["rmi", "x"]).code_is_not(1);
    // Each blob in turn: longer, shorter, other bytes.
    let damages = ["echo >> $b", "truncate -s -1 $b", "sed -i '1s/^./X/' $b", "rm $b", "rm $b; ln -s /etc/passwd $b"];
    for damage in damages {
        for n in 1..=3 {
            sh(
                &sandbox,
                &format!("rm -rf l; mkdir l; tar -C l -xf x.tar; b=$(ls -d l/blobs/sha256/* | sed -n {n}p); {damage}"),
            );
            let ended = xnet(&sandbox, &["load", "-i", &sandbox.path("l").display().to_string()]);
            assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{damage} {n}: {}", ended.stderr);
            xnet(&sandbox, &["image", "prune"]).code_is_not(1);
            assert_empty(&sandbox);
        }
    }
}

/// Requirement: P-35.
#[test]
fn an_import_that_is_killed_leaves_nothing_that_stays() {
    let sandbox = Sandbox::new();
    tree(&sandbox);
    let tree = sandbox.path("tree").display().to_string();
    for point in ["blob-placed", "layers-synced", "layers-placed"] {
        let killed = Ended::of(sandbox.command(&["import", &tree, "x"]).env("XNET_CRASH_AT", point));
        assert_eq!((killed.code, killed.stdout.as_str()), (-1, ""), "{point}");
        xnet(&sandbox, &["images", "-q"]).expect(0, "");
        xnet(&sandbox, &["image", "prune"]).code_is_not(1);
        assert_empty(&sandbox);
        let failed = Ended::of(sandbox.command(&["import", &tree, "x"]).env("XNET_FAIL_AT", point));
        assert_eq!(failed.code, 1, "{point}");
        import(&sandbox, &[&tree, "x"]);
        assert_eq!(names(&sandbox.path("data/images/tmp")), BTreeSet::new());
        xnet(&sandbox, &["rmi", "x"]).code_is_not(1);
        assert_empty(&sandbox);
    }
}
