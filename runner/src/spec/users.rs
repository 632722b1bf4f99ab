//! `--userns`: which ids of the host stand for those of the container.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::written::written_as_text;

/// A run of ids that stand for another run of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl FromStr for IdMap {
    type Err = Error;

    /// `INSIDE:OUTSIDE[:COUNT]`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::new(format!("invalid id mapping {text:?}: expected INSIDE:OUTSIDE[:COUNT]"));
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten().ok_or_else(invalid)
        };
        let parts = text.split(':').map(number).collect::<Result<Vec<_>>>()?;
        match parts[..] {
            [inside, outside] => Self::new(inside, outside, 1),
            [inside, outside, count] => Self::new(inside, outside, count),
            _ => Err(invalid()),
        }
    }
}

impl IdMap {
    /// A mapping in which no id is beyond the largest.
    ///
    /// # Errors
    ///
    /// One that is empty or goes beyond.
    pub fn new(inside: u32, outside: u32, count: u32) -> Result<Self> {
        let fits = |first: u32| first.checked_add(count).is_some();
        if count == 0 || !fits(inside) || !fits(outside) {
            return Err(Error::new(format!("id mapping {inside}:{outside}:{count}: there are no such ids")));
        }
        Ok(Self { inside, outside, count })
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

/// A user namespace of the container's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Users.
    pub uids: Vec<IdMap>,
    /// Groups.
    pub gids: Vec<IdMap>,
}

/// The kernel takes no more lines.
const MOST: usize = 340;

impl Users {
    /// The namespace with these mappings, in which id 0 must be somebody: what sets the container up is its root.
    ///
    /// # Errors
    ///
    /// Mappings that overlap, are too many, or leave out 0.
    pub fn new(uids: Vec<IdMap>, gids: Vec<IdMap>) -> Result<Self> {
        check("user", &uids)?;
        check("group", &gids)?;
        Ok(Self { uids, gids })
    }

    /// The ids of the host that begin with `uid` and `gid` stand for those from 0 to `count`.
    ///
    /// # Errors
    ///
    /// Ids beyond the largest.
    pub fn shifted(uid: u32, gid: u32, count: u32) -> Result<Self> {
        Self::new(vec![IdMap::new(0, uid, count)?], vec![IdMap::new(0, gid, count)?])
    }

    /// Every id for itself: a user namespace for other things than ids.
    ///
    /// # Errors
    ///
    /// None, as it is.
    pub fn identity() -> Result<Self> {
        Self::shifted(0, 0, u32::MAX)
    }

    /// Whether every id stands for itself.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.uids.iter().chain(&self.gids).all(|map| map.inside == map.outside)
    }

    /// The ids outside that stand for 0.
    #[must_use]
    pub fn root(&self) -> (u32, u32) {
        let outside = |maps: &[IdMap]| maps.iter().find(|map| map.inside == 0).map_or(0, |map| map.outside);
        (outside(&self.uids), outside(&self.gids))
    }

    /// The ids outside that stand for these; none if one of them is not mapped.
    #[must_use]
    pub fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let find = |maps: &[IdMap], id| maps.iter().find_map(|map| shift(map.inside, map.outside, map.count, id));
        find(&self.uids, uid).zip(find(&self.gids, gid))
    }

    /// The ids that these, outside, stand for; what stands for none is left as it is.
    #[must_use]
    pub fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let find = |maps: &[IdMap], id| maps.iter().find_map(|map| shift(map.outside, map.inside, map.count, id));
        (find(&self.uids, uid).unwrap_or(uid), find(&self.gids, gid).unwrap_or(gid))
    }
}

/// What stands for `id`, if it is among the `count` from `from` on, which those from `to` on stand for.
fn shift(from: u32, to: u32, count: u32, id: u32) -> Option<u32> {
    id.checked_sub(from).filter(|offset| *offset < count).map(|offset| to + offset)
}

fn check(what: &str, maps: &[IdMap]) -> Result<()> {
    let end = |first: u32, map: &IdMap| u64::from(first) + u64::from(map.count);
    let apart = |a: u32, b: u32, x: &IdMap, y: &IdMap| end(a, x) <= u64::from(b) || end(b, y) <= u64::from(a);
    for (n, x) in maps.iter().enumerate() {
        if maps[n + 1..].iter().any(|y| !apart(x.inside, y.inside, x, y) || !apart(x.outside, y.outside, x, y)) {
            return Err(Error::new(format!("the {what} mappings overlap at {x}")));
        }
    }
    if maps.len() > MOST {
        return Err(Error::new(format!("more than {MOST} {what} mappings")));
    }
    match maps.iter().any(|map| map.inside == 0) {
        true => Ok(()),
        false => Err(Error::new(format!("the {what} mappings leave out id 0, which sets the container up"))),
    }
}

written_as_text!(IdMap);

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: S1-U1.
    #[test]
    fn mappings_are_checked_before_the_kernel_sees_them() {
        assert_eq!("0:100000:65536".parse::<IdMap>().unwrap(), IdMap { inside: 0, outside: 100_000, count: 65536 });
        assert_eq!("5:6".parse::<IdMap>().unwrap().to_string(), "5:6:1");
        for bad in ["", "0", "0:1:0", "0:1:2:3", "-1:0:1", "0:4294967295:2", "a:b:c", "0::1", "+0:1:1"] {
            assert!(bad.parse::<IdMap>().is_err(), "{bad:?}");
        }
        let maps = |texts: &[&str]| texts.iter().map(|t| t.parse::<IdMap>().unwrap()).collect::<Vec<_>>();
        let users = |texts: &[&str]| Users::new(maps(texts), maps(&["0:5:1"]));
        assert!(users(&["0:1000:1", "1:100000:65535"]).is_ok());
        for bad in [&["0:1000:10", "5:2000:10"][..], &["0:1000:10", "10:1005:10"], &["1:1000:10"], &[]] {
            assert!(users(bad).is_err(), "{bad:?}");
        }
        let some = users(&["0:1000:1", "5:100000:10"]).unwrap();
        assert_eq!(
            [some.outside(0, 0), some.outside(7, 0), some.outside(1, 0)],
            [Some((1000, 5)), Some((100_002, 5)), None]
        );
        assert_eq!([some.inside(100_002, 5), some.inside(7, 7)], [(7, 0), (7, 7)]);
    }
}
