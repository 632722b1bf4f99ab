//! Extended headers of POSIX archives: records of `LENGTH KEY=VALUE\n`.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";

/// What the records say, as far as it matters here. A later record of a key replaces an earlier one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, i64)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// The records of GNU tar about a sparse file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// A key of the older formats 0.0 and 0.1.
    pub(super) old: bool,
}

impl Extended {
    /// Reads all records of one extended header.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self> {
        let mut extended = Self::default();
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or_else(|| Error::new("an extended header is malformed"))?;
            extended.set(key, value)?;
            data = rest;
        }
        extended.keep_last();
        Ok(extended)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(key) = key.strip_prefix(SPARSE) {
                    self.sparse.set(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// Of several attributes of one name, leaves the last. At the end and all at once: there may be ten thousands.
    fn keep_last(&mut self) {
        let mut seen = BTreeSet::new();
        self.xattrs.reverse();
        self.xattrs.retain(|(name, _)| seen.insert(name.clone()));
        self.xattrs.reverse();
    }

    /// Whether a header that speaks for all later entries would change where they go or what they are.
    pub(super) fn redirects(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse != Sparse::default()
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"major" => self.major = Some(number(value)?),
            b"minor" => self.minor = Some(number(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"realsize" => self.real_size = Some(number(value)?),
            _ => self.old = true,
        }
        Ok(())
    }
}

/// The first record: key, value, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(data.get(..space)?).ok()?.parse().ok()?;
    let body = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &data[length..]))
}

fn number(value: &[u8]) -> Result<u64> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::new("an extended header holds a number that is none"))
}

/// Seconds with an optional fraction.
fn time(value: &[u8]) -> Result<(i64, i64)> {
    let invalid = || Error::new("an extended header holds a time that is none");
    let text = std::str::from_utf8(value).map_err(|_| invalid())?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    let seconds: i64 = whole.parse().map_err(|_| invalid())?;
    let nanos: i64 = format!("{part:0<9}").get(..9).unwrap_or_default().parse().map_err(|_| invalid())?;
    match (whole.starts_with('-'), nanos) {
        // The fraction counts away from zero; the kernel's counts upwards.
        (true, 1..) => Ok((seconds.checked_sub(1).ok_or_else(invalid)?, 1_000_000_000 - nanos)),
        _ => Ok((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_by_their_lengths() {
        let data = b"12 path=a/b\n19 mtime=-1.250000\n30 SCHILY.xattr.user.x=a\nb=c\0\n";
        let data = &data[..];
        let extended = Extended::parse(data).unwrap();
        assert_eq!(extended.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(extended.mtime, Some((-2, 750_000_000)));
        assert_eq!(extended.xattrs, vec![(b"user.x".to_vec(), b"a\nb=c\0".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        let bads: [&[u8]; 8] = [
            b"37 mtime=-9223372036854775808.25000\n",
            b"x",
            b"5 a=",
            b"99 path=x\n",
            b"0 a=b\n",
            b"6 abcd\n",
            b"9 size=x\n",
            b"18446744073709551616 a=b\n",
        ];
        for bad in bads {
            assert!(Extended::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// A mebibyte of them is what an archive may have for one entry, and it packs well.
    ///
    /// Requirement: P-18.
    #[test]
    fn many_attributes_cost_no_more_than_their_bytes() {
        let record = |n: usize| format!("29 SCHILY.xattr.user.{:06}=\n", n % 30_000);
        let data: String = (0..36_000).map(record).collect();
        let extended = Extended::parse(data.as_bytes()).unwrap();
        assert_eq!(extended.xattrs.len(), 30_000);
    }

    /// Requirement: P-20.
    #[test]
    fn damaged_records_are_refused_or_read() {
        let good =
            b"12 path=a/b\n19 mtime=-1.250000\n30 SCHILY.xattr.user.x=a\nb=c\0\n11 size=12\n22 GNU.sparse.major=1\n";
        let words: [&[u8]; 4] = [b"mtime=", b"size=", b"GNU.sparse.", b"30 "];
        crate::mutation::each(&[good], &words, 20_000, |text| {
            if let Ok(extended) = Extended::parse(text) {
                assert!(extended.mtime.is_none_or(|(_, nanos)| (0..1_000_000_000).contains(&nanos)));
            }
        });
    }
}
