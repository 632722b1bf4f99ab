//! CHECK: whether everything is as it was set.

use cni::Error;
use kernel::Mac;
use kernel::link::{Link, Settings};
use kernel::plan::{Machine, Side};
use kernel::sysctl;

use super::config::Config;
use super::steps::{inside, told};
use super::sysctls::Sysctl;
use crate::error::attempt;

/// Compares what is with what was to be set, in the words of the Go suite.
///
/// Words in a parameter's value are compared without what is between them: the kernel answers with tabs to what was
/// written with spaces. Hardware addresses are compared, not their spellings.
pub(super) fn check(
    machine: &mut Machine,
    config: &Config,
    wanted: &Settings,
    sysctls: &[Sysctl],
    ifname: &str,
) -> Result<(), Error> {
    if !sysctls.is_empty() {
        let all = || sysctls.iter().try_for_each(check_sysctl);
        inside(machine, all).and_then(|inner| inner).map_err(Error::internal)?;
    }
    let link = machine.side(Side::Container).and_then(|container| container.link(ifname));
    let link = link.map_err(|error| attempt(format_args!("failed to get \"{ifname}\""), error))?;
    let link = link.ok_or_else(|| Error::internal(format!("Cannot find container link {ifname}")))?;
    check_link(config, wanted, &link).map_err(Error::internal)
}

fn check_sysctl(Sysctl { name, value }: &Sysctl) -> Result<(), String> {
    let found = sysctl::read(name).map_err(|error| told(name, &error))?;
    if found.split_whitespace().eq(value.split_whitespace()) {
        return Ok(());
    }
    Err(format!("Error: Tuning configured value of /proc/sys/{name} is {value}, current value is {found}"))
}

fn check_link(config: &Config, wanted: &Settings, link: &Link) -> Result<(), String> {
    let name = &link.name;
    if wanted.mac.is_some() && wanted.mac != link.mac {
        let (configured, found) = (&config.mac, link.mac.as_ref().map(Mac::to_string).unwrap_or_default());
        return Err(format!("Error: Tuning configured Ethernet of {name} is {configured}, current value is {found}"));
    }
    if config.promisc != (link.promiscuity > 0) {
        let (configured, found) = (config.promisc, link.promiscuity);
        return Err(format!("Error: Tuning link {name} configured promisc is {configured}, current value is {found}"));
    }
    if let Some(mtu) = wanted.mtu.filter(|&mtu| mtu != link.mtu) {
        let found = link.mtu;
        return Err(format!("Error: Tuning configured MTU of {name} is {mtu}, current value is {found}"));
    }
    if let Some(on) = wanted.all_multicast.filter(|&on| on != link.all_multicast) {
        let found = link.all_multicast;
        let what = "all-multicast mode";
        return Err(format!("Error: Tuning configured {what} of {name} is {on}, current value is {found}"));
    }
    if let Some(length) = wanted.queue_length.filter(|&length| length != link.queue_length) {
        let found = link.queue_length;
        let what = "Transmit Queue Length";
        return Err(format!("Error: Tuning configured {what} of {name} is {length}, current value is {found}"));
    }
    Ok(())
}
