//! Where the changes of a container are, apart from what they are changes of.
//!
//! Each container has a directory `DATA/overlay/ID`:
//!
//!  * `diff`: what the container has written, as a layer: new and changed files, a character device 0:0 for each name that is
//!    deleted, the attribute `trusted.overlay.opaque` on each directory that was replaced. With the driver vfs: everything;
//!  * `work`: the overlay's own scratch space;
//!  * `merged`: empty on the host. In the container's mount namespace the root file system is mounted there until it becomes
//!    the root; the host sees it through `/proc/PID/root`;
//!  * `usr`, `usr-work`, `lower`: for a container of the host's own root ([`hostview`]).
//!
//! The layers are given to the kernel as descriptors ([`overlay`]), so there is no path in an option that could be read as
//! two. They are never written to: what is below is shared by all who use it.

pub(crate) mod changes;
pub(crate) mod hostview;
pub(crate) mod merged;
pub(crate) mod overlay;
pub(crate) mod size;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::FileStat;
use nix::sys::statfs::{NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, statfs};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::setup::mounts;
use crate::spec::{Dirs, Root, Rootfs, Source, Spec, Storage, Users};
use crate::state::{Container, Record};
use crate::sys::ns::in_initial_user;
use crate::volume::Volumes;
use crate::{fault, image, sys};

use tree::{Copier, Owner};

/// The directory of one container's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(PathBuf);

/// All of them, under the data directory.
const ALL: &str = "overlay";

impl Place {
    /// That of container `id`, whether it exists or not.
    pub(crate) fn of(data: &Path, id: &Name) -> Self {
        Self(data.join(ALL).join(id.as_str()))
    }

    /// The directory again, from a log.
    pub(crate) fn at(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// What the container has written.
    pub(crate) fn diff(&self) -> PathBuf {
        self.0.join("diff")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// Where the root file system is mounted, for the container's eyes only.
    pub(crate) fn merged(&self) -> PathBuf {
        self.0.join("merged")
    }

    /// What the container has written below /usr, if that is the host's.
    pub(crate) fn usr(&self) -> PathBuf {
        self.0.join("usr")
    }

    pub(crate) fn usr_work(&self) -> PathBuf {
        self.0.join("usr-work")
    }

    /// The names under which the changes are.
    pub(crate) fn create(&self) -> Result<()> {
        match directory(&self.0, 0o700) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parent = self.0.parent().unwrap_or(Path::new("/"));
                let all = DirBuilder::new().recursive(true).mode(0o700).create(parent);
                all.and_then(|()| directory(&self.0, 0o700))
            }
            made => made,
        }
        .context(|| format!("make {}", self.0.display()))?;
        for (path, mode) in [(self.diff(), 0o755), (self.work(), 0o700), (self.merged(), 0o700)] {
            directory(&path, mode).context(|| format!("make {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes it all. What is not there need not be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        // Most of it is empty, in an overlay that has never waited for the disk but for the mark that says so.
        let marked = self.work().join("work/incompat/volatile");
        let _ = fs::remove_file(marked.join("dirty"));
        let _ = marked.ancestors().take(4).try_for_each(fs::remove_dir);
        let _ = fs::remove_dir(self.merged());
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context(|| format!("remove {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Makes what a container needs on the disk beside its configuration: the directory of its changes, and its volumes.
pub(crate) fn prepare(spec: &Spec, dirs: &Dirs, container: &mut Container) -> Result<Place> {
    let root = &spec.root;
    for mount in &root.mounts {
        mounts::check(mount)?;
    }
    if let Rootfs::Image { id, .. } = &root.rootfs {
        container.record(&Record::Image { data: dirs.data.clone() })?;
        image::Store::open(&dirs.data)?.hold(&id.parse()?, &container.id)?;
    }
    let place = Place::of(&dirs.data, &container.id);
    container.record(&Record::Layer { dir: place.dir().to_owned() })?;
    fault::point("log-layer")?;
    place.create()?;
    if root.rootfs == Rootfs::Host && root.storage == Storage::Overlay {
        for path in [place.usr(), place.usr_work()] {
            directory(&path, 0o755).context(|| format!("make {}", path.display()))?;
        }
    }
    if root.storage == Storage::Vfs {
        copy(root, copies_owner(spec), dirs, &place).context(|| "copy the root file system")?;
    }
    volumes(root, dirs, container)?;
    fault::point("make-layer")?;
    Ok(place)
}

/// Who copied files belong to: where no mount can translate that, those whom the container sees as the originals' owners.
fn copies_owner(spec: &Spec) -> Owner<'_> {
    let shifted = spec.namespaces.user.as_ref().filter(|_| !in_initial_user());
    shifted.map_or(Owner::Same, Owner::Towards)
}

fn volumes(root: &Root, dirs: &Dirs, container: &mut Container) -> Result<()> {
    let volumes = Volumes::of(&dirs.data);
    for mount in &root.mounts {
        let Source::Volume { name, anonymous, .. } = &mount.source else { continue };
        if *anonymous {
            container.record(&Record::Volume { data: dirs.data.clone(), name: name.clone() })?;
        }
        volumes.ensure(name, *anonymous, &BTreeMap::new())?;
    }
    Ok(())
}

/// Fills the directory of the changes with everything that is below them. `owner` says whose the copies are, where no mount
/// can translate that.
fn copy(root: &Root, owner: Owner<'_>, dirs: &Dirs, place: &Place) -> Result<()> {
    let open = |path: &Path| fs::File::open(path).context(|| format!("open {}", path.display()));
    let target = open(&place.diff())?;
    let data = fs::metadata(&dirs.data).map(|meta| (meta.dev(), meta.ino())).unwrap_or_default();
    match &root.rootfs {
        Rootfs::Host => {
            let layer = hostview::layer(&dirs.data, place)?;
            let mut copier = Copier::new(target.as_fd(), &|_| true)?;
            copier.owner = owner;
            copier.contents(layer.dir.as_fd())?;
            tree::like(layer.dir.as_fd(), target.as_fd(), owner)
        }
        Rootfs::Dir(path) => {
            let source = open(path)?;
            let device = source.metadata().context(|| format!("look at {}", path.display()))?.dev();
            // Not what is mounted there, and not the copies that xnet keeps.
            let own = |stat: &FileStat| stat.st_dev == device && (stat.st_dev, stat.st_ino) != data;
            let mut copier = Copier::new(target.as_fd(), &own)?;
            copier.owner = owner;
            copier.contents(source.as_fd())?;
            tree::like(source.as_fd(), target.as_fd(), owner)
        }
        Rootfs::Image { layers, .. } => layers.iter().try_for_each(|layer| {
            let source = open(layer)?;
            let mut copier = Copier::new(target.as_fd(), &|_| true)?;
            (copier.layer, copier.owner) = (true, owner);
            copier.contents(source.as_fd())?;
            tree::like(source.as_fd(), target.as_fd(), owner)
        }),
    }
}

/// The driver that works for changes in `data`, and the owners `users`: copying, if the kernel cannot stack there, and then a
/// word about it.
pub(crate) fn driver(asked: Storage, data: &Path, users: Option<&Users>) -> (Storage, Option<Error>) {
    let reason = match statfs(data.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"))) {
        _ if asked == Storage::Vfs => return (asked, None),
        Ok(found) if found.filesystem_type() == OVERLAYFS_SUPER_MAGIC => {
            format!("{} is on an overlay itself, where nothing can be stacked", data.display())
        }
        Ok(found) if found.filesystem_type() == NFS_SUPER_MAGIC => {
            format!("{} is on NFS, where nothing can be stacked", data.display())
        }
        _ if in_initial_user() => return (asked, None),
        _ if users.is_some_and(|users| !users.is_identity()) => {
            "without the host's root no layer can be mounted with other owners".to_owned()
        }
        _ => match sys::mount::Context::open(c"overlay") {
            Ok(_) => return (asked, None),
            Err(errno) => format!("without the host's root this kernel cannot stack layers ({})", errno.desc()),
        },
    };
    let warning = format!("{reason}: the root file system is copied (--storage vfs)");
    (Storage::Vfs, Some(Error::new(warning)))
}

/// A directory of exactly this mode.
fn directory(path: &Path, mode: u32) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    if mode == 0o700 {
        return Ok(());
    }
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_place_is_made_for_root_and_removed_twice() {
        let data = tempfile::tempdir().unwrap();
        let place = Place::of(data.path(), &"abc".parse().unwrap());
        place.create().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(place.dir()), mode(&place.diff()), mode(&place.work())), (0o700, 0o755, 0o700));
        assert!(place.create().is_err(), "made over an existing one");
        place.remove().unwrap();
        place.remove().unwrap();
        assert_eq!(fs::read_dir(data.path().join(ALL)).unwrap().count(), 0);
    }
}
