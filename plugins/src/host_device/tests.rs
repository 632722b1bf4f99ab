//! Lending in private namespaces: away and back, with everything that a device loses on the way.

use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use kernel::netns::NetNs;
use kernel::plan::Applied;
use nix::sched::{CloneFlags, unshare};

use super::config::Device;
use super::*;
use crate::injection;

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `work` in a host with the device `up0`, up and with an address, and a container that has a link `up0` too.
fn with_device(work: impl FnOnce(&mut Machine, &NetNs) + Send + 'static) {
    let test = thread::spawn(|| {
        let container = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link add up0 type ifb");
            NetNs::current().unwrap()
        };
        let container = thread::spawn(container).join().unwrap();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link add up0 address 02:00:00:00:00:05 type veth peer name far");
        ip("link set up0 up");
        ip("address add 10.3.0.1/24 brd + dev up0");
        let again = container.run(|| NetNs::current().unwrap()).unwrap();
        work(&mut Machine::with_container(again).unwrap(), &container);
    });
    test.join().unwrap();
}

fn step(machine: &mut Machine) -> MoveDevice {
    let device = Device::Name("up0".into()).find(machine, Path::new(SYSFS)).unwrap();
    let home = Home { addresses: addresses(&device, machine).unwrap(), up: device.up, name: device.name };
    MoveDevice { home, name: "eth0".into(), mac: device.mac }
}

#[test]
fn a_device_goes_by_one_message_and_comes_home_as_it_was() {
    with_device(|machine, container| {
        let step = step(machine);
        let before = ip("-oneline -4 address show dev up0");
        assert_eq!(step.to_string(), "ip link set up0 netns [container] name eth0 alias up0");
        step.apply(machine).unwrap();
        step.check(machine).unwrap();
        assert!(container.run(|| ip("link show eth0")).unwrap().contains("alias up0"));
        step.undo(machine).unwrap();
        assert_eq!(ip("-oneline -4 address show dev up0"), before);
        let link = ip("-oneline link show up0");
        assert!(link.contains(",UP") && !link.contains("alias"), "{link}");
        step.undo(machine).unwrap();
    });
}

#[test]
fn a_link_that_has_taken_the_name_keeps_the_device_out() {
    with_device(|machine, container| {
        let step = step(machine);
        step.apply(machine).unwrap();
        ip("link add up0 type ifb");
        let refused = step.undo(machine).unwrap_err().text;
        assert_eq!(refused, "failed to move \"up0\" to hostNS: file exists");
        assert!(container.run(|| ip("link show eth0")).unwrap().contains("alias up0"));
    });
}

#[test]
fn a_refused_move_leaves_neither_record_nor_trace() {
    with_device(|machine, container| {
        let directory = tempfile::tempdir().unwrap();
        let step = MoveDevice { name: "up0".into(), ..step(machine) };
        let record = Record::sample(directory.path(), step.home.clone(), step.mac);
        let lend = Lend { record, step };
        let before = ip("-oneline address show dev up0");
        let mut plan = Plan::new();
        plan.push(lend);
        // The container has a link of that name.
        assert!(plan.apply(machine, &mut Applied::default()).is_err());
        assert_eq!(Record::all(directory.path()).unwrap(), []);
        assert_eq!(ip("-oneline address show dev up0"), before);
        assert!(!container.run(|| ip("link show up0")).unwrap().contains("alias"));
    });
}

#[test]
fn records_are_read_as_they_were_written() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home { name: "up0".into(), up: true, addresses: vec!["10.3.0.1/24".parse().unwrap()] };
    let record = Record::sample(&directory.path().join("new"), home, Some(kernel::Mac::new([2, 0, 0, 0, 0, 5])));
    record.write().unwrap();
    assert_eq!(Record::all(&directory.path().join("new")).unwrap(), std::slice::from_ref(&record));
    record.remove().unwrap();
    record.remove().unwrap();
    assert_eq!(Record::all(&directory.path().join("new")).unwrap(), []);
    assert_eq!(Record::all(&directory.path().join("never")).unwrap(), []);
}

/// A device as the record of it says, away, and then moved by somebody else to where `name` says.
fn come_back(machine: &mut Machine, name: &str) -> (tempfile::TempDir, Record) {
    let directory = tempfile::tempdir().unwrap();
    let step = step(machine);
    let record = Record::sample(directory.path(), step.home.clone(), step.mac);
    step.apply(machine).unwrap();
    let index = machine.index(Side::Container, "eth0").unwrap();
    let request = kernel::link::relocate(index, machine.host().unwrap().netns().as_fd(), name, Some("up0"));
    machine.side(Side::Container).unwrap().call(request).unwrap();
    machine.forget(Side::Container, "eth0");
    (directory, record)
}

/// As the kernel sends it when its namespace dies: down, without addresses, and under any name, its own included.
#[test]
fn a_device_that_came_back_by_itself_gets_its_name_and_the_rest() {
    for name in ["dev7", "up0"] {
        with_device(move |machine, _| {
            let before = ip("-oneline -4 address show dev up0");
            let (_directory, record) = come_back(machine, name);
            assert!(lend::take_in(&record, machine, Duration::ZERO).unwrap());
            assert_eq!(ip("-oneline -4 address show dev up0"), before);
            let link = ip("-oneline link show up0");
            assert!(link.contains(",UP") && !link.contains("alias"), "{link}");
            assert!(lend::take_in(&record, machine, Duration::ZERO).unwrap(), "it is at home");
        });
    }
}

#[test]
fn a_device_that_came_back_to_a_taken_name_is_told_of() {
    with_device(|machine, _| {
        let (_directory, record) = come_back(machine, "dev7");
        ip("link add up0 type ifb");
        let refused = lend::take_in(&record, machine, Duration::ZERO).unwrap_err().msg;
        assert_eq!(refused, "the device up0 has come back as dev7, and the host has another up0");
    });
}

/// A namespace is taken down some time after its end.
#[test]
fn a_physical_device_is_waited_for() {
    with_device(|machine, container| {
        let step = step(machine);
        let mut record = Record::sample(Path::new("/nonexistent"), step.home.clone(), step.mac);
        record.physical = true;
        step.apply(machine).unwrap();
        let host = machine.host().unwrap().netns().as_fd().try_clone_to_owned().unwrap();
        let inside = container.run(|| NetNs::current().unwrap()).unwrap();
        let late = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            let mut machine = Machine::with_container(inside).unwrap();
            let index = machine.index(Side::Container, "eth0").unwrap();
            let request = kernel::link::relocate(index, host.as_fd(), "dev7", Some("up0"));
            machine.side(Side::Container).unwrap().call(request).unwrap();
        });
        assert!(lend::take_in(&record, machine, Duration::from_secs(5)).unwrap());
        late.join().unwrap();
        record.home.name = "zork".into();
        assert!(!lend::take_in(&record, machine, Duration::from_millis(10)).unwrap());
    });
}

#[test]
fn two_marks_tell_the_device_from_others() {
    with_device(|machine, container| {
        let step = step(machine);
        let record = Record::sample(Path::new("/nonexistent"), step.home.clone(), step.mac);
        step.apply(machine).unwrap();
        let found = |machine: &mut Machine| lend::lent(machine, "eth0", Some(&record)).unwrap().map(|link| link.name);
        assert_eq!(found(machine).as_deref(), Some("eth0"));
        for (command, name) in [
            ("link set eth0 address 02:00:00:00:00:77", Some("eth0")),
            ("link set eth0 alias zork", None),
            ("link set eth0 address 02:00:00:00:00:05", Some("eth0")),
            ("link set eth0 alias up0 name other", Some("other")),
            ("link add eth0 type ifb", Some("other")),
        ] {
            container.run(|| ip(command)).unwrap();
            assert_eq!(found(machine).as_deref(), name, "after ip {command}");
        }
    });
}

#[test]
fn an_address_that_expires_is_not_given_back() {
    with_device(|machine, _| {
        ip("address add 10.4.0.1/24 dev up0 valid_lft 900 preferred_lft 900");
        let home = step(machine).home;
        assert_eq!(home.addresses, ["10.3.0.1/24".parse().unwrap()]);
    });
}

/// A device whose name is one that the search for leftovers looks for, and whose addresses are there at once or never.
fn stage() {
    std::fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1").unwrap();
    ip("link add veth-up0 address 02:00:00:00:00:05 type ifb");
    ip("link set veth-up0 up");
    ip("address add 10.3.0.1/24 brd + dev veth-up0");
}

#[test]
fn nothing_is_left_whatever_step_fails() {
    let directory = tempfile::tempdir().unwrap();
    let records: &Path = Box::leak(directory.path().to_owned().into_boxed_path());
    let everything = move || {
        let home = Home { name: "veth-up0".into(), up: true, addresses: vec!["10.3.0.1/24".parse().unwrap()] };
        let mac = Some(kernel::Mac::new([2, 0, 0, 0, 0, 5]));
        let step = MoveDevice { home: home.clone(), name: "eth0".into(), mac };
        let lend = Some(Lend { record: Record::sample(records, home, mac), step });
        let wiring = Addition { name: "eth0".into(), mac: String::new(), sandbox: "c1", lend, unplugged: false };
        let ip = cni::result::IpConfig { interface: Some(0), address: "fd00::2/64".parse().unwrap(), gateway: None };
        let result = AddResult { interfaces: wiring.interfaces(), ips: vec![ip], ..AddResult::default() };
        let mut whole = wiring.links();
        whole.extend(wiring.addresses(&result).unwrap());
        whole.extend(wiring.ready(&result));
        whole
    };
    injection::at_every_step_on(stage, everything);
    assert_eq!(Record::all(records).unwrap(), []);
    injection::shows_on(stage, everything, &["eth0", "fd00::2/64"]);
}
