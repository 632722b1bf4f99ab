//! Why the kernel did not do what was asked.

use std::io;

use nix::errno::Errno;

use crate::netlink::Refusal;

/// Why a change or a question failed. Every refusal names the object as an nft line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that `action` needs is not there.
    #[error("{action}: {refusal}")]
    NotFound {
        /// The change or question.
        action: String,
        /// The kernel's words.
        refusal: Refusal,
        /// Which change of the batch.
        index: Option<usize>,
    },
    /// What `action` would create is there already.
    #[error("{action}: {refusal}")]
    Exists {
        /// The change.
        action: String,
        /// The kernel's words.
        refusal: Refusal,
        /// Which change of the batch.
        index: Option<usize>,
    },
    /// A key is taken, and whoever has it keeps it.
    #[error("{0}")]
    Taken(String),
    /// The kernel has no nf_tables.
    #[error("the kernel has no nf_tables: load the module nf_tables, or use iptables")]
    NoSupport,
    /// The ruleset was changed by somebody else after the generation that the batch is meant for.
    #[error("{action}: the ruleset kept changing under it; try again later")]
    Changed {
        /// The change.
        action: String,
    },
    /// Any other refusal.
    #[error("{action}: {refusal}{}", hint(*errno))]
    Kernel {
        /// The change or question.
        action: String,
        /// The kernel's words.
        refusal: Refusal,
        /// The error number of `refusal`.
        errno: Errno,
    },
    /// The conversation itself failed.
    #[error("{action}: netlink: {source}")]
    Socket {
        /// What was being done.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// `index` says which change of a batch was refused; `None` means the batch as a whole, or a question.
    pub(super) fn refused(action: String, refusal: Refusal, index: Option<usize>, whole: bool) -> Self {
        match refusal.errno {
            Errno::ENOENT => Self::NotFound { action, refusal, index },
            Errno::EEXIST => Self::Exists { action, refusal, index },
            // Without the subsystem the kernel refuses the batch itself, or a question.
            Errno::EOPNOTSUPP if whole => Self::NoSupport,
            Errno::ERESTART if whole => Self::Changed { action },
            errno => Self::Kernel { action, refusal, errno },
        }
    }

    pub(super) fn socket(action: impl Into<String>, source: io::Error) -> Self {
        let action = action.into();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT) => Self::NoSupport,
            _ => Self::Socket { action, source },
        }
    }

    /// Whether the error only says that something is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether something is still used by another object, so that it can't be deleted.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Kernel { errno: Errno::EBUSY, .. })
    }
}

/// What to do about an error number whose text does not say it.
fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => " (CAP_NET_ADMIN is needed in the user namespace that owns the network namespace)",
        Errno::EMSGSIZE => " (too many changes for one transaction; raise net.core.wmem_max)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_is_named() {
        let refusal = Refusal { errno: Errno::EPERM, message: None };
        let error = Error::refused("add table inet t".into(), refusal, None, true);
        assert_eq!(
            error.to_string(),
            "add table inet t: operation not permitted \
             (CAP_NET_ADMIN is needed in the user namespace that owns the network namespace)"
        );
    }

    #[test]
    fn a_kernel_without_nf_tables_is_told_from_a_chain_type_it_lacks() {
        let refused = |whole| {
            let refusal = Refusal { errno: Errno::EOPNOTSUPP, message: None };
            Error::refused("add chain ..".into(), refusal, None, whole)
        };
        assert!(matches!(refused(true), Error::NoSupport));
        assert!(matches!(refused(false), Error::Kernel { .. }));
        let socket = Error::socket("open", io::Error::from_raw_os_error(Errno::EPROTONOSUPPORT as i32));
        assert!(matches!(socket, Error::NoSupport));
    }
}
