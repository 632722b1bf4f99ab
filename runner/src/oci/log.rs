//! Where engines look for what went wrong: the file of `--log`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use crate::error::{Error, Status};
use crate::moment::Moment;

/// The file, and its format.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// None without `--log`.
    pub(crate) path: Option<PathBuf>,
    /// A JSON object a line, instead of text.
    pub(crate) json: bool,
}

impl Log {
    /// Appends an error. There is nobody to be told when that fails.
    pub(crate) fn error(&self, error: &Error) {
        self.write("error", &message(error));
    }

    /// Appends what went wrong without consequences.
    pub(crate) fn warning(&self, text: &str) {
        self.write("warning", text);
    }

    fn write(&self, level: &str, message: &str) {
        let Some(path) = &self.path else { return };
        let time = Moment::now().to_string();
        let line = if self.json {
            json!({"level": level, "msg": message, "time": time}).to_string()
        } else {
            format!("time={time:?} level={level} msg={message:?}")
        };
        if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

/// Engines look for these words of runc to tell a missing command from other failures.
pub(crate) fn message(error: &Error) -> String {
    match error.status {
        Status::Setup => error.message.clone(),
        Status::NotFound => format!("{}: executable file not found in $PATH", error.message),
        Status::NotExecutable => format!("{}: permission denied", error.message),
    }
}
