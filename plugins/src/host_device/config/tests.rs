//! Which device is meant, on a machine made of files.

use std::os::unix::fs::symlink;

use super::*;
use crate::child::tests::call;

/// `/sys` with a network card, a virtio card and one in the hands of user space.
fn sysfs() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let device = |id: &str, driver: &str, net: &str| {
        let device = root.path().join(PCI).join(id);
        fs::create_dir_all(device.join(net)).unwrap();
        let driver = root.path().join("bus/pci/drivers").join(driver);
        fs::create_dir_all(&driver).unwrap();
        symlink(driver, device.join("driver")).unwrap();
    };
    device("0000:00:01.0", "e1000", "net/enp0s1");
    device("0000:00:02.0", "virtio-pci", "virtio0/net/enp0s2");
    device("0000:00:03.0", "vfio-pci", "");
    fs::create_dir_all(root.path().join(AUXILIARY).join("mlx5_core.sf.4/net/p0sf4")).unwrap();
    root
}

fn load(keys: &str, sysfs: &Path) -> Result<Config, Error> {
    Config::load(&call("host-device", keys), sysfs)
}

#[test]
fn the_runtime_and_then_the_first_key_say_which() {
    let root = sysfs();
    let pci = |id: &str| Device::Pci(id.to_owned());
    for (keys, device, dpdk) in [
        (r#""device": "eth1", "hwaddr": "02:00:00:00:00:01""#, Device::Name("eth1".into()), false),
        (r#""hwaddr": "x", "kernelpath": "/y""#, Device::Address("x".into()), false),
        (r#""pciBusID": "0000:00:01.0""#, pci("0000:00:01.0"), false),
        (r#""pciBusID": "0000:00:03.0""#, pci("0000:00:03.0"), true),
        (r#""runtimeConfig": {"deviceID": "0000:00:02.0"}, "pciBusID": "0000:00:03.0""#, pci("0000:00:02.0"), false),
        (
            r#""runtimeConfig": {"deviceID": "mlx5_core.sf.4"}, "pciBusID": "0000:00:03.0""#,
            Device::Auxiliary("mlx5_core.sf.4".into()),
            false,
        ),
    ] {
        let config = load(keys, root.path()).unwrap();
        assert_eq!((config.device, config.dpdk), (device, dpdk), "{keys}");
    }
}

#[test]
fn devices_that_can_not_be_are_refused() {
    let root = sysfs();
    let refused = |keys| load(keys, root.path()).unwrap_err().msg;
    assert_eq!(refused(r#""x": 1"#), "specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\"");
    assert_eq!(
        refused(r#""runtimeConfig": {"deviceID": "no"}"#),
        "runtime config DeviceID no not found or unsupported"
    );
    let missing = root.path().join(PCI).join("no");
    let expected = format!("error with host device: lstat {}: no such file or directory", missing.display());
    assert_eq!(refused(r#""pciBusID": "no""#), expected);
}

#[test]
fn links_are_found_by_their_device() {
    let root = sysfs();
    let pci = |id| pci_path(root.path(), id).and_then(|path| first_link(&path));
    assert_eq!(pci("0000:00:01.0").as_deref(), Ok("enp0s1"));
    assert_eq!(pci("0000:00:02.0").as_deref(), Ok("enp0s2"));
    assert_eq!(pci("0000:00:03.0").unwrap_err(), "no net directory under pci device 0000:00:03.0");
    for path in ["/tmp", "relative", "/sys/devices/../../etc", "/sys/devicesx/y"] {
        let refused = kernel_path(path).unwrap_err();
        assert_eq!(refused, format!("kernel device path \"{path}\" must be absolute and begin with /sys/devices/"));
    }
    assert!(kernel_path("/sys/devices/virtual").is_ok());
}
