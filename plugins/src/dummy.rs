//! The `dummy` plugin: a link that leads nowhere, to hold addresses.
//!
//! # Theory of operation
//!
//! What is sent by the link is dropped, so its addresses are the container's alone: for services that are announced by
//! other means, or to bind to. The link is born inside the container under its final name.

use cni::Error;
use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::AddResult;
use kernel::link::{Kind, NewChild};
use kernel::plan::Machine;
use serde::Deserialize;

use crate::child::{self, Child, Words};
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::netconf::WrittenIpam;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Dummy;

/// The keys as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    ipam: WrittenIpam,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What the configuration means.
#[derive(Clone, Debug)]
struct Config {
    ipam: String,
}

impl Config {
    fn load(call: &Call) -> Result<Self, Error> {
        let config = Self::load_any(call)?;
        if config.ipam.is_empty() {
            return Err(Error::internal("dummy interface requires an IPAM configuration"));
        }
        Ok(config)
    }

    /// The same without a look at what is in it, to clean up.
    fn load_any(call: &Call) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to parse network config"))?;
        Ok(Self { ipam: written.ipam.r#type })
    }
}

impl Plugin for Dummy {
    const NAME: &'static str = "dummy";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        lifecycle::add(call, attachment, &Config::load(call)?)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::del(call, attachment, &Config::load_any(call)?)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::check(call, attachment, &Config::load(call)?)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        lifecycle::gc(call, valid, &Config::load_any(call)?)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        lifecycle::status(call, &Config::load_any(call)?)
    }
}

impl Network for Config {
    fn ipam(&self) -> &str {
        &self.ipam
    }

    fn needs_ipam(&self) -> bool {
        true
    }

    fn status(&self) -> Result<(), Error> {
        child::status(Kind::Dummy, None)
    }
}

impl Attach for Config {
    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        child::refuse_taken(request, "failed to create dummy", machine)?;
        let name = request.attachment.ifname.to_string();
        let link = NewChild { name, kind: Kind::Dummy, mtu: None, mac: None };
        Ok(Box::new(Child { link, parent: None, announces: false, sandbox: &request.attachment.netns }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        child::check(request, (Kind::Dummy, Words::Plain), previous, machine, |_| Error::internal("not a dummy"))
    }

    fn missing_previous(&self) -> &'static str {
        "dummy: Required prevResult missing"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::tests::call;

    #[test]
    fn without_addresses_there_is_no_point_in_it() {
        let call = call("dummy", r#""ipam": {}"#);
        assert_eq!(Config::load(&call).unwrap_err().msg, "dummy interface requires an IPAM configuration");
        assert!(Config::load_any(&call).is_ok());
    }
}
