//! The IPAM plugin of an interface plugin.

use cni::delegate::Delegate;
use cni::plugin::Call;
use cni::result::AddResult;
use cni::{Code, Error};

/// The IPAM plugin that a configuration names.
#[derive(Debug)]
pub struct Ipam<'a>(Delegate<'a>);

impl<'a> Ipam<'a> {
    /// Finds the IPAM plugin `kind`; none when that is empty, on a network without addresses.
    ///
    /// # Errors
    ///
    /// When there is no such plugin in `CNI_PATH`.
    pub fn find(call: &'a Call, kind: &str) -> Result<Option<Self>, Error> {
        if kind.is_empty() {
            return Ok(None);
        }
        Delegate::find(call, kind).map(|delegate| Some(Self(delegate)))
    }

    /// Asks for addresses.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error, or that it gave no address.
    pub fn add(&self) -> Result<AddResult, Error> {
        let result = self.0.add()?;
        if result.ips.is_empty() {
            let _ = self.del();
            return Err(Error::internal("IPAM plugin returned missing IP config"));
        }
        Ok(result)
    }

    /// Gives the addresses back.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error.
    pub fn del(&self) -> Result<(), Error> {
        self.0.del()
    }

    /// Whether the addresses are still reserved.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error.
    pub fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    /// Has the addresses freed that no valid attachment holds; it reads which those are from the same document.
    ///
    /// # Errors
    ///
    /// The IPAM plugin's own error.
    pub fn gc(&self) -> Result<(), Error> {
        self.0.gc()
    }
}

/// Whether the IPAM plugin `kind` could give an address.
///
/// # Errors
///
/// The IPAM plugin's own error; code 50 when there is no such plugin.
pub fn status(call: &Call, kind: &str) -> Result<(), Error> {
    if kind.is_empty() {
        return Ok(());
    }
    let delegate = Delegate::find(call, kind).map_err(|error| Error { code: Code::PLUGIN_NOT_AVAILABLE, ..error })?;
    delegate.status()
}
