//! `--filter KEY=VALUE` of `xnet ps`, `start` and `stop`: of filters with one key any must fit, of those with different keys all.

use crate::error::{Error, Result};
use crate::health;
use crate::moment::Moment;
use crate::net::Connected;
use crate::spec::Restart;
use crate::state::{Store, View};

/// The filters of one command line.
#[derive(Debug)]
pub(super) struct Filters(Vec<(String, Filter)>);

#[derive(Debug)]
enum Filter {
    Id(String),
    Name(String),
    Label(String, Option<String>),
    Status(String),
    Exited(u8),
    Network(String),
    Before(Moment),
    Since(Moment),
    Policy(String),
    Boot(bool),
    Health(String),
}

const POLICIES: [&str; 4] = ["no", "always", "unless-stopped", "on-failure"];
const HEALTHS: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];
const STATUSES: [&str; 6] = ["created", "running", "paused", "restarting", "exited", "dead"];

impl Filters {
    /// Parses what was typed; `before` and `since` refer to containers of `store`.
    pub(super) fn parse(texts: &[String], store: &Store) -> Result<Self> {
        texts.iter().map(|text| Filter::parse(text, store)).collect::<Result<_>>().map(Self)
    }

    /// Whether one of them is about the status, so that those which do not run are not left out beforehand.
    pub(super) fn are_about_status(&self) -> bool {
        self.0.iter().any(|(_, filter)| matches!(filter, Filter::Status(_) | Filter::Exited(_)))
    }

    /// Whether the container `view` is one that was asked for.
    pub(super) fn want(&self, view: &View, store: &Store) -> bool {
        self.0.iter().all(|(key, _)| {
            let same = self.0.iter().filter(|(other, _)| other == key);
            // Labels are the exception: a container has several.
            if key == "label" {
                same.map(|(_, filter)| filter).all(|filter| filter.fits(view, store))
            } else {
                same.map(|(_, filter)| filter).any(|filter| filter.fits(view, store))
            }
        })
    }
}

impl Filter {
    fn parse(text: &str, store: &Store) -> Result<(String, Self)> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| Error::new(format!("invalid filter {text:?}: expected KEY=VALUE")))?;
        let created = || Ok::<_, Error>(store.spec(&store.find(value)?)?.life.created);
        let filter = match key {
            "id" => Self::Id(value.to_owned()),
            "name" => Self::Name(value.trim_start_matches('/').to_owned()),
            "label" => match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            },
            "status" if STATUSES.contains(&value) => Self::Status(value.to_owned()),
            "status" => {
                return Err(Error::new(format!("invalid filter {text:?}: a status is one of {}", STATUSES.join(", "))));
            }
            "exited" => Self::Exited(
                value
                    .parse()
                    .map_err(|_| Error::new(format!("invalid filter {text:?}: expected a status from 0 to 255")))?,
            ),
            "restart-policy" if POLICIES.contains(&value) => Self::Policy(value.to_owned()),
            "restart-policy" => {
                return Err(Error::new(format!("invalid filter {text:?}: a policy is one of {}", POLICIES.join(", "))));
            }
            "should-start-on-boot" => Self::Boot(
                value.parse().map_err(|_| Error::new(format!("invalid filter {text:?}: expected true or false")))?,
            ),
            "health" if HEALTHS.contains(&value) => Self::Health(value.to_owned()),
            "health" => {
                return Err(Error::new(format!("invalid filter {text:?}: health is one of {}", HEALTHS.join(", "))));
            }
            "network" => Self::Network(value.to_owned()),
            "before" => Self::Before(created()?),
            "since" => Self::Since(created()?),
            _ => return Err(Error::new(format!("invalid filter {text:?}: there is no key {key:?}"))),
        };
        Ok((key.to_owned(), filter))
    }

    fn fits(&self, view: &View, store: &Store) -> bool {
        let life = &view.spec.life;
        match self {
            Self::Id(start) => view.id().as_str().starts_with(start),
            Self::Name(part) => view.spec.name.as_ref().is_some_and(|name| name.as_str().contains(part)),
            Self::Label(key, None) => life.labels.contains_key(key),
            Self::Label(key, Some(value)) => life.labels.get(key) == Some(value),
            Self::Status(status) => view.status.to_string() == *status,
            Self::Exited(code) => {
                !view.status.is_alive() && view.exit.as_ref().is_some_and(|exit| exit.exit_code == Some(*code))
            }
            Self::Network(name) => {
                let connected = Connected::read(store, view.id());
                connected.iter().flat_map(|c| &c.endpoints).any(|endpoint| endpoint.network == *name)
                    || view.spec.net.mode.to_string() == *name
            }
            Self::Policy(policy) => life.restart.parts().0 == policy,
            Self::Boot(wanted) => starts_on_boot(view) == *wanted,
            Self::Health(wanted) => health::of(view).map_or("none", health::Status::name) == wanted,
            Self::Before(moment) => life.created < *moment,
            Self::Since(moment) => life.created > *moment,
        }
    }
}

/// Whether the container is to run again when the machine has been started: `always` if it has ever run, `unless-stopped` if no
/// person has ended its last run, which nobody may have seen end.
fn starts_on_boot(view: &View) -> bool {
    view.exit.as_ref().is_some_and(|last| match view.spec.life.restart {
        Restart::Always => true,
        Restart::UnlessStopped => !last.stopped,
        Restart::No | Restart::OnFailure(_) => false,
    })
}
