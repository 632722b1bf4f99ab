//! Giving filters to the kernel.

use crate::error::{Context, Result};
use crate::sys;

use super::Filter;

/// Installs `filters` for this process and all that it will become. Nothing takes them back.
pub(crate) fn install(filters: &[Filter]) -> Result<()> {
    for filter in filters {
        sys::seccomp::set_filter(filter.instructions()).context(|| "install the seccomp filter")?;
    }
    Ok(())
}
