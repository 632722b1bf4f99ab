//! From what a person types to a network namespace.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::net::{Connected, join};
use crate::spec::Dirs;
use crate::state::Store;
use crate::sys;
use crate::sys::ns::Kind;

/// A namespace, held.
#[derive(Debug)]
pub(crate) struct Target {
    /// For people.
    pub(crate) title: String,
    /// The namespace.
    pub(crate) netns: OwnedFd,
    /// A file by which `ip` finds it.
    pub(crate) name: Option<PathBuf>,
    /// Where `resolv.conf` and `hosts` are, for a container's.
    pub(crate) files: Option<PathBuf>,
}

impl Target {
    /// The namespace that `text` means: `host`, a container (id, beginning of one, name), a process number, a path, or a
    /// name in one of the directories of names; in this order.
    ///
    /// # Errors
    /// It means nothing, or something that has ended or is no network namespace.
    pub(crate) fn find(text: &str, store: &Store, dirs: &Dirs) -> Result<Self> {
        if text == "host" {
            return Self::of_file(Path::new("/proc/1/ns/net"), "host");
        }
        match store.resolve(text) {
            Ok(info) => {
                let connected = crate::net::connected::expect(store, &info.id)?;
                if connected.netns.is_none() {
                    let host = Self::of_process(info.pid)?;
                    return Ok(Self { title: connected.title().to_owned(), ..host });
                }
                let netns = join::namespace(&info, &connected)?;
                return Ok(Self::of_container(&connected, netns));
            }
            Err(error) if error.message.contains("ambiguous") => return Err(error),
            Err(_) => {}
        }
        if let Ok(pid) = text.parse() {
            return Self::of_process(pid);
        }
        if text.contains('/') {
            return Self::of_file(Path::new(text), text);
        }
        let places = [dirs.netns.join(text), Path::new("/run/netns").join(text)];
        match places.iter().find(|path| path.exists()) {
            Some(path) => Self::of_file(path, text),
            None => Err(Error::new(format!(
                "{text:?} is neither host, a running container, a process, a path, nor a name in {}",
                dirs.netns.display()
            ))),
        }
    }

    fn of_container(connected: &Connected, netns: OwnedFd) -> Self {
        Self {
            title: connected.title().to_owned(),
            netns,
            name: connected.netns.clone(),
            files: Some(connected.files.clone()),
        }
    }

    /// By its descriptor, so that it is this process or none.
    fn of_process(pid: i32) -> Result<Self> {
        let number = Pid::from_raw(pid);
        let found =
            sys::signal::pidfd_open(number).and_then(|pidfd| sys::ns::of_process(pidfd.as_fd(), number, Kind::Net));
        let netns = found.context(|| format!("the network namespace of process {pid}"))?;
        Ok(Self { title: pid.to_string(), netns, name: None, files: None })
    }

    fn of_file(path: &Path, title: &str) -> Result<Self> {
        let file = File::open(path).context(|| format!("open {}", path.display()))?;
        if !sys::ns::is_net(file.as_fd()).context(|| format!("look at {}", path.display()))? {
            return Err(Error::new(format!("{} is not a network namespace", path.display())));
        }
        Ok(Self { title: title.to_owned(), netns: file.into(), name: Some(path.to_owned()), files: None })
    }

    /// What `ip -n` takes for it.
    pub(crate) fn ip_name(&self) -> String {
        let name = self.name.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
        name.map_or_else(|| self.title.clone(), str::to_owned)
    }
}
