//! The two calls of `bpf(2)` that put a program in front of a group's device accesses.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::owned;

/// An instruction, as in linux/bpf.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// What is done.
    pub(crate) code: u8,
    /// Destination in the lower half, source in the upper.
    pub(crate) registers: u8,
    /// Of a jump or of a field.
    pub(crate) offset: i16,
    /// An immediate value.
    pub(crate) value: i32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for `BPF_PROG_ATTACH`.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Other programs of the group, such as a service manager's, stay; all have to agree.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Lets the kernel check and load a program that decides about devices.
pub(crate) fn load_device_program(program: &[Instruction]) -> nix::Result<OwnedFd> {
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        instructions: program.as_ptr().addr() as u64,
        license: c"GPL".as_ptr().addr() as u64,
        ..Load::default()
    };
    // SAFETY: the attributes are valid for the size given, and the program and the licence outlive the call.
    owned(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) })
}

/// Has `program` asked for every device that is opened or made in the group `cgroup`.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes are valid for the size given.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    Errno::result(answer).map(drop)
}
