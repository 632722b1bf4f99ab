//! `xnet commit`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use clap::{ArgAction, Args};

use crate::cgroup;
use crate::container::{self, control};
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::image::commit::{About, Content};
use crate::image::config::{Config, Empty};
use crate::image::{self, Limits, Reference, change};
use crate::spec::{Dirs, Life, Rootfs, Spec, Storage};
use crate::state::{Status, Store, View};
use crate::storage::Place;
use crate::storage::merged::Merged;

use crate::cli::complain;

/// What becomes an image, and what is said about it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Commit {
    /// Who made it
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    author: String,
    /// A change of the configuration, as in a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A note
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
    /// Freeze the container meanwhile, so that what is taken fits together, if it can be frozen
    #[arg(short, long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pause: bool,
    /// An id, a name, or the beginning of an id
    container: String,
    /// What the image is called
    name: Option<Reference>,
}

impl Commit {
    /// Prints the new image's id.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let id = store.find(&self.container)?;
        let view = View::of(&store, &id)?;
        let wanted = self.pause && view.status == Status::Running;
        let impossible = cgroup::freeze::check(&view.cgroups).err().filter(|_| wanted);
        if let Some(why) = &impossible {
            complain(&Error::new(format!("the container is not frozen meanwhile: {}", why.message)));
        }
        let freeze = wanted && impossible.is_none();
        if freeze {
            control::freeze(&store, &id, true)?;
        }
        let image = self.commit(&store, dirs, &id, &view.spec);
        if freeze {
            control::freeze(&store, &id, false)?;
        }
        println!("{}", image?.id);
        Ok(0)
    }

    fn commit(&self, store: &Store, dirs: &Dirs, id: &Name, spec: &Spec) -> Result<image::Image> {
        let images = image::Store::open(&dirs.data)?;
        let parent = match &spec.root.rootfs {
            Rootfs::Image { id, .. } => Some(images.resolve(id)?),
            Rootfs::Dir(_) => None,
            Rootfs::Host => {
                return Err(Error::new(
                    "the container runs on the host's own /usr, which cannot become an image: commit works for containers of images and of --rootfs",
                ));
            }
        };
        let about = self.about(parent.as_ref(), spec)?;
        let keep = |content: Content<'_>, parent| {
            images.commit(parent, content, &about, self.name.as_ref(), Limits::default())
        };
        if parent.is_some() && spec.root.storage == Storage::Overlay {
            let diff = Place::of(&dirs.data, id).diff();
            let upper = File::open(&diff).context(|| format!("open {}", diff.display()))?;
            return keep(Content::Upper(upper.as_fd()), parent.as_ref());
        }
        // A copy holds everything, and a directory is no image: either way one layer is the whole of it.
        let merged = Merged::alone(store, dirs, id)?;
        keep(Content::Tree(merged.root.as_fd(), merged.users.as_ref()), None)
    }

    fn about(&self, parent: Option<&image::Image>, spec: &Spec) -> Result<About> {
        let mut config = as_asked_for(spec, parent.map(|parent| parent.config.config.clone()).unwrap_or_default());
        change::apply(&mut config, &self.change)?;
        Ok(About {
            config,
            author: self.author.clone(),
            comment: self.message.clone(),
            created_by: spec.process.argv.join(" "),
            platform: None,
        })
    }
}

/// What containers of the new image do by default: what this one did, whose image said `config`. Its options came on top of that,
/// so they stay; what belongs to a run or a host does not.
fn as_asked_for(spec: &Spec, mut config: Config) -> Config {
    let process = &spec.process;
    match process.argv.strip_prefix(config.entrypoint.as_slice()) {
        Some(rest) => config.cmd = rest.to_vec(),
        None => (config.entrypoint, config.cmd) = (Vec::new(), process.argv.clone()),
    }
    let of_the_run = |entry: &&String| ["HOSTNAME=", "TERM="].iter().any(|name| entry.starts_with(name));
    config.env = process.env.iter().filter(|entry| !of_the_run(entry) || config.env.contains(entry)).cloned().collect();
    let user = process.user.to_string();
    if user != "0" || !config.user.is_empty() {
        config.user = user;
    }
    if process.workdir != Path::new("/") || !config.working_dir.is_empty() {
        config.working_dir = process.workdir.display().to_string();
    }
    config.exposed_ports.extend(spec.net.exposed.iter().map(|port| (port.to_string(), Empty {})));
    config.labels.clone_from(&spec.life.labels);
    if spec.life.stop_signal != Life::default().stop_signal || !config.stop_signal.is_empty() {
        config.stop_signal = spec.life.stop_signal.to_string();
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::spec_of;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_the_container_was_asked_to_be_is_what_its_image_is() {
        let options = ["-u", "7:8", "-w", "/w", "-e", "A=b", "--expose", "81", "-l", "x=y", "--stop-signal", "INT"];
        let spec = spec_of(&[&options, &["--", "/bin/echo", "said", "this"][..]].concat());
        let image = Config { entrypoint: texts(&["/bin/echo", "said"]), cmd: texts(&["that"]), ..Config::default() };
        let config = as_asked_for(&spec, image);
        assert_eq!((config.entrypoint, config.cmd), (texts(&["/bin/echo", "said"]), texts(&["this"])));
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("7:8", "/w"));
        assert!(config.env.contains(&"A=b".to_owned()), "{:?}", config.env);
        assert!(!config.env.iter().any(|entry| entry.starts_with("HOSTNAME=")), "{:?}", config.env);
        assert_eq!(config.exposed_ports.into_keys().collect::<Vec<_>>(), ["81/tcp"]);
        assert_eq!((config.labels["x"].as_str(), config.stop_signal.as_str()), ("y", "SIGINT"));
        // Another entrypoint leaves nothing of the image's.
        let image = Config { entrypoint: texts(&["/other"]), cmd: texts(&["that"]), ..Config::default() };
        let config = as_asked_for(&spec, image);
        assert_eq!((config.entrypoint, config.cmd), (vec![], texts(&["/bin/echo", "said", "this"])));
        // What nobody has asked for is not said either.
        let plain = as_asked_for(&spec_of(&["--", "true"]), Config::default());
        assert_eq!((plain.user.as_str(), plain.working_dir.as_str(), plain.stop_signal.as_str()), ("", "", ""));
    }
}
