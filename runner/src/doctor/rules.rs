//! What the plugins have told the kernel about a container: whether it is still there. Elements say in their comments whose
//! they are, so nothing has to be understood but that.

use ::kernel::nft::{Error as Refused, Family, Nft, TableName};
use cni::Owner;
use serde_json::Value;

use crate::error::{Error, Result};

use super::Report;
use super::path::Path;

const MASQUERADING: TableName = TableName::new(Family::Inet, "xnet_masq");
const PORTS: TableName = TableName::new(Family::Inet, "xnet_portmap");

/// Whether what leaves by the interface `ifname` gets the host's address, if its network is to have it so.
pub(super) fn masquerading(report: &mut Report, path: &mut Path, ifname: &str) -> Result<()> {
    let Some((endpoint, list, is_ours)) = path.lists.iter().find(|(endpoint, ..)| endpoint.ifname == ifname) else {
        return Ok(());
    };
    let wanting = plugins(list).find(|plugin| plugin.get("ipMasq").and_then(Value::as_bool) == Some(true));
    let Some(plugin) = wanting else {
        report.ok("masquerading", format!("network {} has none", endpoint.network));
        return Ok(());
    };
    if !is_ours || plugin.get("ipMasqBackend").is_some_and(|kind| kind == "iptables") {
        report
            .skip("masquerading", format!("network {} has it by iptables, or by plugins of others", endpoint.network));
        return Ok(());
    }
    let found = owned(&MASQUERADING, &owner(path, &endpoint.network, ifname)?)?;
    if found >= endpoint.addresses.len() {
        report.ok("masquerading", format!("{found} addresses in table {MASQUERADING}"));
        return Ok(());
    }
    report.bad(
        "masquerading",
        format!(
            "table {MASQUERADING} has {found} of the container's {} addresses: answers from elsewhere do not come back",
            endpoint.addresses.len()
        ),
        format!("xnet restart {}", path.called()),
    );
    Ok(())
}

/// Whether published ports lead to the container.
pub(super) fn published(report: &mut Report, path: &Path) -> Result<()> {
    let Some((endpoint, list, is_ours)) = path.lists.iter().find(|(endpoint, ..)| endpoint.publishes) else {
        return Ok(());
    };
    let by = plugins(list).find(|plugin| plugin.get("type").is_some_and(|kind| kind == "portmap"));
    if !is_ours || by.is_none_or(|plugin| plugin.get("backend").is_some_and(|kind| kind == "iptables")) {
        report
            .skip("port rules", format!("network {} has them by iptables, or by plugins of others", endpoint.network));
        return Ok(());
    }
    match owned(&PORTS, &owner(path, &endpoint.network, &endpoint.ifname)?)? {
        0 => report.bad(
            "port rules",
            format!("table {PORTS} has nothing of the container's: published ports lead nowhere"),
            format!("xnet restart {}", path.called()),
        ),
        found => report.ok("port rules", format!("{found} elements in table {PORTS}")),
    }
    Ok(())
}

/// Whether a plugin of the network sees to it that filters let the container through.
pub(super) fn has_firewall(path: &Path, ifname: &str) -> bool {
    path.plugins(ifname).any(|plugin| plugin.get("type").is_some_and(|kind| kind == "firewall"))
}

fn plugins(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("plugins").and_then(Value::as_array).into_iter().flatten()
}

fn owner(path: &Path, network: &str, ifname: &str) -> Result<Owner> {
    let unfit = |error: cni::Error| Error::new(error.to_string());
    let id = path.connected.id.as_str().parse().map_err(unfit)?;
    Ok(Owner::new(network.parse().map_err(unfit)?, id, ifname.parse().map_err(unfit)?))
}

/// How many elements of a table are the attachment's; none where there is no such table.
fn owned(table: &TableName, owner: &Owner) -> Result<usize> {
    let failed = |error: Refused| Error::new(format!("look into table {table}: {error}"));
    let mut nft = Nft::open().map_err(failed)?;
    let prefix = owner.tag_prefix();
    let mut found = 0;
    for set in nft.sets(table).map_err(failed)? {
        let elements = match nft.elements(&set) {
            Err(error) if error.is_not_found() => continue,
            elements => elements.map_err(failed)?,
        };
        found += elements.iter().filter(|e| e.comment.as_deref().is_some_and(|c| c.starts_with(&prefix))).count();
    }
    Ok(found)
}
