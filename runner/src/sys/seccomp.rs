//! Installing a filter of system calls.

use nix::errno::Errno;
use nix::libc;

use crate::seccomp::Instruction;

/// Makes the kernel run `program` before every system call of this thread from now on. Needs `no_new_privs` or
/// `CAP_SYS_ADMIN`.
pub(crate) fn set_filter(program: &[Instruction]) -> nix::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    // An `Instruction` is laid out as the kernel's; the kernel only reads them.
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `filter` names that many valid instructions, and both outlive the call, which keeps a copy.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    Errno::result(answer).map(drop)
}
