//! Against the kernel, `nft`, both iptables and the Go suite, in private namespaces.

mod iptables;
mod nftables;
mod packets;

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use kernel::netns::NetNs;
use kernel::plan::Applied;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs `work` in a network namespace of its own, with folders of its own where the tools keep state.
pub(crate) fn namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let guest = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces need root");
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            for folder in ["/run", "/var/lib"] {
                mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
            }
            work()
        });
        guest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a shell line, which must succeed, and returns what it prints.
pub(crate) fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Calls the Go suite's bridge plugin for `cid1` in network `n1`, in the namespace `container`. `config` is the rest of
/// its configuration.
pub(crate) fn go_bridge(verb: &str, config: &str) {
    let config = format!(r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "bridge", "bridge": "br0", {config}}}"#);
    let mut child = Command::new("/usr/lib/cni/bridge")
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", "cid1")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", "/run/netns/container")
        .env("CNI_PATH", "/usr/lib/cni")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Go suite is installed");
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stdout));
}

fn owner(net: &str, id: &str, ifname: &str) -> Owner {
    Owner::new(net.parse().unwrap(), id.parse().unwrap(), ifname.parse().unwrap())
}

fn ips(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// As ADD does it.
fn add(backend: Backend, owner: &Owner, addresses: &[&str]) -> Applied {
    let mut done = Applied::default();
    plan(backend, owner, &ips(addresses)).apply(&mut Machine::host_only(), &mut done).unwrap();
    done
}

/// As CHECK does it: what is missing.
fn check(backend: Backend, owner: &Owner, addresses: &[&str]) -> Option<String> {
    plan(backend, owner, &ips(addresses)).check(&mut Machine::host_only()).err().map(|deviation| deviation.to_string())
}

/// As DEL does it.
fn del(owner: &Owner, known: &[&str]) {
    remove(&mut Machine::host_only(), owner, &addresses(known)).unwrap();
}

/// As GC does it.
fn collect(net: &str, valid: &[(&str, &str)]) {
    let valid = ValidAttachments::new(valid.iter().copied());
    gc(&mut Machine::host_only(), &net.parse().unwrap(), &valid).unwrap();
}

#[test]
fn back_ends_are_known_by_name() {
    assert_eq!(Backend::parse(None).unwrap(), Backend::Nftables);
    assert_eq!(Backend::parse(Some("nftables")).unwrap(), Backend::Nftables);
    assert_eq!(Backend::parse(Some("iptables")).unwrap(), Backend::Iptables);
    assert_eq!(Backend::parse(Some("zork")).unwrap_err().to_string(), "unknown ipmasq backend \"zork\"");
    assert_eq!(Backend::parse(Some("")).unwrap_err().to_string(), "unknown ipmasq backend \"\"");
}

#[test]
fn plans_print_as_commands() {
    let owner = owner("n1", "cid1", "eth0");
    let addresses = ips(&["10.77.0.2/24", "fd00::2/64"]);
    assert_eq!(
        plan(Backend::Nftables, &owner, &addresses).to_string(),
        "nft create element inet xnet_masq net-10.77.0.0/24 { 10.77.0.2 comment \
         \"43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1\" }\n\
         nft create element inet xnet_masq net-fd00__/64 { fd00::2 comment \
         \"43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1\" }\n"
    );
    assert_eq!(
        plan(Backend::Iptables, &owner, &addresses[..1]).to_string(),
        r#"iptables -t nat -N CNI-ca7a875c2b85fc44a855128b
iptables -t nat -I CNI-ca7a875c2b85fc44a855128b -d 10.77.0.0/24 -m comment --comment "name: \"n1\" id: \"cid1\"" -j ACCEPT
iptables -t nat -A CNI-ca7a875c2b85fc44a855128b ! -d 224.0.0.0/4 -m comment --comment "name: \"n1\" id: \"cid1\"" -j MASQUERADE
iptables -t nat -A POSTROUTING -s 10.77.0.2/32 -m comment --comment "name: \"n1\" id: \"cid1\"" -j CNI-ca7a875c2b85fc44a855128b
"#
    );
    assert_eq!(plan(Backend::Iptables, &owner, &[]).to_string(), "");
    assert_eq!(plan(Backend::Nftables, &owner, &[]).to_string(), "");
}

#[test]
fn nothing_left_means_nothing_to_do() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        del(&owner, &[]);
        del(&owner, &["10.77.0.2", "fd00::2"]);
        collect("n1", &[]);
        assert_eq!(shell("nft list ruleset"), "");
        assert_eq!(shell("cat /proc/thread-self/net/ip_tables_names"), "");
    });
}

#[test]
fn this_kernel_can_masquerade() {
    status().unwrap();
}

/// The configuration may have changed between ADD and DEL.
#[test]
fn either_back_end_is_taken_down() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        for known in [&["10.77.0.2"][..], &[]] {
            add(Backend::Nftables, &owner, &["10.77.0.2/24"]);
            add(Backend::Iptables, &owner, &["10.77.0.2/24"]);
            del(&owner, known);
            let left = shell("nft list ruleset");
            assert!(!left.contains("cid1") && !left.contains("CNI-"), "{left}");
        }
    });
}
