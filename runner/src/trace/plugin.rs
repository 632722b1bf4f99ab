//! Calls of CNI plugins, as steps.

use std::ffi::OsStr;

use cni::exec::{Command, Error, Output};

use super::{Part, Told, What};

/// Calls a plugin by `start`.
///
/// # Errors
/// Those of `start`.
pub(crate) fn call(
    command: &Command<'_>,
    start: impl FnOnce(&Command<'_>) -> Result<Output, Error>,
) -> Result<Output, Error> {
    if !super::is_on() {
        return start(command);
    }
    let begun = super::now();
    let result = start(command);
    let failed = !result.as_ref().is_ok_and(Output::success);
    super::add(what(command), begun, failed);
    result
}

fn what(command: &Command<'_>) -> What {
    let value = |name: &str| {
        let found = command.env.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let plugin = command.program.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    let names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];
    let variables: Vec<String> = names.iter().map(|name| format!("{name}={}", value(name))).collect();
    let detail = format!("{} {}", variables.join(" "), command.program.display());
    What::new(Part::Network, format!("CNI {plugin} {}", value("CNI_COMMAND")), Told::from(detail))
}
