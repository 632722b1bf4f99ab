//! `xnet export`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;

use crate::container;
use crate::error::{Context, Error, Result};
use crate::image::tar::{Flavour, write_tree};
use crate::spec::{Dirs, Rootfs};
use crate::storage::merged::Merged;

use crate::cli::complain;

/// Whose files go where.
#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// The archive; standard output without
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// An id, a name, or the beginning of an id
    container: String,
}

impl Export {
    /// Writes the root file system as a tar archive, without what is mounted into it.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let id = store.find(&self.container)?;
        if store.spec(&id)?.root.rootfs == Rootfs::Host {
            return Err(Error::new(
                "the container runs on the host's own /usr, which is no part of it: export works for containers of images and of --rootfs",
            ));
        }
        let merged = Merged::alone(&store, dirs, &id)?;
        let mut out: Box<dyn Write> = match &self.output {
            Some(path) => Box::new(File::create(path).context(|| format!("create {}", path.display()))?),
            None if io::stdout().is_terminal() => {
                return Err(Error::new("an archive is nothing for a terminal: use -o FILE, or a pipe"));
            }
            None => Box::new(io::stdout().lock()),
        };
        let mut buffered = BufWriter::with_capacity(1 << 17, &mut out);
        write_tree(merged.root.as_fd(), Flavour::Whole, merged.users.as_ref(), &mut buffered)?;
        buffered.flush().context(|| "write the archive")?;
        Ok(0)
    }
}
