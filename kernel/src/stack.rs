//! What the standard library asks of libc before `main`, and can do without.
//!
//! It wants to know where the stack ends, so that an overflow is told in words. glibc finds out by reading
//! `/proc/self/maps` with `sscanf`, and what reads numbers of every kind in every locale is linked for that: 128 KB of each
//! static binary, a tenth of its memory, and 50 microseconds of each start. Our own definition is found before that of the
//! archive. It says that nobody knows, which the library is prepared for: an overflow is a plain SIGSEGV then.

use nix::errno::Errno;
use nix::libc::{c_int, pthread_attr_t, pthread_t};

/// `pthread_getattr_np(3)`, which does not find out anything.
#[expect(unsafe_code, reason = "a symbol of libc has a name that others call")]
// SAFETY: the name is that of a function with this signature. Refusing is one of its answers, after which callers do not
// look at the attributes.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_: pthread_t, _: *mut pthread_attr_t) -> c_int {
    Errno::ENOSYS as c_int
}
