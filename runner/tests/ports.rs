//! Published ports.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use node::{SERVER, address, ask, ask_by, connected, end, inside, ip, lan, netns, node, xnet};
use sandbox::{Ended, Sandbox};

/// Requirement: S4-5.
#[test]
fn a_published_port_is_reached_from_everywhere() {
    let sandbox = node();
    lan();
    ip("-n lan route add default via 192.0.2.1");
    let server = sandbox.start(&["-p", "8080:80", "--name", "web"], SERVER);
    let own = address(&sandbox).to_string();
    assert_eq!(ask("127.0.0.1:8080"), "hello", "by 127.0.0.1");
    assert_eq!(ask("192.0.2.1:8080"), "hello", "by the host's own address");
    assert_eq!(ask("10.213.0.1:8080"), "hello", "by the bridge's address");
    assert_eq!(ask(&format!("{own}:80")), "hello", "directly");
    assert_eq!(ask_by("ip netns exec lan", "192.0.2.1", 8080), "hello", "from a machine on the LAN");
    let look = "i=0; while [ $i -lt 100 ]; do r=$(busybox nc -w 1 192.0.2.1 8080 </dev/null 2>/dev/null); \
                [ -n \"$r\" ] && echo $r && exit; i=$((i+1)); sleep 0.02; done";
    sandbox.run(&["--net=container:web"], &["sh", "-c", look]).expect(0, "hello");
    sandbox.run(&[], &["sh", "-c", look]).expect(0, "hello");
    xnet(&sandbox, &["port", "web"]).expect(0, "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
    xnet(&sandbox, &["port", "web", "80"]).expect(0, "0.0.0.0:8080\n[::]:8080");
    xnet(&sandbox, &["port", "web", "81/udp"]).expect_refusal(1, "does not publish port 81/udp");
    end(server);
    assert!(TcpListener::bind("0.0.0.0:8080").is_ok(), "the port is still held");
    assert_no_elements();
}

/// Requirement: S4-5.
#[test]
fn a_published_port_is_reached_over_ipv6() {
    let sandbox = node();
    lan();
    ip("-n lan -6 route add default via 2001:db8::1");
    let server = sandbox.start(&["-p", "8080:80"], "echo up; exec sleep 1000");
    let listener = inside(&netns(&connected(&sandbox)), || TcpListener::bind("[::]:80").unwrap()).join().unwrap();
    let client = inside("/run/netns/lan".as_ref(), || TcpStream::connect("[2001:db8::1]:8080").unwrap());
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip().to_string(), "2001:db8::9");
    client.join().unwrap();
    end(server);
}

fn assert_no_elements() {
    let rules = Ended::of(Command::new("nft").args(["list", "table", "inet", "xnet_portmap"])).stdout;
    assert!(!rules.contains("elements"), "{rules}");
}

/// Requirement: S4-5, N-9.
#[test]
fn a_taken_port_is_told_at_start_and_nothing_runs() {
    let sandbox = node();
    let taken = TcpListener::bind("127.0.0.1:8080").unwrap();
    let run = |publish: &str| sandbox.run(&["-p", publish], &["echo", "ran"]);
    run("8080:80").expect_refusal(125, "port 8080/tcp of the host is taken at 0.0.0.0:8080");
    drop(taken);
    let first = sandbox.start(&["-p", "8080:80"], "echo up; exec sleep 1000");
    run("127.0.0.1:8080:81").expect_refusal(125, "port 8080/tcp of the host is taken at 127.0.0.1:8080");
    run("192.0.2.77:8081:81").expect_refusal(125, "this host has no address at 192.0.2.77:8081");
    run("8080:80/udp").expect(0, "ran");
    assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "somebody else can have the port of a container");
    end(first);
    run("8080:80").expect(0, "ran");
    sandbox.assert_clean();
    assert_no_elements();
}

/// Requirement: S0-A1, S4-5, N-9.
#[test]
fn a_port_is_held_again_after_the_death_of_the_monitor() {
    let sandbox = node();
    let id = sandbox.detach(&["-p", "8080:80", "-p", "127.0.0.1:5353:53/udp", "--name=web"], &["sleep", "1000"]);
    let before = sandbox.info(&id);
    sandbox::kill(&before["monitor"]["pid"]);
    xnet(&sandbox, &["ps", "--format", "{{.Names}}"]).expect(0, "web");
    let taken = || {
        TcpListener::bind("0.0.0.0:8080").is_err()
            && TcpListener::bind("[::]:8080").is_err()
            && UdpSocket::bind("127.0.0.1:5353").is_err()
    };
    sandbox::eventually("the ports are held again", taken);
    // The next run takes the same ones.
    xnet(&sandbox, &["restart", "-t", "0", "web"]).expect(0, "web");
    assert!(taken());
    xnet(&sandbox, &["rm", "-f", "web"]).expect(0, "web");
    assert!(TcpListener::bind("0.0.0.0:8080").is_ok(), "the port is still held");
    sandbox.assert_clean();
}

/// Requirement: N-9.
#[test]
fn a_port_at_one_address_is_at_no_other() {
    let sandbox = node();
    lan();
    let server = sandbox.start(&["-p", "127.0.0.1:8080:80"], SERVER);
    assert_eq!(ask("127.0.0.1:8080"), "hello");
    // Straight at the host's loopback from the wire, which route_localnet alone would let through.
    ip("-n lan route add 127.0.0.1/32 via 192.0.2.1 src 192.0.2.9 table local");
    let probe = |address: &str| {
        let words = format!("netns exec lan busybox nc -w 1 {address} 8080");
        Ended::of(Command::new("ip").args(words.split(' ')).stdin(std::process::Stdio::null())).stdout
    };
    assert_eq!(probe("192.0.2.1"), "");
    assert_eq!(probe("127.0.0.1"), "");
    end(server);
}

/// Requirement: S4-5, F-ports.
#[test]
fn free_ports_ranges_and_exposed_ports() {
    let sandbox = node();
    let _taken = TcpListener::bind("0.0.0.0:8000").unwrap();
    let options = ["-p", "80", "-p", "8000-8003:81", "-p", "9000-9001:90-91/udp", "-P", "--expose", "100-101/tcp"];
    let running = sandbox.start(&options, "echo up; exec sleep 1000");
    let ports = connected(&sandbox)["ports"].as_array().unwrap().clone();
    let host = |n: usize| ports[n]["host_port"].as_u64().unwrap();
    assert_eq!(ports.len(), 6);
    assert!(host(0) > 1023);
    assert_eq!((host(1), host(2), host(3)), (8001, 9000, 9001));
    assert_eq!((ports[4]["container_port"].as_u64(), ports[5]["container_port"].as_u64()), (Some(100), Some(101)));
    assert!(host(4) > 1023 && host(5) > 1023 && host(4) != host(5));
    end(running);
}

/// Requirement: S4-5.
#[test]
fn udp_ports_lead_to_the_container_that_has_them_now() {
    let sandbox = node();
    let serve = || {
        let running = sandbox.start(&["-p", "5300:53/udp"], "echo up; exec sleep 1000");
        let bind = inside(&netns(&connected(&sandbox)), || UdpSocket::bind("0.0.0.0:53").unwrap());
        (running, bind.join().unwrap())
    };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let reaches = |socket: &UdpSocket| {
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        client.send_to(b"?", "127.0.0.1:5300").unwrap();
        socket.recv_from(&mut [0; 16]).is_ok()
    };
    let (first, socket) = serve();
    assert!(reaches(&socket));
    end(first);
    // The same client asks again: a flow that was remembered would lead to the first one's address.
    let (second, socket) = serve();
    assert!(reaches(&socket));
    end(second);
}

/// Requirement: NET-H2.
#[test]
fn ports_are_discarded_with_a_warning_where_there_is_no_network() {
    let sandbox = node();
    for mode in ["host", "none"] {
        let ended = sandbox.run(&[&format!("--net={mode}"), "-p", "8080:80"], &["echo", "ran"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "ran\n"));
        assert!(ended.stderr.contains("published ports are discarded"), "{}", ended.stderr);
    }
    assert_free(&sandbox);
}

fn assert_free(sandbox: &Sandbox) {
    assert!(TcpListener::bind("0.0.0.0:8080").is_ok());
    sandbox.assert_clean();
}
