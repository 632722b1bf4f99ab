//! The configuration of the `host-device` plugin, and the devices that it can name.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cni::Error;
use cni::plugin::Call;
use cni::quote::quote;
use cni::result::Dns;
use kernel::Mac;
use kernel::link::Link;
use kernel::plan::Machine;
use serde::Deserialize;

use crate::error::attempt;
use crate::netconf::{WrittenDns, WrittenIpam};

/// Drivers that hand a device to user space, which leaves no link of it.
const DPDK_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];
const PCI: &str = "bus/pci/devices";
const AUXILIARY: &str = "bus/auxiliary/devices";

/// The keys as they are written. One of the first five, or the runtime's, is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    device: String,
    hwaddr: String,
    kernelpath: String,
    #[serde(rename = "pciBusID")]
    pci_bus_id: String,
    #[serde(rename = "DPDKMode")]
    dpdk_mode: bool,
    ipam: WrittenIpam,
    dns: WrittenDns,
    runtime_config: RuntimeConfig,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    #[serde(rename = "deviceID")]
    device_id: String,
}

/// By what a device is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// `ifname`.
    Name(String),
    /// Its hardware address, as it is written.
    Address(String),
    /// Its directory in `/sys/devices`.
    Kernel(String),
    /// Its PCI address.
    Pci(String),
    /// Its id on the auxiliary bus.
    Auxiliary(String),
}

/// What the configuration means.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) device: Device,
    /// The device is in the hands of user space: there is no link to move.
    pub(super) dpdk: bool,
    pub(super) ipam: String,
    pub(super) dns: Dns,
}

impl Config {
    /// Reads the configuration, and about PCI devices the file system below `sysfs`.
    ///
    /// # Errors
    ///
    /// When it does not decode, names no device, or one that can't be.
    pub(super) fn load(call: &Call, sysfs: &Path) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        let Written { device, hwaddr, kernelpath, mut pci_bus_id, mut dpdk_mode, runtime_config, .. } = written;
        let mut auxiliary = String::new();
        let id = runtime_config.device_id;
        if !id.is_empty() {
            if sysfs.join(PCI).join(&id).exists() {
                pci_bus_id = id;
            } else if sysfs.join(AUXILIARY).join(&id).exists() {
                (pci_bus_id, auxiliary) = (String::new(), id);
            } else {
                return Err(Error::internal(format!("runtime config DeviceID {id} not found or unsupported")));
            }
        }
        if !pci_bus_id.is_empty() {
            dpdk_mode = has_dpdk_driver(sysfs, &pci_bus_id)?;
        }
        let given = [
            (device, Device::Name as fn(String) -> Device),
            (hwaddr, Device::Address),
            (kernelpath, Device::Kernel),
            (pci_bus_id, Device::Pci),
            (auxiliary, Device::Auxiliary),
        ];
        let device = given.into_iter().find(|(text, _)| !text.is_empty()).map(|(text, by)| by(text));
        Ok(Self {
            device: device.ok_or_else(|| {
                Error::internal("specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\"")
            })?,
            dpdk: dpdk_mode,
            ipam: written.ipam.r#type,
            dns: written.dns.any().unwrap_or_default(),
        })
    }

    /// The IPAM plugin's name alone, for GC and STATUS: the device is known only when a container is.
    ///
    /// # Errors
    ///
    /// When the configuration does not decode.
    pub(super) fn ipam_of(call: &Call) -> Result<String, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        Ok(written.ipam.r#type)
    }
}

fn has_dpdk_driver(sysfs: &Path, pci: &str) -> Result<bool, Error> {
    let device = sysfs.join(PCI).join(pci);
    let link = device.join("driver");
    let driver = fs::canonicalize(&link).map_err(|error| {
        let missing = if device.exists() { link } else { device };
        Error::internal(format!("error with host device: lstat {}: {}", missing.display(), reason(&error)))
    })?;
    Ok(driver.file_name().is_some_and(|name| DPDK_DRIVERS.iter().any(|driver| name == *driver)))
}

/// The kernel's reason without the number that Rust adds.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}

impl Device {
    /// The link of the device in the host.
    ///
    /// # Errors
    ///
    /// That there is none, in the words of the Go suite.
    pub(super) fn find(&self, machine: &mut Machine, sysfs: &Path) -> Result<Link, Error> {
        let not_found = |text: String| Error::internal(format!("failed to find host device: {text}"));
        let name = match self {
            Self::Name(name) => name.clone(),
            Self::Address(text) => {
                return by_address(machine, text)?.ok_or_else(|| {
                    not_found("failed to find physical interface".into()).with_details(format!("no link has {text}"))
                });
            }
            Self::Kernel(path) => first_link(&kernel_path(path).map_err(not_found)?.join("net")).map_err(not_found)?,
            Self::Pci(id) => first_link(&pci_path(sysfs, id).map_err(not_found)?).map_err(not_found)?,
            Self::Auxiliary(id) => first_link(&sysfs.join(AUXILIARY).join(id).join("net")).map_err(not_found)?,
        };
        let found = machine.host().and_then(|host| host.link(&name));
        let found = found.map_err(|error| attempt("look at the links", error))?;
        found.ok_or_else(|| not_found("Link not found".into()).with_details(format!("device \"{name}\"")))
    }
}

fn by_address(machine: &mut Machine, text: &str) -> Result<Option<Link>, Error> {
    let refused = |error| {
        Error::internal(format!("failed to find host device: failed to parse MAC address {}: {error}", quote(text)))
    };
    let mac: Mac = text.parse().map_err(refused)?;
    let links = machine.host().and_then(|host| host.links()).map_err(|error| attempt("list the links", error))?;
    Ok(links.into_iter().find(|link| link.mac == Some(mac)))
}

fn kernel_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let climbs = path.components().any(|part| part.as_os_str() == "..");
    if climbs || !path.starts_with("/sys/devices/") {
        return Err(format!("kernel device path {} must be absolute and begin with /sys/devices/", quote(text)));
    }
    Ok(path.to_owned())
}

/// The directory with the links of a PCI device: its own, or that of the virtio device behind it.
fn pci_path(sysfs: &Path, id: &str) -> Result<PathBuf, String> {
    let device = sysfs.join(PCI).join(id);
    let own = device.join("net");
    if own.exists() {
        return Ok(own);
    }
    let mut names = names(&device).unwrap_or_default();
    names.retain(|name| name.to_string_lossy().starts_with("virtio"));
    let found = names.into_iter().map(|name| device.join(name).join("net")).find(|path| path.is_dir());
    found.ok_or_else(|| format!("no net directory under pci device {id}"))
}

/// The first link of a directory of links.
fn first_link(path: &Path) -> Result<String, String> {
    let names = names(path).map_err(|error| {
        let why = format!("open {}: {}", path.display(), reason(&error));
        format!("failed to read directory {}: {}", path.display(), quote(why))
    })?;
    let first = names.into_iter().next().and_then(|name| name.into_string().ok());
    first.ok_or_else(|| format!("failed to find network device in path {}", path.display()))
}

fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names: Vec<OsString> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
