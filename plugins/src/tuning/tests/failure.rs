//! Failure at every step: whatever was done before it is taken back.

use cni::plugin::Stderr;
use kernel::plan::Step;

use super::*;
use crate::injection::Refused;

/// All that an ADD does.
fn everything(machine: &mut Machine, keys: &str) -> Vec<Box<dyn Step>> {
    let call = Call::new(conf(keys).into_bytes(), Vec::new(), Stderr::buffered().0).unwrap();
    let attachment = Attachment {
        container_id: "cid1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
        netns: ETH0.netns.to_owned(),
        args: String::new(),
    };
    let config = Config::load(&call, Some(&attachment)).unwrap();
    let sysctls = config.sysctls.resolve(&attachment.ifname).unwrap();
    let wanted = config.settings().unwrap();
    plan(machine, &call, &config, &attachment, wanted, sysctls).unwrap().into_steps()
}

#[test]
fn nothing_is_left_whatever_step_fails() {
    for failing in 0..=3 {
        pod(|| {
            let before = state();
            let mut machine = enter(NetNs::open(ETH0.netns).unwrap()).unwrap();
            let mut steps = everything(&mut machine, EVERYTHING);
            assert_eq!(steps.len(), 3);
            steps.insert(failing, Box::new(Refused));
            let mut done = Applied::default();
            let plan: Plan = steps.into_iter().collect();
            assert_eq!(plan.apply(&mut machine, &mut done).unwrap_err().text, "injected");
            assert_eq!(failing > 0, Path::new(BACKUP).exists());
            assert_eq!(failing > 1, !changes(&before, &state()).is_empty());
            assert_eq!(done.undo(&mut machine), []);
            assert_eq!(changes(&before, &state()), [""; 0], "after a failure at step {failing}");
            assert!(failing == 0 || nothing_is_kept());
        });
    }
}

#[test]
fn the_plan_reads_as_commands() {
    pod(|| {
        let mut machine = enter(NetNs::open(ETH0.netns).unwrap()).unwrap();
        let plan: Plan = everything(&mut machine, EVERYTHING).into_iter().collect();
        insta::assert_snapshot!(plan.to_string(), @r"
        write /run/cni/tuning/cid1_eth0.json
        [container] sysctl -w net/ipv4/conf/eth0/arp_filter=1
        [container] sysctl -w net/ipv4/ip_local_port_range=20000 30000
        [container] ip link set eth0 address 02:00:00:00:00:99 mtu 1400 promisc on allmulticast on txqueuelen 77
        ");
    });
}

/// The kernel refuses the second parameter after the first was written.
#[test]
fn a_refused_parameter() {
    pod(|| {
        let before = state();
        let keys =
            r#", "mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.ip_default_ttl": "999"}"#;
        let error = ETH0.ours(&Tuning, "ADD", &conf(keys)).error();
        assert_eq!(error, "write /proc/sys/net/ipv4/ip_default_ttl: invalid argument");
        assert_eq!(changes(&before, &state()), [""; 0]);
        assert!(nothing_is_kept());
    });
}

/// The kernel sets the address and then refuses the MTU, in one message.
#[test]
fn a_refused_attribute() {
    pod(|| {
        let before = state();
        let keys = r#", "mac": "02:00:00:00:00:99", "mtu": 70000, "txQLen": 5,
            "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}"#;
        let error = ETH0.ours(&Tuning, "ADD", &conf(keys)).error();
        let text = "failed to set address 02:00:00:00:00:99 mtu 70000 txqueuelen 5 of \"eth0\": invalid argument \
                    (mtu greater than device maximum)";
        assert_eq!(error, text);
        assert_eq!(changes(&before, &state()), [""; 0]);
        assert!(nothing_is_kept());
    });
}

/// A failed second ADD leaves the first one's backup as it was.
#[test]
fn a_failed_second_add() {
    pod(|| {
        ETH0.ours(&Tuning, "ADD", &conf(r#", "mtu": 1400"#)).good();
        let (tuned, kept) = (state(), fs::read(BACKUP).unwrap());
        ETH0.ours(&Tuning, "ADD", &conf(r#", "mtu": 70000, "mac": "02:00:00:00:00:99""#)).error();
        assert_eq!(changes(&tuned, &state()), [""; 0]);
        assert_eq!(backup(), serde_json::from_slice::<Value>(&kept).unwrap());
    });
}

#[test]
fn a_place_that_takes_no_backup() {
    pod(|| {
        let before = state();
        shell("mkdir -p /run/cni; touch /run/cni/tuning");
        let error = ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).error();
        assert_eq!(error, format!("failed to open file \"{BACKUP}\": not a directory"));
        shell("rm /run/cni/tuning; mkdir /run/cni/tuning; mount -t tmpfs -o ro none /run/cni/tuning");
        let error = ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).error();
        assert_eq!(error, format!("failed to save file eth0.json: open {BACKUP}: read-only file system"));
        assert_eq!(changes(&before, &state()), [""; 0]);
    });
}
