//! Where things are kept for somebody who is not root: the places of the XDG base directory specification.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::error::{Context, Error, Result};
use crate::spec::Dirs;

/// What outlives a reboot: `$XDG_DATA_HOME/xnet`.
///
/// # Errors
/// Neither that variable nor `HOME` is set.
pub(crate) fn data() -> Result<PathBuf> {
    let home = || Some(absolute("HOME")?.join(".local/share"));
    let base = absolute("XDG_DATA_HOME").or_else(home);
    base.map(|base| base.join("xnet"))
        .ok_or_else(|| Error::new("neither XDG_DATA_HOME nor HOME says where to keep containers: use --root DIR"))
}

/// What does not: `$XDG_RUNTIME_DIR/xnet`, or what a login would have made of it, or a directory of one's own in /tmp.
pub(crate) fn state() -> PathBuf {
    let uid = geteuid().as_raw();
    let usual = || Some(PathBuf::from(format!("/run/user/{uid}"))).filter(|dir| is_own(dir));
    match absolute("XDG_RUNTIME_DIR").filter(|dir| is_own(dir)).or_else(usual) {
        Some(base) => base.join("xnet"),
        None => PathBuf::from(format!("/tmp/xnet-{uid}")),
    }
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn is_own(dir: &Path) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw())
}

/// Makes the state directory. Where others can make names too, one that is not the caller's own is refused.
pub(super) fn make(state: &Path) -> Result<()> {
    let failed = || format!("make {}", state.display());
    DirBuilder::new().recursive(true).mode(0o700).create(state).context(failed)?;
    match is_own(state) && fs::symlink_metadata(state).is_ok_and(|meta| meta.mode() & 0o022 == 0) {
        true => Ok(()),
        false => Err(Error::new(format!(
            "{} is somebody else's, or others may write there: use --state-dir DIR, or set XDG_RUNTIME_DIR",
            state.display()
        ))),
    }
}

/// The directories, for an `xnet` that is executed in here.
pub(super) fn environment(dirs: &Dirs) -> [(&'static str, OsString); 3] {
    [
        ("XNET_ROOT", dirs.data.clone().into()),
        ("XNET_STATE_DIR", dirs.state.clone().into()),
        ("XNET_NETNS_DIR", dirs.netns.clone().into()),
    ]
}
