//! What `xnet ps` says about one container.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use crate::format::units;
use crate::health;
use crate::moment::Moment;
use crate::net::Connected;
use crate::net::ports::Mapping;
use crate::state::{Exit, Status, Store, View};

/// The columns, by their names in templates.
pub(super) fn of(view: &View, store: &Store, whole: bool) -> Json {
    let connected = Connected::read(store, view.id()).filter(|_| view.status.is_alive());
    let labels: Vec<_> = view.spec.life.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let command = view.spec.process.argv.join(" ");
    json!({
        "ID": if whole { view.id().as_str() } else { view.id().short() },
        "Image": view.spec.root.rootfs.to_string(),
        "Command": format!("\"{}\"", if whole { command } else { cut(command) }),
        "CreatedAt": view.spec.life.created,
        "RunningFor": ago(view.spec.life.created),
        "Status": status(view),
        "State": view.status,
        "Names": view.called(),
        "Labels": labels.join(","),
        "Networks": networks(view, connected.as_ref()),
        "Ports": ports(connected.as_ref()),
        "Pid": view.run.as_ref().map_or(0, |run| run.pid),
        "RestartCount": restarts(view),
    })
}

fn restarts(view: &View) -> u32 {
    view.run.as_ref().map(|run| run.restarts).or_else(|| Some(view.exit.as_ref()?.restarts)).unwrap_or_default()
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago` and so on.
fn status(view: &View) -> String {
    let exit = view.exit.clone().unwrap_or_default();
    let ended = || exit.finished_at.map(ago).unwrap_or_default();
    match view.status {
        Status::Created => "Created".to_owned(),
        Status::Running | Status::Paused => {
            let since = view.run.as_ref().map(|run| ago(run.started_at)).unwrap_or_default();
            let paused = if view.status == Status::Paused { " (Paused)" } else { "" };
            format!("Up {}{}{paused}", since.trim_end_matches(" ago"), health(view))
        }
        Status::Restarting => format!("Restarting ({}) {}", code(&exit), ended()),
        Status::Exited => format!("Exited ({}) {}", code(&exit), ended()).trim_end().to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

/// What a container says of its health, if it is asked.
fn health(view: &View) -> String {
    match health::of(view) {
        None => String::new(),
        Some(health::Status::Starting) => " (health: starting)".to_owned(),
        Some(status) => format!(" ({})", status.name()),
    }
}

fn code(exit: &Exit) -> String {
    exit.exit_code.map_or_else(|| "unknown".to_owned(), |code| code.to_string())
}

fn ago(moment: Moment) -> String {
    units::ago(moment.elapsed())
}

/// The networks that it is on, or its mode if it is on none by itself.
fn networks(view: &View, connected: Option<&Connected>) -> String {
    let names: Vec<_> = connected.iter().flat_map(|c| &c.endpoints).map(|e| e.network.as_str()).collect();
    if names.is_empty() { view.spec.net.mode.to_string() } else { names.join(",") }
}

fn ports(connected: Option<&Connected>) -> String {
    let all: Vec<_> = connected.iter().flat_map(|c| &c.ports).map(port).collect();
    all.join(", ")
}

/// `0.0.0.0:8080->80/tcp`.
fn port(mapping: &Mapping) -> String {
    let Mapping { host_port, container_port, protocol, .. } = mapping;
    let host = match mapping.host_ip {
        None => "0.0.0.0".to_owned(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        Some(address) => address.to_string(),
    };
    format!("{host}:{host_port}->{container_port}/{protocol}")
}

/// As much of a command as a table has room for.
fn cut(text: String) -> String {
    const ROOM: usize = 20;
    if text.chars().count() <= ROOM {
        return text;
    }
    text.chars().take(ROOM - 1).chain(['…']).collect()
}
