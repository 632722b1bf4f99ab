//! `xnet commit`.

use std::fs::File;
use std::os::fd::AsFd;

use clap::{ArgAction, Args};

use crate::container::{self, control};
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::image::commit::{About, Content};
use crate::image::{self, Limits, Reference, change};
use crate::spec::{Dirs, Rootfs, Spec, Storage};
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
    /// Freeze the container meanwhile, so that what is taken fits together
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
        let freeze = self.pause && view.status == Status::Running;
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
        let mut config = parent.map(|parent| parent.config.config.clone()).unwrap_or_default();
        if parent.is_none() {
            config.cmd.clone_from(&spec.process.argv);
        }
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
