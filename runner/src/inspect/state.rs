//! `State`: what it does, and how it went.

use serde_json::{Value as Json, json};

use crate::health::Record;
use crate::moment::Moment;
use crate::state::{Status, View};

/// What stands for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn describe(view: &View) -> Json {
    let alive = view.status.is_alive();
    let exit = view.exit.clone().unwrap_or_default();
    let moment = |at: Option<Moment>| at.map_or_else(|| NEVER.to_owned(), |at| at.to_string());
    let pid = view.run.as_ref().filter(|_| alive).map_or(0, |run| run.pid);
    let mut state = json!({
        "Status": view.status,
        "Running": alive,
        "Paused": view.status == Status::Paused,
        "Restarting": view.status == Status::Restarting,
        "OOMKilled": exit.oom_killed,
        "Dead": view.status == Status::Dead,
        "Pid": pid,
        // A status that nobody knows is not zero.
        "ExitCode": if alive || view.status == Status::Created { 0 } else { exit.exit_code.map_or(-1, i64::from) },
        "Error": exit.error,
        "StartedAt": moment(view.run.as_ref().filter(|_| alive).map(|run| run.started_at).or(exit.started_at)),
        "FinishedAt": moment(exit.finished_at),
    });
    if view.spec.life.health.is_some() && view.status != Status::Created {
        let health = Record::read(&view.state).filter(|_| alive);
        state["Health"] = json!(health.unwrap_or_else(Record::of_ended));
    }
    state
}
