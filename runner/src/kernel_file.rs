//! Files of /proc and of cgroups, whose text the kernel makes while it is read.
//!
//! They have no size to ask for, and the standard library then begins with a read of 32 bytes. Here the first read has
//! room for all of most of them.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The most that the kernel makes of a file in one piece before it has an answer to give.
const PAGE: usize = 4096;

/// Larger than nearly every list.
const ROOM: usize = 4 * PAGE;

/// The text of a list, which may come in pieces.
///
/// # Errors
/// The file cannot be opened or read, or is no text.
pub(crate) fn list(path: impl AsRef<Path>) -> Result<String> {
    let (mut file, mut bytes, mut chunk) = (File::open(path)?, Vec::new(), vec![0; ROOM]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return text(bytes),
            Ok(length) => bytes.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The text of a file that says one thing, such as a number or a process's state. It comes in one piece.
///
/// # Errors
/// The file cannot be opened or read, or is no text.
pub(crate) fn value(path: impl AsRef<Path>) -> Result<String> {
    let mut chunk = vec![0; PAGE];
    let length = File::open(path)?.read(&mut chunk)?;
    chunk.truncate(length);
    text(chunk)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_to_its_end_and_a_value_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let long = "a line of a list\n".repeat(ROOM / 8);
        std::fs::write(dir.path().join("list"), &long).unwrap();
        assert_eq!(list(dir.path().join("list")).unwrap(), long);
        assert_eq!(value("/proc/self/comm").unwrap(), std::fs::read_to_string("/proc/self/comm").unwrap());
        assert_eq!(value("/proc/self/nothing").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
