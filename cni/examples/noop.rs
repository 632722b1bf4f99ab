//! The smallest plugin: it does nothing, and does it conformantly. The tests of the process boundary run it; who writes a
//! plugin may start from it.

use std::process::ExitCode;

use cni::plugin::{self, Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Interface};
use cni::{Error, Version};

struct Noop;

impl Plugin for Noop {
    const NAME: &'static str = "noop";
    const VERSIONS: &'static [Version] = Version::ALL;

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        call.warn("nothing to add");
        let sandbox = attachment.netns.clone();
        let interface = Interface { name: attachment.ifname.to_string(), sandbox, ..Interface::default() };
        let before = call.prev_result()?;
        Ok(before.unwrap_or_else(|| AddResult { interfaces: vec![interface], ..AddResult::default() }))
    }

    fn del(&self, call: &Call, _: &Attachment) -> Result<(), Error> {
        call.warn("nothing to remove");
        Ok(())
    }

    fn check(&self, _: &Call, _: &Attachment) -> Result<(), Error> {
        Ok(())
    }

    fn gc(&self, _: &Call, _: &ValidAttachments) -> Result<(), Error> {
        Ok(())
    }

    fn status(&self, _: &Call) -> Result<(), Error> {
        Ok(())
    }
}

fn main() -> ExitCode {
    plugin::main(&Noop)
}
