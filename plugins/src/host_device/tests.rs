//! Lending in private namespaces: away and back, with everything that a device loses on the way.

use std::process::Command;
use std::thread;

use kernel::netns::NetNs;
use kernel::plan::Applied;
use nix::sched::{CloneFlags, unshare};

use super::config::Device;
use super::*;

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
        assert_eq!(refused, "failed to move link failed to return up0: the host has another link of that name");
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
