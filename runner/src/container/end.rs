//! The end of a run, written down before anything of it is taken away.

use std::fs::OpenOptions;
use std::io::Write;

use crate::error::{Context, Error, Result};
use crate::moment::Moment;
use crate::spec::Spec;
use crate::state::{Container, Exit, Record, Store, events, undo};

use super::Warn;

/// Writes down how a run has ended, for those who wait for it and those who ask later. Answers the exit status.
pub(crate) fn write(store: &Store, container: &mut Container, spec: &Spec, ended: Result<Exit>) -> Result<u8> {
    let exit = match &ended {
        Ok(exit) => exit.clone(),
        Err(error) => Exit {
            exit_code: Some(error.status.code()),
            finished_at: Some(Moment::now()),
            error: error.message.clone(),
            ..Exit::default()
        },
    };
    container.record(&Record::Ended { exit: exit.clone() })?;
    if !spec.life.auto_remove {
        exit.write(&container.data)?;
    }
    if ended.is_ok() {
        announce_end(store, spec, &exit);
    }
    ended.map(|exit| exit.exit_code.unwrap_or_default())
}

fn announce_end(store: &Store, spec: &Spec, exit: &Exit) {
    if exit.oom_killed {
        events::append(store, spec, "oom", &[]);
    }
    let code = exit.exit_code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    events::append(store, spec, "die", &[("exitCode", code)]);
}

/// Says that the journal has not got the last `lines` of what the container has said, to those who follow events and to `warn`.
pub(crate) fn tell_unlogged(store: &Store, spec: &Spec, lines: u64, warn: Warn<'_>) {
    if lines == 0 {
        return;
    }
    let log = &spec.io.log;
    events::append(
        store,
        spec,
        "log-incomplete",
        &[("driver", log.driver.as_str().into()), ("missing", lines.to_string())],
    );
    let elsewhere = if log.has_file() { "; `xnet logs` has them" } else { "" };
    warn(&Error::new(format!(
        "the journal did not take up to {lines} lines of what the container has said{elsewhere}"
    )));
}

/// Removes what the last run of a container has made, and the container itself if it is not to stay.
pub(crate) fn finish(store: &Store, container: Container, spec: &Spec, warn: Warn<'_>) {
    let data = container.data.clone();
    match undo::finish(store, container, false) {
        Ok(()) if !data.exists() => events::append(store, spec, "destroy", &[]),
        Ok(()) => {}
        // What could not be undone stays on record; the next `xnet` tries again.
        Err(error) => warn(&error),
    }
}

/// Writes the id of a new container where it was asked for; that file must not be there yet.
pub(crate) fn announce(spec: &Spec, container: &Container) -> Result<()> {
    let Some(path) = &spec.life.cidfile else { return Ok(()) };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(container.id.as_str().as_bytes()))
        .context(|| format!("write the id to {}", path.display()))
}
