//! The name servers in the container's `resolv.conf`: whether they can be reached at all.

use std::net::IpAddr;
use std::path;

use ::kernel::route;

use crate::error::Result;
use crate::spec::Protocol;

use super::path::Path;
use super::{Report, names, refused, sockets};

/// Where the way out is not whole, only what has nothing to do with it is told.
pub(super) fn check(report: &mut Report, path: &mut Path, files: &path::Path, is_whole: bool) -> Result<()> {
    let endpoints = &path.connected.endpoints;
    if !endpoints.is_empty() && !endpoints.iter().any(|endpoint| endpoint.is_default) {
        report.skip("name servers", "none of the container's networks leads out");
        return Ok(());
    }
    let is_out = !path.default_routes(false)?.is_empty() || !path.default_routes(true)?.is_empty();
    if path.is_private() && path.connected.endpoints.is_empty() && !is_out {
        report.skip("name servers", "the container has no network to ask them over");
        return Ok(());
    }
    let servers = names::servers(files);
    if servers.is_empty() {
        report.warn(
            "name servers",
            "none in resolv.conf: names other than those in /etc/hosts are not found",
            "xnet run --dns ADDRESS ...",
        );
        return Ok(());
    }
    for server in servers {
        if !is_whole && !server.is_loopback() {
            report.skip("name servers", format!("{server}: first put right what is bad above"));
            continue;
        }
        match trouble(path, server)? {
            None => report.ok("name servers", format!("{server}, to which there is a route")),
            Some((seen, fix)) => report.bad("name servers", seen, fix),
        }
    }
    Ok(())
}

/// Why a name server can't be reached, and what to do about it.
fn trouble(path: &mut Path, server: IpAddr) -> Result<Option<(String, String)>> {
    if server.is_loopback() && path.is_private() {
        let listening = sockets::listeners(path, Protocol::Udp)?.unwrap_or_default();
        let answers = listening.iter().any(|at| at.port() == 53 && (at.ip() == server || at.ip().is_unspecified()));
        let seen = format!("{server} is the container's own loopback, where nobody listens: it is not the host's");
        return Ok((!answers).then(|| (seen, "xnet run --dns ADDRESS ...".to_owned())));
    }
    let answer = path.inside.exchange(&[route::get(server)]).map_err(refused)?.into_iter().next();
    Ok(match answer {
        Some(Err(refusal)) => {
            Some((format!("there is no route to {server}: {refusal}"), path.command(&format!("ip route get {server}"))))
        }
        _ => None,
    })
}
