//! The IPAM plugin of an interface plugin.

use cni::delegate::{Delegate, Pending};
use cni::plugin::Call;
use cni::result::AddResult;
use cni::{Code, Error};

/// The IPAM plugins that look at nothing but their configuration, so that they can work while the link is being made.
/// Others may need the link: a DHCP client talks through it.
const NEEDS_NO_LINK: [&str; 2] = ["host-local", "static"];

/// What is said of an answer without addresses.
pub const NO_ADDRESS: &str = "IPAM plugin returned missing IP config";

/// The IPAM plugin that a configuration names.
#[derive(Debug)]
pub struct Ipam<'a> {
    delegate: Delegate<'a>,
    needs_link: bool,
}

/// A question for addresses that is being answered.
#[derive(Debug)]
pub struct Asked<'a> {
    ipam: &'a Ipam<'a>,
    answer: Pending<'a>,
}

impl Asked<'_> {
    /// The answer.
    ///
    /// # Errors
    ///
    /// As [`Ipam::add`].
    pub fn answer(self) -> Result<AddResult, Error> {
        let result = self.answer.finish()?;
        if result.ips.is_empty() {
            let _ = self.ipam.del();
            return Err(Error::internal(NO_ADDRESS));
        }
        Ok(result)
    }
}

impl<'a> Ipam<'a> {
    /// Finds the IPAM plugin `kind`.
    ///
    /// # Errors
    ///
    /// When there is no such plugin in `CNI_PATH`, or no name.
    pub fn find(call: &'a Call, kind: &str) -> Result<Self, Error> {
        Ok(Self { delegate: Delegate::find(call, kind)?, needs_link: !NEEDS_NO_LINK.contains(&kind) })
    }

    /// Whether the link has to be there before addresses can be asked for.
    #[must_use]
    pub fn needs_link(&self) -> bool {
        self.needs_link
    }

    /// Asks for addresses; the answer can wait.
    ///
    /// # Errors
    ///
    /// When the IPAM plugin can't be started.
    pub fn ask(&self) -> Result<Asked<'_>, Error> {
        Ok(Asked { ipam: self, answer: self.delegate.begin_add()? })
    }

    /// Asks for addresses.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error, or that it gave no address.
    pub fn add(&self) -> Result<AddResult, Error> {
        self.ask()?.answer()
    }

    /// Gives the addresses back.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error.
    pub fn del(&self) -> Result<(), Error> {
        self.delegate.del()
    }

    /// Whether the addresses are still reserved.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error.
    pub fn check(&self) -> Result<(), Error> {
        self.delegate.check()
    }

    /// Has the addresses freed that no valid attachment holds; it reads which those are from the same document.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error.
    pub fn gc(&self) -> Result<(), Error> {
        self.delegate.gc()
    }
}

/// Whether the IPAM plugin `kind` could give an address.
///
/// # Errors
///
/// The IPAM plugin's own error; code 50 when there is no such plugin.
pub fn status(call: &Call, kind: &str) -> Result<(), Error> {
    let delegate = Delegate::find(call, kind).map_err(|error| Error { code: Code::PLUGIN_NOT_AVAILABLE, ..error })?;
    delegate.status()
}
