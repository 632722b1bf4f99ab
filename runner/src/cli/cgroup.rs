//! `xnet cgroup`: where a container is in every hierarchy, and what its files say.

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cgroup::{self, Group};
use crate::container;
use crate::error::{Error, Result};
use crate::spec::Dirs;
use crate::state::View;

use super::complain;

/// Which container, and how.
#[derive(Debug, Args)]
pub(super) struct Cgroup {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// An id, a name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Cgroup {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let view = View::of(&store, &store.find(&self.container)?)?;
        if !view.status.is_alive() {
            return Err(Error::new(format!("the container {} is not running, so it has no cgroups", view.called())));
        }
        let hierarchies = cgroup::of_host()?;
        let places = Group::of(&hierarchies, &view.spec).places();
        if self.json {
            let place = |place: &cgroup::survey::Place| {
                let files: Map<_, Json> = place.files.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
                json!({"Controllers": place.controllers, "Path": place.path, "Files": files})
            };
            println!("{:#}", places.iter().map(place).collect::<Json>());
            return Ok(0);
        }
        for place in &places {
            println!("{}\t{}", place.controllers, place.path.display());
            for (name, value) in &place.files {
                println!("\t{name} = {}", value.replace('\n', "; "));
            }
        }
        Ok(0)
    }
}
