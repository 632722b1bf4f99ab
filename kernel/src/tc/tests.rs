//! The bytes, and what the kernel makes of them in a namespace of its own.

use std::process::Command;

use nix::errno::Errno;

use super::*;
use crate::handle::Handle;
use crate::link::{self, NewIfb};
use crate::mac::Mac;
use crate::netlink::Error;
use crate::sandbox::alone;

const BUCKET: Bucket = Bucket { rate: 1_000_000, burst: 100_000, latency: 25 };

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A veth pair and an intermediate functional block here, and their indices.
fn links(handle: &mut Handle) -> (u32, u32) {
    sh("ip link add veth0 type veth peer name veth1; ip link set veth1 up; ip link set veth0 up");
    let ifb = NewIfb { name: "ifb9".into(), mac: Mac::new([2, 0, 0, 0, 0, 9]), mtu: 1400 };
    handle.call(ifb.request()).unwrap();
    let index = |name: &str, handle: &mut Handle| handle.link(name).unwrap().unwrap().index;
    (index("veth0", handle), index("ifb9", handle))
}

fn root_of(handle: &mut Handle, index: u32) -> Root {
    root(&handle.exchange(&[get_root(index)]).unwrap().pop().unwrap().unwrap()).unwrap()
}

#[test]
fn a_bucket_is_one_structure() {
    let request = set_bucket(7, &BUCKET);
    assert_eq!((request.kind, request.flags), (36, 0x400));
    let mut expected = vec![0, 0, 0, 0];
    expected.extend([7, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]); // dev 7, handle 1:, root
    expected.extend([8, 0, 1, 0, b't', b'b', b'f', 0]); // TCA_KIND
    expected.extend([44, 0, 2, 0, 40, 0, 1, 0]); // TCA_OPTIONS, TCA_TBF_PARMS
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x42, 0x0f, 0]); // tc_ratespec: 1,000,000
    expected.extend([0; 12]); // no peak rate
    expected.extend([0x48, 0xe8, 0x01, 0]); // limit: 125,000
    expected.extend([0x84, 0xd7, 0x17, 0]); // buffer: 1,562,500
    expected.extend([0; 4]);
    assert_eq!(request.payload, expected);

    let fast = set_bucket(7, &Bucket { rate: 10_000_000_000, ..BUCKET }).payload;
    assert_eq!(fast.len(), expected.len() + 12);
    assert_eq!(fast[44..48], [0xff; 4]); // as much as 32 bits can say
    assert_eq!(fast[expected.len()..], [12, 0, 4, 0, 0, 0xe4, 0x0b, 0x54, 2, 0, 0, 0]); // TCA_TBF_RATE64
}

#[test]
fn a_redirection_matches_all_and_says_its_handle() {
    let request = redirect(7, 9);
    assert_eq!((request.kind, request.flags), (44, 0x400));
    let mut expected = vec![0, 0, 0, 0];
    expected.extend([7, 0, 0, 0, 0, 8, 0, 0x80, 0, 0, 0xff, 0xff, 0, 3, 1, 0]); // 800::800, ffff:, prio 1, ETH_P_ALL
    expected.extend([8, 0, 1, 0, b'u', b'3', b'2', 0]); // TCA_KIND
    expected.extend([104, 0, 2, 0]); // TCA_OPTIONS
    expected.extend([36, 0, 5, 0, 1, 0, 1, 0]); // TCA_U32_SEL: terminal, one key
    expected.extend([0; 28]);
    expected.extend([8, 0, 1, 0, 1, 0, 1, 0]); // TCA_U32_CLASSID 1:1
    expected.extend([56, 0, 7, 0, 52, 0, 1, 0]); // TCA_U32_ACT, the first
    expected.extend([11, 0, 1, 0, b'm', b'i', b'r', b'r', b'e', b'd', 0, 0]); // TCA_ACT_KIND
    expected.extend([36, 0, 2, 0, 32, 0, 2, 0]); // TCA_ACT_OPTIONS, TCA_MIRRED_PARMS
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(request.payload, expected);
}

#[test]
fn deletions_name_the_kind_so_that_no_other_is_hit() {
    assert_eq!((del_bucket(7).kind, del_ingress(7).kind), (37, 37));
    assert_eq!(del_bucket(7).payload[20..], [8, 0, 1, 0, b't', b'b', b'f', 0]);
    let ingress = del_ingress(7).payload;
    assert_eq!(ingress[8..16], [0, 0, 0xff, 0xff, 0xf1, 0xff, 0xff, 0xff]);
    assert_eq!(ingress[20..], [12, 0, 1, 0, b'i', b'n', b'g', b'r', b'e', b's', b's', 0]);
}

#[test]
fn the_kernel_shows_what_was_asked_for() {
    alone(|| {
        let mut handle = Handle::here().unwrap();
        let (veth, ifb) = links(&mut handle);
        let requests = [set_bucket(veth, &BUCKET), set_ingress(veth), redirect(veth, ifb), set_bucket(ifb, &BUCKET)];
        for outcome in handle.exchange(&requests).unwrap() {
            outcome.unwrap();
        }
        let shown = sh("tc qdisc show dev veth0; tc qdisc show dev ifb9");
        let tbf = "rate 8Mbit burst 100000b lat 25ms";
        assert!(shown.contains(&format!("qdisc tbf 1: root refcnt 3 {tbf}")), "{shown}");
        assert!(shown.contains(&format!("qdisc tbf 1: root refcnt 2 {tbf}")), "{shown}");
        assert!(shown.contains("qdisc ingress ffff: parent ffff:fff1"), "{shown}");
        let filter = sh("tc filter show dev veth0 parent ffff:");
        for part in ["protocol all pref 1 u32", "fh 800::800", "flowid 1:1", "match 00000000/00000000 at 0"] {
            assert!(filter.contains(part), "{part} in {filter}");
        }
        assert!(filter.contains("mirred (Egress Redirect to device ifb9) stolen"), "{filter}");

        assert_eq!(root_of(&mut handle, veth), Root { kind: "tbf".into(), tbf: Some(BUCKET.tbf()) });
        assert_eq!(handle.redirections(veth).unwrap(), [ifb]);
    });
}

#[test]
fn said_twice_it_is_there_once_and_changes_are_taken() {
    alone(|| {
        let mut handle = Handle::here().unwrap();
        let (veth, ifb) = links(&mut handle);
        let lo = handle.link("lo").unwrap().unwrap().index;
        let other = Bucket { rate: 5_000_000_000, burst: 9_000_000, latency: 10 };
        for (bucket, target) in [(BUCKET, lo), (BUCKET, ifb), (other, ifb)] {
            let requests = [set_bucket(veth, &bucket), set_ingress(veth), redirect(veth, target)];
            for outcome in handle.exchange(&requests).unwrap() {
                outcome.unwrap();
            }
            assert_eq!(root_of(&mut handle, veth).tbf, Some(bucket.tbf()));
            assert_eq!(handle.redirections(veth).unwrap(), [target]);
        }
    });
}

#[test]
fn what_others_have_set_stays() {
    alone(|| {
        let mut handle = Handle::here().unwrap();
        let (veth, ifb) = links(&mut handle);
        let refused = |handle: &mut Handle, request: Request| handle.call(request).unwrap_err();
        sh("tc qdisc add dev veth0 root handle 1: htb");
        assert_eq!(refused(&mut handle, set_bucket(veth, &BUCKET)).errno(), Some(Errno::EINVAL));
        assert!(is_not_there(&refused(&mut handle, del_bucket(veth))));
        sh("tc qdisc replace dev veth0 root handle 5: tbf rate 1mbit burst 10kb limit 10kb");
        assert_eq!(refused(&mut handle, set_bucket(veth, &BUCKET)).errno(), Some(Errno::EEXIST));
        assert!(is_not_there(&refused(&mut handle, del_bucket(veth))));
        assert!(sh("tc qdisc show dev veth0").starts_with("qdisc tbf 5: root"));

        sh("tc qdisc add dev veth0 clsact");
        assert_eq!(refused(&mut handle, set_ingress(veth)).errno(), Some(Errno::EINVAL));
        assert!(is_not_there(&refused(&mut handle, del_ingress(veth))));
        assert!(sh("tc qdisc show dev veth0").contains("qdisc clsact ffff:"));
        assert_eq!(handle.redirections(veth).unwrap(), []);
        let _ = ifb;
    });
}

#[test]
fn what_is_gone_is_not_there() {
    alone(|| {
        let mut handle = Handle::here().unwrap();
        let (veth, ifb) = links(&mut handle);
        assert_eq!(root_of(&mut handle, veth), Root { kind: "noqueue".into(), tbf: None });
        assert_eq!(handle.redirections(veth).unwrap(), []);
        let gone = |handle: &mut Handle, index| {
            for request in [del_bucket(index), del_ingress(index)] {
                assert!(is_not_there(&handle.call(request).unwrap_err()));
            }
        };
        gone(&mut handle, veth);
        for request in [set_bucket(veth, &BUCKET), set_ingress(veth), redirect(veth, ifb)] {
            handle.call(request).unwrap();
        }
        handle.call(del_bucket(veth)).unwrap();
        handle.call(del_ingress(veth)).unwrap();
        gone(&mut handle, veth);
        assert_eq!(sh("tc qdisc show dev veth0"), "qdisc noqueue 0: root refcnt 2");
        handle.call(link::del("veth0")).unwrap();
        gone(&mut handle, veth);
        assert!(matches!(handle.call(set_bucket(veth, &BUCKET)), Err(Error::Refused(_))));
    });
}

/// Other filters, of which some look almost like ours.
#[test]
fn only_a_filter_that_takes_everything_is_a_redirection() {
    alone(|| {
        let mut handle = Handle::here().unwrap();
        let (veth, ifb) = links(&mut handle);
        sh("tc qdisc add dev veth0 ingress");
        let add = "tc filter add dev veth0 parent ffff: ";
        for filter in [
            "protocol ip prio 5 u32 match u32 0 0 action mirred egress redirect dev ifb9",
            "protocol all prio 6 u32 match u32 0 0xff action mirred egress redirect dev ifb9",
            "protocol all prio 7 u32 match u32 0 0 action mirred egress mirror dev ifb9",
            "protocol all prio 8 u32 match u32 0 0 flowid 1:1",
            "protocol all prio 9 u32 match u32 0 0 match u32 0 0xff at 4 action mirred egress redirect dev ifb9",
        ] {
            sh(&format!("{add}{filter}"));
            assert_eq!(handle.redirections(veth).unwrap(), [], "{filter}");
        }
        sh(&format!("{add} protocol all prio 10 u32 match u32 0 0 action mirred egress redirect dev ifb9"));
        assert_eq!(handle.redirections(veth).unwrap(), [ifb]);
    });
}

#[test]
fn an_intermediate_block_has_the_attributes_that_users_know() {
    alone(|| {
        let mut handle = Handle::here().unwrap();
        assert_eq!(handle.ifbs().unwrap(), []);
        let (_, index) = links(&mut handle);
        let shown = sh("ip -d link show ifb9");
        for part in ["mtu 1400", "link/ether 02:00:00:00:00:09", " ifb ", "numtxqueues 1 numrxqueues 1"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("qlen"), "{shown}"); // none is shown when it is zero
        assert_eq!(handle.ifbs().unwrap().iter().map(|link| link.index).collect::<Vec<_>>(), [index]);
        let requests = [link::get_by_index(index), link::get("nosuch"), link::get_by_index(4711)];
        let names: Vec<_> =
            handle.lookups(&requests).unwrap().into_iter().map(|link| link.map(|link| link.name)).collect();
        assert_eq!(names, [Some("ifb9".to_owned()), None, None]);
    });
}
