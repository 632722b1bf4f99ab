//! `xnet inspect`, and how all commands of that name answer.

use clap::{Args, ValueEnum};
use serde_json::Value as Json;

use crate::container;
use crate::error::{Error, Result};
use crate::format::{Template, pretty};
use crate::net::Connected;
use crate::net::catalog;
use crate::spec::Dirs;
use crate::state::{Store, View};
use crate::storage::{Place, size};
use crate::volume::Volumes;
use crate::{image, inspect};

use super::{complain, network, volume};

/// What to tell about, and how.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// A template in the place of JSON
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// The sizes of containers too
    #[arg(short, long)]
    size: bool,
    /// Only things of this sort
    #[arg(long = "type", value_name = "SORT")]
    kind: Option<Kind>,
    /// Containers, images, networks or volumes, by name or id
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// What a name can stand for, in the order in which it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

const KINDS: [Kind; 4] = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];

impl Inspect {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        answer(&self.names, self.format.as_deref(), |name| self.find(name, &store, dirs))
    }

    /// What `name` stands for: the first sort of things that has one of this name.
    fn find(&self, name: &str, store: &Store, dirs: &Dirs) -> Result<Json> {
        if let Some(kind) = self.kind {
            return self.find_as(kind, name, store, dirs);
        }
        let mut refused = Error::new(format!("no such object: {name}"));
        for kind in KINDS {
            match self.find_as(kind, name, store, dirs) {
                Ok(found) => return Ok(found),
                // There is more than one; who is meant is not for us to say.
                Err(error) if error.message.contains("ambiguous") => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    fn find_as(&self, kind: Kind, name: &str, store: &Store, dirs: &Dirs) -> Result<Json> {
        match kind {
            Kind::Container => self.container(name, store, dirs),
            Kind::Image => {
                let images = image::Store::open(&dirs.data)?;
                images.inspect(&images.resolve(name)?)
            }
            Kind::Network => {
                let (list, source) = catalog::locate(name, dirs)?;
                Ok(network::describe(name, list.bytes(), &source, store))
            }
            Kind::Volume => {
                let volumes = Volumes::of(&dirs.data);
                Ok(volume::describe(&volumes, &volumes.get(name)?))
            }
        }
    }

    fn container(&self, name: &str, store: &Store, dirs: &Dirs) -> Result<Json> {
        let view = View::of(store, &store.find(name)?)?;
        let net = Connected::read(store, view.id()).filter(|_| view.status.is_alive());
        let place = Place::of(&dirs.data, view.id());
        let sizes = self.size.then(|| size::of(&view.spec.root, &place)).transpose()?;
        Ok(inspect::Subject { view: &view, net: net.as_ref(), dirs, sizes }.describe())
    }
}

/// Prints what is found of `names`: an array with four spaces, as elsewhere, or the template filled in for each. Who is not
/// found is complained about, and makes the exit status 1.
pub(super) fn answer(names: &[String], format: Option<&str>, mut find: impl FnMut(&str) -> Result<Json>) -> Result<u8> {
    let template = match format.filter(|text| *text != "json").map(Template::parse).transpose() {
        Ok(template) => template,
        Err(error) => return Ok(fail(&error)),
    };
    let (mut found, mut code) = (Vec::new(), 0);
    for name in names {
        match find(name) {
            Ok(object) => found.push(object),
            Err(error) => code = fail(&error),
        }
    }
    match (template, format) {
        (Some(template), _) => {
            for object in &found {
                match template.render(object) {
                    Ok(text) => println!("{text}"),
                    Err(error) => code = fail(&error),
                }
            }
        }
        (None, Some(_)) => found.iter().for_each(|object| println!("{object}")),
        (None, None) => println!("{}", pretty(&Json::Array(found))?),
    }
    Ok(code)
}

/// Complains, and answers the exit status for it: nothing of the user's was to be run.
fn fail(error: &Error) -> u8 {
    complain(error);
    1
}
