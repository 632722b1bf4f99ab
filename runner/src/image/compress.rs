//! Compression by what the bytes say, not by what a name or a media type claims.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Context, Error, Result};

/// How some bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    Plain,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Known by sight, so that the refusal can name them.
const REFUSED: [(&[u8], &str); 3] = [(b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"PK\x03\x04", "zip")];

impl Compression {
    /// Looks at the first bytes of `reader`, which stay unread.
    pub(super) fn of(reader: &mut impl BufRead) -> Result<Self> {
        let head = reader.fill_buf().context(|| "read the first bytes")?;
        if let Some((_, name)) = REFUSED.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(Error::new(format!("it is compressed by {name}; xnet reads gzip, zstd and plain archives")));
        }
        Ok(match head {
            _ if head.starts_with(&GZIP) => Self::Gzip,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ if head.starts_with(&ZSTD) => Self::Zstd,
            _ => Self::Plain,
        })
    }

    /// The media type of a layer that is packed like this.
    #[must_use]
    pub(super) const fn layer_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// The bytes behind the compression.
pub(super) enum Unpacked<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<R>>>),
}

const BUFFER: usize = 128 << 10;

impl<R: Read> Unpacked<R> {
    /// Unpacks `reader` by what its first bytes say.
    pub(super) fn new(reader: R) -> Result<(Self, Compression)> {
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let compression = Compression::of(&mut reader)?;
        let unpacked = match compression {
            Compression::Plain => Self::Plain(reader),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Compression::Zstd => {
                Self::Zstd(Box::new(zstd::Decoder::with_buffer(reader).context(|| "start to read zstd")?))
            }
        };
        Ok((unpacked, compression))
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn unpack(bytes: &[u8]) -> (Vec<u8>, Compression) {
        let (mut unpacked, compression) = Unpacked::new(bytes).unwrap();
        let mut out = Vec::new();
        unpacked.read_to_end(&mut out).unwrap();
        (out, compression)
    }

    #[test]
    fn the_bytes_say_how_they_are_packed() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"hello").unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(unpack(&gzip), (b"hello".to_vec(), Compression::Gzip));
        assert_eq!(unpack(&[gzip.clone(), gzip].concat()).0, b"hellohello");
        let zstd = zstd::encode_all(&b"hello"[..], 1).unwrap();
        assert_eq!(unpack(&zstd), (b"hello".to_vec(), Compression::Zstd));
        assert_eq!(unpack(&[zstd.clone(), zstd].concat()).0, b"hellohello");
        assert_eq!(unpack(b"hello"), (b"hello".to_vec(), Compression::Plain));
        assert_eq!(unpack(b""), (Vec::new(), Compression::Plain));
        assert!(Unpacked::new(&b"BZh91AY"[..]).is_err());
    }
}
