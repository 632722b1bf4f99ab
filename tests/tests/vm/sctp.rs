//! SCTP through a port mapping, between kernels that speak it: an association, and data both ways.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use harness::{Chain, Node, short_chain};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

const IPPROTO_SCTP: i32 = 132;
const OUTSIDE: u16 = 8080;
const INSIDE: u16 = 7000;
/// A minute is what a lost packet and its repetitions may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A one-to-one style socket, which is used like one of TCP (RFC 6458, section 4).
fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::from(IPPROTO_SCTP)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Says what it hears to as many clients as there are families.
fn serve(listener: &Socket) -> io::Result<()> {
    for _ in 0..2 {
        let (mut peer, _) = listener.accept()?;
        let mut heard = [0; 4];
        peer.read_exact(&mut heard)?;
        peer.write_all(&heard)?;
    }
    Ok(())
}

fn echo(address: &str) -> io::Result<[u8; 4]> {
    let address: IpAddr = address.parse().expect("an address");
    let address = SocketAddr::new(address, OUTSIDE);
    let mut client = socket(Domain::for_address(address))?;
    client.connect_timeout(&address.into(), PATIENCE)?;
    client.write_all(b"ping")?;
    let mut heard = [0; 4];
    client.read_exact(&mut heard)?;
    Ok(heard)
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn associations_pass_in_both_families() {
    for backend in ["nftables", "iptables"] {
        Node::run_messy(|node| {
            let (remote, container) = (node.remote(), node.netns("c1"));
            let mapping = json!([{"hostPort": OUTSIDE, "containerPort": INSIDE, "protocol": "sctp"}]);
            let list = short_chain("net", backend, &["bridge", "portmap"]);
            let chain = Chain::new(&list, &json!({"portMappings": mapping}));
            let result = chain.add(&container, "c1");
            let listener = container.enter(|| socket(Domain::IPV6)).expect("a kernel with SCTP");
            listener.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), INSIDE).into()).expect("bind");
            listener.listen(2).expect("listen");
            thread::scope(|scope| {
                let server = scope.spawn(|| serve(&listener));
                for address in ["192.0.2.1", "2001:db8::1"] {
                    let heard = remote.enter(|| echo(address)).unwrap_or_else(|error| panic!("{address}: {error}"));
                    assert_eq!(&heard, b"ping");
                }
                server.join().expect("the server ends").expect("the server is heard");
            });
            chain.del(&container, "c1", &result);
        });
    }
}
