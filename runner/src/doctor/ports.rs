//! Published ports: whether anybody inside takes what comes.

use std::net::SocketAddr;

use crate::error::Result;
use crate::net::ports::Mapping;

use super::path::Path;
use super::{Report, rules, sockets};

pub(super) fn check(report: &mut Report, path: &mut Path) -> Result<()> {
    for mapping in path.connected.waiting.clone() {
        let fix = format!("xnet network connect bridge {}", path.called());
        report.bad(&title(&mapping), "no network of the container can publish it: it leads nowhere", fix);
    }
    if path.connected.ports.is_empty() {
        return Ok(());
    }
    rules::published(report, path)?;
    for mapping in path.connected.ports.clone() {
        port(report, path, &mapping)?;
    }
    Ok(())
}

fn title(mapping: &Mapping) -> String {
    format!("port {mapping}")
}

fn port(report: &mut Report, path: &Path, mapping: &Mapping) -> Result<()> {
    let (title, port) = (title(mapping), mapping.container_port);
    let Some(all) = sockets::listeners(path, mapping.protocol)? else {
        report.skip(&title, "the kernel has no table of those who listen");
        return Ok(());
    };
    let here: Vec<SocketAddr> = all.iter().filter(|at| at.port() == port).copied().collect();
    let own = path.assigned();
    let host = mapping.host_port;
    let texts = |some: &[SocketAddr]| some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if here.iter().any(|at| at.ip().is_unspecified() || own.contains(&at.ip())) {
        report.ok(&title, format!("published at {host}, taken inside at {}", texts(&here)));
    } else if here.iter().any(|at| at.ip().is_loopback()) {
        report.bad(
            &title,
            format!("published at {host}, but inside only {} listens, which nobody outside reaches", texts(&here)),
            format!("have the program in {} listen at 0.0.0.0:{port}, not at {}", path.called(), texts(&here)),
        );
    } else if here.is_empty() {
        let others: Vec<SocketAddr> = all.into_iter().filter(|at| !at.ip().is_loopback()).collect();
        let hint = if others.is_empty() { String::new() } else { format!(" (there is {})", texts(&others)) };
        report.bad(
            &title,
            format!("published at {host}, but nobody listens inside{hint}"),
            format!("xnet logs --tail 20 {}", path.called()),
        );
    } else {
        report.bad(
            &title,
            format!(
                "published at {host}, but inside only {} listens, which is no address of its network",
                texts(&here)
            ),
            format!("have the program in {} listen at 0.0.0.0:{port}", path.called()),
        );
    }
    Ok(())
}
