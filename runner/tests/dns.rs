//! Names: /etc/hosts, /etc/hostname and /etc/resolv.conf.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;

use nix::mount::{MsFlags, mount};
use node::{address, end, ip, node};
use sandbox::Sandbox;

const ADDRESS: &str = "ip -o -4 addr show eth0 | awk '{print $4}' | cut -d/ -f1; exec sleep 1000";

/// Shows `text` at `path` of the host, for this test.
fn shadow(sandbox: &Sandbox, path: &str, text: &str) {
    let own = sandbox.path(&path.replace('/', "_"));
    fs::write(&own, text).unwrap();
    mount(Some(&own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Requirement: F-dns.
#[test]
fn resolvers_on_the_hosts_loopback_are_for_the_host_alone() {
    let sandbox = node();
    shadow(&sandbox, "/etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch example.org\n");
    let resolv = |options: &[&str]| sandbox.run(options, &["cat", "/etc/resolv.conf"]);
    resolv(&[]).expect(0, "nameserver 192.0.2.53\nsearch example.org");
    resolv(&["--net=none"]).expect(0, "nameserver 192.0.2.53\nsearch example.org");
    resolv(&["--net=host"]).expect(0, "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch example.org");
    let asked = ["--dns=9.9.9.9", "--dns-search=a.example", "--dns-search=b.example", "--dns-option=ndots:2"];
    resolv(&asked).expect(0, "search a.example b.example\noptions ndots:2\nnameserver 9.9.9.9");
    resolv(&["--dns-search=."]).expect(0, "nameserver 192.0.2.53");
    resolv(&["--dns-search", "a b"]).expect_refusal(125, "it is one word of resolv.conf");
}

/// Requirement: F-dns.
#[test]
fn where_all_servers_are_on_the_loopback_those_behind_them_are_taken() {
    let sandbox = node();
    shadow(&sandbox, "/etc/resolv.conf", "nameserver 127.0.0.53\n");
    fs::create_dir_all("/run/systemd/resolve").unwrap();
    fs::write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.54\n").unwrap();
    sandbox.run(&[], &["cat", "/etc/resolv.conf"]).expect(0, "nameserver 192.0.2.54");
}

/// Requirement: NET-H3, S0-U1.
#[test]
fn the_hosts_files_in_host_mode() {
    let sandbox = node();
    shadow(&sandbox, "/etc/hosts", "127.0.0.1 localhost\n192.0.2.5 box");
    let hosts = |options: &[&str]| sandbox.run(&[&["--net=host"], options].concat(), &["cat", "/etc/hosts"]);
    hosts(&[]).expect(0, "127.0.0.1 localhost\n192.0.2.5 box");
    hosts(&["--add-host=db:10.0.0.7"]).expect(0, "127.0.0.1 localhost\n192.0.2.5 box\n10.0.0.7\tdb");
}

/// Requirement: S0-U1, F-dns.
#[test]
fn a_container_knows_itself_and_what_it_is_told() {
    let sandbox = node();
    let options =
        ["--hostname=web", "--domainname=example.org", "--add-host=db:10.0.0.7", "--add-host=up:host-gateway"];
    let script = "cat /etc/hostname /proc/sys/kernel/domainname; grep -E 'web|db|up' /etc/hosts";
    let expected = "web\nexample.org\n10.0.0.7\tdb\n10.213.0.1\tup\n\
                    10.213.0.2\tweb.example.org web\nfd5c:7ae1:90b3::2\tweb.example.org web";
    sandbox.run(&options, &["sh", "-c", script]).expect(0, expected);
    sandbox.run(&["--add-host=db"], &["true"]).code_is_not(0);
    // The files belong to the container also where its root does not.
    sandbox.run(&[], &["sh", "-c", "echo '1.2.3.4 x' >> /etc/hosts && tail -1 /etc/hosts"]).expect(0, "1.2.3.4 x");
    sandbox.assert_clean();
}

/// Requirement: F-dns, T14.
#[test]
fn containers_find_each_other_by_name_as_they_come_and_go() {
    let sandbox = node();
    let script = "echo up; while read name; do echo $(grep -w $name /etc/hosts | grep -v : | awk '{print $1}'); done";
    let mut web = sandbox.start(&["--name=web", "--network-alias=www"], script);
    let first = address(&sandbox).to_string();
    let look = |name: &str| sandbox.run(&[], &["sh", "-c", &format!("getent hosts {name} | awk '{{print $1}}'")]);
    let found = look("web").stdout;
    assert!(found.contains(':') || found.trim() == first, "{found}");
    look("nobody").expect(0, "");
    let db = sandbox.start(&["--name=db", "--hostname=database"], ADDRESS);
    // The neighbour hears of it after the command was executed; nothing says when.
    let ask = |web: &mut sandbox::Running, name: &str, expected: &str| {
        (0..100).any(|_| {
            web.say(name);
            web.line() == expected || {
                std::thread::sleep(std::time::Duration::from_millis(10));
                false
            }
        })
    };
    assert!(ask(&mut web, "db", &db.first), "db is not known by its name");
    assert!(ask(&mut web, "database", &db.first), "db is not known by its host name");
    end(db);
    assert!(ask(&mut web, "db", ""), "db is gone, and still known");
    web.end_input();
    assert_eq!(web.wait(), 0);
    sandbox.assert_clean();
}

/// Requirement: NET-C3.
#[test]
fn a_container_that_shares_a_network_shares_its_names() {
    let sandbox = node();
    let web = sandbox.start(&["--name=web", "--hostname=web", "--dns=9.9.9.9"], "echo up; exec sleep 1000");
    let joined = |script: &str| sandbox.run(&["--net=container:web"], &["sh", "-c", script]);
    joined("hostname; cat /etc/hostname /etc/resolv.conf | tail -2").expect(0, "web\nweb\nnameserver 9.9.9.9");
    joined("echo 1.2.3.4 x >> /etc/hosts").expect(0, "");
    joined("tail -1 /etc/hosts").expect(0, "1.2.3.4 x");
    assert!(ip("-o link").contains("xnet0"));
    end(web);
    sandbox.assert_clean();
}
