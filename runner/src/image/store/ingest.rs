//! An image on its way in.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::image::compress::{Compression, Unpacked};
use crate::image::digest::{Digest, Hashing};
use crate::image::limits::{Counted, Guarded, Limits};
use crate::image::manifest::{Descriptor, Manifest, encode};
use crate::image::name::Reference;
use crate::image::unpack;

use super::index::{Record, sync_dir};
use super::layers::{NOTE, Note};
use super::{Image, Store, layers, make_private};

/// More than any builder makes, and less than an overlay can stack.
const LAYERS: usize = 250;

/// The parts of one image, until they are in their places. Dropped before that, it leaves nothing but blobs that are
/// complete, which the next try need not fetch again.
#[derive(Debug)]
pub(in crate::image) struct Ingest<'a> {
    store: &'a Store,
    limits: Limits,
    temp: PathBuf,
    /// Unpacked here, lowest first, with their chain ids.
    built: Vec<(Digest, PathBuf)>,
    /// The trees of all layers so far, the topmost first.
    below: Vec<OwnedFd>,
    chain: Option<Digest>,
    diff_ids: Vec<Digest>,
    /// Nobody sweeps while this is held.
    _use: File,
}

/// What an image is to be called.
#[derive(Debug, Clone, Default)]
pub(in crate::image) struct Names {
    pub(in crate::image) names: Vec<Reference>,
    pub(in crate::image) digests: Vec<Reference>,
}

impl<'a> Ingest<'a> {
    pub(in crate::image) fn begin(store: &'a Store, limits: Limits) -> Result<Self> {
        let lock = store.lock_file("use")?;
        match lock.try_lock() {
            // Nobody else is bringing anything in, so what is there was left behind.
            Ok(()) => store.clear_temp()?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).context(|| "lock the store"),
        }
        lock.lock_shared().context(|| "lock the store")?;
        let temp = store.temp().join(Name::random()?.short());
        make_private(&temp)?;
        let (built, below, diff_ids) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { store, limits, temp, built, below, chain: None, diff_ids, _use: lock })
    }

    /// A new file on the way in.
    pub(in crate::image) fn scratch(&self) -> Result<(PathBuf, File)> {
        let path = self.temp.join(Name::random()?.short());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).context(|| format!("create {}", path.display()))?;
        Ok((path, file))
    }

    /// Whether a blob is in its place already.
    pub(in crate::image) fn has(&self, wanted: &Descriptor) -> bool {
        self.store.blob(&wanted.digest).metadata().is_ok_and(|meta| meta.len() == wanted.size)
    }

    /// Brings in the blob that `wanted` describes: not a byte more than it says, and only if it is what it is called.
    pub(in crate::image) fn fetch(&self, wanted: &Descriptor, reader: impl Read) -> Result<()> {
        let (path, file) = self.scratch()?;
        // A blob is compressed as a rule, so its own size counts as little as a limit allows.
        self.limits.check_size(wanted.size).context(|| format!("blob {}", wanted.digest))?;
        let mut hashing = Hashing::new(BufWriter::with_capacity(256 << 10, file));
        let copied = io::copy(&mut reader.take(wanted.size + 1), &mut hashing);
        copied.context(|| format!("read blob {}", wanted.digest))?;
        let (writer, digest, size) = hashing.finish();
        if size != wanted.size || digest != wanted.digest {
            return Err(Error::new(format!(
                "blob {} is not what it is called: {} bytes were expected, and it has {} with digest {digest}",
                wanted.digest,
                wanted.size,
                if size > wanted.size { "more".to_owned() } else { size.to_string() },
            )));
        }
        self.place(&path, writer, &digest)
    }

    /// Brings in a document.
    pub(in crate::image) fn document(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        if !self.has(&descriptor) {
            self.fetch(&descriptor, bytes)?;
        }
        Ok(descriptor)
    }

    /// Brings in a layer that nobody has named yet, as it is if it is compressed, and compressed if it is not.
    pub(in crate::image) fn layer_blob(&self, reader: impl Read) -> Result<Descriptor> {
        let mut reader = io::BufReader::with_capacity(128 << 10, reader);
        if Compression::of(&mut reader)? == Compression::Plain {
            let limits = self.limits;
            return self.compressed(|out| {
                let plain = AtomicU64::new(u64::MAX);
                io::copy(&mut Guarded::new(&mut reader, &plain, limits), out).context(|| "read the archive").map(drop)
            });
        }
        let (path, file) = self.scratch()?;
        let mut hashing = Hashing::new(BufWriter::new(file));
        let kind = Compression::of(&mut reader)?;
        let unlimited = AtomicU64::new(u64::MAX);
        io::copy(&mut Guarded::new(reader, &unlimited, self.limits), &mut hashing).context(|| "read the archive")?;
        let (writer, digest, size) = hashing.finish();
        self.place(&path, writer, &digest)?;
        Ok(Descriptor::new(kind.layer_type(), digest, size))
    }

    /// Brings in the layer that `write` writes as a plain tar.
    pub(in crate::image) fn compressed(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Descriptor> {
        let (path, file) = self.scratch()?;
        let hashing = Hashing::new(BufWriter::new(file));
        let mut encoder = zstd::Encoder::new(hashing, zstd::DEFAULT_COMPRESSION_LEVEL).context(|| "start zstd")?;
        write(&mut encoder)?;
        let (writer, digest, size) = encoder.finish().context(|| "write the layer")?.finish();
        self.place(&path, writer, &digest)?;
        Ok(Descriptor::new(Compression::Zstd.layer_type(), digest, size))
    }

    /// Brings a finished file to disk and to its place among the blobs.
    fn place(&self, path: &Path, writer: BufWriter<File>, digest: &Digest) -> Result<()> {
        let written = writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        written.context(|| format!("write {}", path.display()))?;
        crate::fault::point("blob-placed")?;
        fs::rename(path, self.store.blob(digest)).context(|| format!("rename {}", path.display()))
    }

    /// Puts a layer, whose blob is here, on top of those so far. Its plain content must be called `diff_id`, if that is
    /// known. Gives what it is called.
    pub(in crate::image) fn stack(&mut self, blob: &Descriptor, diff_id: Option<&Digest>) -> Result<Digest> {
        if self.diff_ids.len() >= LAYERS {
            return Err(Error::new(format!("the image has more than {LAYERS} layers")));
        }
        let at = self.diff_ids.len() + 1;
        let failed = || format!("layer {at} ({})", blob.digest.short());
        if let Some(diff_id) = diff_id {
            let chain = layers::next(self.chain.as_ref(), diff_id);
            let tree = self.store.tree(&chain);
            if tree.is_dir() {
                self.verify(blob, diff_id).context(failed)?;
                return self.push(chain, diff_id.clone(), &tree);
            }
        }
        let dir = self.temp.join(format!("layer-{at}"));
        let (found, size, tar_size) = self.unpack(blob, &dir.join("diff")).context(failed)?;
        if let Some(wanted) = diff_id.filter(|wanted| **wanted != found) {
            return Err(Error::new(format!("{}: its content is {found}, and {wanted} was promised", failed())));
        }
        let chain = layers::next(self.chain.as_ref(), &found);
        let note = Note { diff_id: found.clone(), parent: self.chain.clone(), size, tar_size };
        fs::write(dir.join(NOTE), encode(&note)?).context(|| "note the layer's size")?;
        self.built.push((chain.clone(), dir.clone()));
        self.push(chain, found, &dir.join("diff"))
    }

    /// The same for a layer of an image that is in the store: there is nothing to be verified.
    pub(in crate::image) fn stack_known(&mut self, blob: &Descriptor, diff_id: &Digest) -> Result<()> {
        let chain = layers::next(self.chain.as_ref(), diff_id);
        let tree = self.store.tree(&chain);
        match tree.is_dir() {
            true => self.push(chain, diff_id.clone(), &tree).map(drop),
            false => self.stack(blob, Some(diff_id)).map(drop),
        }
    }

    fn push(&mut self, chain: Digest, diff_id: Digest, tree: &Path) -> Result<Digest> {
        self.below.insert(0, open_dir(tree)?);
        self.chain = Some(chain);
        self.diff_ids.push(diff_id.clone());
        Ok(diff_id)
    }

    /// Reads a layer whose tree is here already: what the manifest names must be that layer.
    fn verify(&self, blob: &Descriptor, wanted: &Digest) -> Result<()> {
        let (found, (), _) =
            self.plain(blob, |reader| io::copy(reader, &mut io::sink()).context(|| "read").map(drop))?;
        match found == *wanted {
            true => Ok(()),
            false => Err(Error::new(format!("its content is {found}, and {wanted} was promised"))),
        }
    }

    fn unpack(&self, blob: &Descriptor, tree: &Path) -> Result<(Digest, u64, u64)> {
        for dir in [tree, &tree.with_file_name("work"), &tree.with_file_name("merged")] {
            make_private(dir)?;
        }
        let root = open_dir(tree)?;
        self.plain(blob, |reader| unpack::unpack(reader, root, &self.below, self.limits))
    }

    /// Hands the plain content of a blob to `consume`, and says what it is called and how long it was.
    fn plain<T>(
        &self,
        blob: &Descriptor,
        consume: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<(Digest, T, u64)> {
        let path = self.store.blob(&blob.digest);
        let file = File::open(&path).context(|| format!("open {}", path.display()))?;
        let packed = AtomicU64::new(0);
        let (unpacked, _) = Unpacked::new(Counted::new(Hashing::new(file), &packed))?;
        let mut plain = Hashing::new(Guarded::new(unpacked, &packed, self.limits));
        let made = consume(&mut plain)?;
        let (_, digest, size) = plain.finish();
        Ok((digest, made, size))
    }

    /// Makes the image known: its layers get to their places, and then its names into the list.
    pub(in crate::image) fn finish(mut self, manifest: &Manifest, bytes: &[u8], names: &Names) -> Result<Image> {
        let described = self.document(&manifest.media_type, bytes)?;
        let disk = open_dir(&self.store.layers)?;
        nix::unistd::syncfs(&disk).context(|| "write the layers to disk")?;
        crate::fault::point("layers-synced")?;
        let _lock = self.store.lock()?;
        for (chain, dir) in std::mem::take(&mut self.built) {
            let place = self.store.layer(&chain);
            match fs::rename(&dir, &place) {
                // Somebody else has brought in the same layer meanwhile; ours goes with the rest of `temp`.
                Err(_) if place.join(NOTE).exists() => {}
                moved => moved.context(|| format!("move a layer to {}", place.display()))?,
            }
        }
        sync_dir(&self.store.layers)?;
        sync_dir(&self.store.blobs())?;
        crate::fault::point("layers-placed")?;
        self.list(&manifest.config.digest, &described.digest, names)
    }

    /// Only names an image that is here already, with all its parts and by the same manifest.
    pub(in crate::image) fn again(&self, id: &Digest, manifest: &Digest, names: &Names) -> Result<Option<Image>> {
        let _lock = self.store.lock()?;
        match self.store.index()?.images.get(id) {
            Some(record) if record.manifest == *manifest => self.list(id, manifest, names).map(Some),
            _ => Ok(None),
        }
    }

    fn list(&self, id: &Digest, manifest: &Digest, names: &Names) -> Result<Image> {
        let mut index = self.store.index()?;
        let loaded = jiff::Timestamp::now().to_string();
        let fresh = Record { manifest: manifest.clone(), names: Vec::new(), digests: Vec::new(), loaded };
        let record = index.images.entry(id.clone()).or_insert(fresh);
        // A different manifest may describe the same image, with other compression. The last one counts.
        if record.manifest != *manifest {
            record.manifest = manifest.clone();
            record.digests.clear();
        }
        record.digests.extend(names.digests.iter().cloned());
        record.digests.sort();
        record.digests.dedup();
        names.names.iter().for_each(|name| index.name(id, name));
        index.write(&self.store.index_path())?;
        let record = index.images.get(id).ok_or_else(|| Error::new("the image is gone"))?;
        self.store.image(id, record)
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.temp);
    }
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).context(|| format!("open {}", path.display()))
}
