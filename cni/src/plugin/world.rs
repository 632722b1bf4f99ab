//! The process boundary as a value.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// All that a plugin sees of its process.
pub struct World<'a> {
    /// The environment; of several variables of one name the first counts.
    pub env: Vec<(OsString, OsString)>,
    /// Where the configuration comes from.
    pub stdin: Box<dyn Read + 'a>,
    /// Where the answer goes; none if the caller has closed it.
    pub stdout: Option<Box<dyn Write + 'a>>,
    /// Where messages for people go.
    pub stderr: Stderr,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("env", &self.env).finish_non_exhaustive()
    }
}

/// Where messages for people go. Copies share one sink.
#[derive(Clone)]
pub struct Stderr(Arc<Mutex<dyn Write + Send>>);

impl Stderr {
    /// Messages go to this sink.
    pub fn new(sink: impl Write + Send + 'static) -> Stderr {
        Stderr(Arc::new(Mutex::new(sink)))
    }

    /// Messages are kept in the buffer that is returned beside, for tests.
    pub fn buffered() -> (Stderr, Arc<Mutex<Vec<u8>>>) {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        (Stderr(buffer.clone()), buffer)
    }

    /// Writes bytes as they are. Nobody can be told when that fails, and no call fails for it.
    pub fn write(&self, bytes: &[u8]) {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sink.write_all(bytes).and_then(|()| sink.flush());
    }

    /// Writes one line.
    pub fn line(&self, line: impl fmt::Display) {
        self.write(format!("{line}\n").as_bytes());
    }
}

impl fmt::Debug for Stderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stderr")
    }
}
