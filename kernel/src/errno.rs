//! Words for error numbers.

use nix::errno::Errno;

/// The C library's text for `errno` in the form in which it fits after a colon: `file exists`, not `File exists`.
///
/// # Examples
///
/// ```
/// assert_eq!(kernel::sentence(nix::errno::Errno::EEXIST), "file exists");
/// ```
#[must_use]
pub fn sentence(errno: Errno) -> String {
    let text = errno.desc();
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        // `RPC struct is bad`: an abbreviation keeps its capitals.
        (Some(first), Some(second)) if second.is_lowercase() => {
            let rest = &text[first.len_utf8()..];
            format!("{}{rest}", first.to_ascii_lowercase())
        }
        _ => text.to_owned(),
    }
}
