//! The end of a run, written down before anything of it is taken away.

use std::fs::OpenOptions;
use std::io::Write;

use crate::error::{Context, Result};
use crate::moment::Moment;
use crate::spec::Spec;
use crate::state::{Container, Exit, Record};

/// Writes down how a run has ended, for those who wait for it and those who ask later. Answers the exit status.
pub(crate) fn write(container: &mut Container, spec: &Spec, ended: Result<Exit>) -> Result<u8> {
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
    ended.map(|exit| exit.exit_code.unwrap_or_default())
}

/// Writes the id of a new container where it was asked for; that file must not be there yet.
pub(crate) fn announce(spec: &Spec, container: &Container) -> Result<()> {
    let Some(path) = &spec.life.cidfile else { return Ok(()) };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(container.id.as_str().as_bytes()))
        .context(|| format!("write the id to {}", path.display()))
}
