//! Images come from a registry and go there: Debian's own, on loopback in the test's network namespace.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a registry that cannot be started is a failed test")]

mod sandbox;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use sandbox::{Ended, Sandbox};

/// A registry that knows the image `x:1`, which it got in the directory where it keeps its own.
struct Registry {
    child: Child,
}

impl Registry {
    /// Starts one; with `login`, it wants to be told a name and a password.
    fn start(sandbox: &Sandbox, login: bool) -> Self {
        sh(sandbox, "ip link set lo up");
        let auth = if login { "auth: {htpasswd: {realm: test, path: htpasswd}}" } else { "" };
        fs::write(sandbox.path("htpasswd"), "me:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n")
            .unwrap();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: registry}}}}\nhttp: {{addr: ':5000'}}\n{auth}\n"
        );
        fs::write(sandbox.path("registry.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.args(["serve", "registry.yml"]).current_dir(sandbox.path("")).stdin(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("Debian's docker-registry");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("listening on")), "the registry did not start");
        // What it says later must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sh(sandbox: &Sandbox, script: &str) -> String {
    let ended = Ended::of(Command::new("sh").args(["-ec", script]).current_dir(sandbox.path("")));
    assert_eq!(ended.code, 0, "{script}: {}", ended.stderr);
    ended.stdout.trim().to_owned()
}

fn xnet(sandbox: &Sandbox, args: &[&str]) -> Ended {
    run(sandbox, sandbox.command(args))
}

fn run(sandbox: &Sandbox, mut command: Command) -> Ended {
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    Ended::of(command.env("DOCKER_CONFIG", sandbox.path("docker")).env_remove("REGISTRY_AUTH_FILE"))
}

fn id(sandbox: &Sandbox, name: &str) -> String {
    xnet(sandbox, &["image", "inspect", "-f", "{{.Id}}", name]).stdout.trim().to_owned()
}

/// Puts an image of a small tree into the registry's directory, and gives its id. Its manifest is also in an index,
/// beside one for another machine, under the tag `many`.
fn stock(sandbox: &Sandbox) -> String {
    sh(sandbox, "mkdir -p tree/etc; echo hello > tree/etc/motd");
    let tree = sandbox.path("tree").display().to_string();
    xnet(sandbox, &["import", &tree, "x", "-c", "CMD [\"sh\"]"]).code_is_not(125);
    let id = id(sandbox, "x");
    let archive = sandbox.path("x.tar").display().to_string();
    xnet(sandbox, &["save", "--format=oci", "-o", &archive, "x"]).expect(0, "");
    xnet(sandbox, &["rmi", "x"]).code_is_not(1);
    sh(
        sandbox,
        r#"
        mkdir layout; tar -C layout -xf x.tar; r=registry/docker/registry/v2; repo=$r/repositories/x
        m=$(sed 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/' layout/index.json); size=$(stat -c %s layout/blobs/sha256/$m)
        t=application/vnd.oci.image.manifest.v1+json; none=$(printf '%064d' 0)
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"%s","digest":"sha256:%s","size":9,"platform":{"architecture":"s390x","os":"linux"}},{"mediaType":"%s","digest":"sha256:%s","size":%d,"platform":{"architecture":"amd64","os":"linux"}},{"mediaType":"%s","digest":"sha256:%s","size":%d,"platform":{"architecture":"arm64","os":"linux"}}]}' $t $none $t $m $size $t $m $size > index
        i=$(sha256sum < index | cut -d' ' -f1); cp index layout/blobs/sha256/$i
        put() { mkdir -p $1; printf sha256:$2 > $1/link; }
        for b in $(ls layout/blobs/sha256); do
            d=$r/blobs/sha256/$(printf %.2s $b)/$b; mkdir -p $d; cp layout/blobs/sha256/$b $d/data; put $repo/_layers/sha256/$b $b
        done
        for d in $m $i; do put $repo/_manifests/revisions/sha256/$d $d; done
        put $repo/_manifests/tags/1/current $m; put $repo/_manifests/tags/many/current $i; mkdir -p $repo/_uploads"#,
    );
    id
}

/// Requirement: F-pull, S4-10.
#[test]
fn an_image_is_pulled_once_and_then_known() {
    let sandbox = Sandbox::new();
    let id_there = stock(&sandbox);
    let _registry = Registry::start(&sandbox, false);
    let first = xnet(&sandbox, &["pull", "localhost:5000/x:1"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(
        first.stdout.starts_with("Digest: sha256:") && first.stdout.ends_with("localhost:5000/x:1\n"),
        "{}",
        first.stdout
    );
    assert_eq!(first.stderr.matches("fetching").count(), 2, "a layer and a configuration: {}", first.stderr);
    assert_eq!(id(&sandbox, "localhost:5000/x:1"), id_there);
    // Nothing is fetched twice, by whichever name.
    let again = xnet(&sandbox, &["image", "pull", "127.0.0.1:5000/x:many"]);
    assert_eq!((again.code, again.stderr.as_str()), (0, ""));
    assert_eq!(id(&sandbox, "127.0.0.1:5000/x:many"), id_there);
    let digests =
        xnet(&sandbox, &["image", "inspect", "-f", "{{range .RepoDigests}}{{println .}}{{end}}", &id_there[7..19]])
            .stdout;
    let pinned = digests.lines().find(|line| line.starts_with("localhost:5000/x@sha256:")).expect("where it came from");
    xnet(&sandbox, &["rmi", "-f", &id_there]).code_is_not(1);
    xnet(&sandbox, &["pull", "-q", pinned]).expect(0, pinned);
    assert_eq!(id(&sandbox, pinned), id_there);
}

/// Requirement: F-pull, P-18.
#[test]
fn what_a_registry_does_not_have_or_has_wrong_is_told() {
    let sandbox = Sandbox::new();
    let id_there = stock(&sandbox);
    let _registry = Registry::start(&sandbox, false);
    let refused = |args: &[&str], why: &str| {
        let ended = xnet(&sandbox, args);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        xnet(&sandbox, &["images", "-q"]).expect(0, "");
    };
    refused(&["pull", "localhost:5000/x:2"], "no such image");
    refused(&["pull", "localhost:5001/x"], "Connection refused");
    refused(
        &["pull", "--platform=linux/riscv64", "localhost:5000/x:many"],
        "no image for linux/riscv64; there are images for: linux/s390x, linux/amd64, linux/arm64",
    );
    // A layer that was changed where it is kept. The blob that was good need not come again.
    let layer = sh(&sandbox, "for b in layout/blobs/sha256/*; do head -c1 $b | grep -q '{' || basename $b; done");
    let data = sandbox.path(&format!("registry/docker/registry/v2/blobs/sha256/{}/{layer}/data", &layer[..2]));
    let good = fs::read(&data).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&data, &bad).unwrap();
    refused(&["pull", "localhost:5000/x:1"], "igest");
    fs::write(&data, &good).unwrap();
    xnet(&sandbox, &["pull", "-q", "localhost:5000/x:1"]).expect(0, "localhost:5000/x:1");
    assert_eq!(id(&sandbox, "localhost:5000/x:1"), id_there);
}

/// Requirement: F-pull.
#[test]
fn a_registry_that_wants_to_know_us_is_told_who_we_are() {
    let sandbox = Sandbox::new();
    stock(&sandbox);
    let _registry = Registry::start(&sandbox, true);
    let name = "localhost:5000/x:1";
    let refused = xnet(&sandbox, &["pull", name]);
    assert!(refused.code == 1 && refused.stderr.contains("login"), "{}", refused.stderr);
    assert_eq!(xnet(&sandbox, &["pull", "--creds=me:wrong", name]).code, 1);
    xnet(&sandbox, &["pull", "-q", "--creds=me:secret", name]).expect(0, name);
    xnet(&sandbox, &["rmi", name]).code_is_not(1);
    fs::create_dir(sandbox.path("docker")).unwrap();
    fs::write(sandbox.path("docker/config.json"), r#"{"auths":{"localhost:5000":{"auth":"bWU6c2VjcmV0"}}}"#).unwrap();
    xnet(&sandbox, &["pull", "-q", name]).expect(0, name);
}

/// An image of two layers, called `x`, and its id.
fn make(sandbox: &Sandbox) -> String {
    sh(sandbox, "mkdir -p tree/etc; echo hello > tree/etc/motd; cp /bin/busybox tree/etc");
    xnet(sandbox, &["import", &sandbox.path("tree").display().to_string(), "base"]).code_is_not(125);
    xnet(sandbox, &["create", "--net=none", "--name=c", "base", "/etc/busybox", "true"]).code_is_not(125);
    xnet(sandbox, &["cp", &sandbox.path("tree/etc/motd").display().to_string(), "c:/added"]).expect(0, "");
    xnet(sandbox, &["commit", "c", "x"]).code_is_not(1);
    xnet(sandbox, &["rm", "c"]).expect(0, "c");
    id(sandbox, "x")
}

/// Requirement: F-pull, S4-10.
#[test]
fn an_image_is_pushed_once_and_comes_back_as_it_was() {
    let sandbox = Sandbox::new();
    let made = make(&sandbox);
    let _registry = Registry::start(&sandbox, false);
    let push = |args: &[&str]| {
        let ended = xnet(&sandbox, &[&["push"], args].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let count = |what: &str| ended.stderr.matches(what).count();
        (ended.stdout.clone(), count("sending"), count("has it"))
    };
    let (said, sent, there) = push(&["x", "localhost:5000/a/y:1"]);
    let digest = said.lines().next().and_then(|line| line.strip_prefix("Digest: ")).expect("a digest").to_owned();
    assert_eq!((said, sent, there), (format!("Digest: {digest}\nlocalhost:5000/a/y:1\n"), 3, 0));
    // Nothing is sent twice, not even for another repository of the registry, or for the image below.
    assert_eq!(push(&["x", "localhost:5000/a/y:2"]).1, 0);
    assert_eq!(push(&["x", "localhost:5000/z"]).1, 0);
    xnet(&sandbox, &["tag", "base", "localhost:5000/a/y:base"]).expect(0, "");
    let (_, sent, there) = push(&["localhost:5000/a/y:base"]);
    assert_eq!((sent, there), (1, 1), "its configuration is its own, its layer is there");
    assert_eq!(push(&["-q", "x", "localhost:5000/z"]).0, format!("{digest}\n"));
    // Into another store.
    let other = |args: &[&str]| {
        let mut command = sandbox.command(args);
        command.env("XNET_ROOT", sandbox.path("other"));
        run(&sandbox, command)
    };
    for name in [format!("localhost:5000/z@{digest}"), "localhost:5000/a/y:2".to_owned()] {
        let pulled = other(&["pull", &name]);
        assert_eq!((pulled.code, pulled.stdout), (0, format!("Digest: {digest}\n{name}\n")), "{}", pulled.stderr);
        other(&["image", "inspect", "-f", "{{.Id}}", &name]).expect(0, &made);
    }
    let tree = |command: Ended| (command.code, command.stdout);
    assert_eq!(
        tree(other(&["image", "export", "localhost:5000/a/y:2"])),
        tree(xnet(&sandbox, &["image", "export", "x"]))
    );
    // Somebody else reads the same.
    let seen = "skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://localhost:5000/a/y:1";
    assert_eq!(sh(&sandbox, seen), digest);
    let taken = "skopeo --insecure-policy copy --src-tls-verify=false docker://localhost:5000/a/y:1 oci:taken:x >&2; \
        sed 's/.*\"digest\":\"\\(sha256:[0-9a-f]*\\)\".*/\\1/' taken/index.json";
    assert_eq!(sh(&sandbox, taken), digest);
    let digests = xnet(&sandbox, &["image", "inspect", "-f", "{{json .RepoDigests}}", "x"]).stdout;
    assert!(digests.contains(&format!("localhost:5000/a/y@{digest}")), "{digests}");
}

/// Requirement: F-pull, P-18.
#[test]
fn what_cannot_be_pushed_is_refused() {
    let sandbox = Sandbox::new();
    let made = make(&sandbox);
    let _registry = Registry::start(&sandbox, true);
    let refused = |args: &[&str], why: &str| {
        let ended = xnet(&sandbox, &[&["image", "push"], args].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    };
    let name = "localhost:5000/y:1";
    refused(&["absent", name], "absent");
    refused(&[&made[7..19]], "say where to");
    refused(&["x", &format!("localhost:5000/y@{made}")], "pinned by a digest");
    refused(&["x", "localhost:5001/y"], "Connection refused");
    refused(&["x", name], "login");
    refused(&["--creds=me:wrong", "x", name], "login");
    // The registry is not encrypted, which only this machine may do without.
    sh(&sandbox, "ip address add 10.9.9.9/32 dev lo");
    refused(&["--creds=me:secret", "x", "10.9.9.9:5000/y"], "plain HTTP, which --tls-verify=false allows");
    assert!(!sandbox.path("registry/docker").exists(), "something was sent");
    for options in
        [&["--creds=me:secret", "x", name][..], &["--creds=me:secret", "--tls-verify=false", "x", "10.9.9.9:5000/y"]]
    {
        assert_eq!(xnet(&sandbox, &[&["push", "-q"], options].concat()).code, 0);
    }
}
