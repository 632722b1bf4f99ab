//! Another file behind the program that runs.
//!
//! What `/proc/PID/exe` leads to is the file that was executed, until the process says otherwise, which it may once nothing
//! of that file is in its memory any more (`replace_mm_exe_file` in the kernel's `kernel/fork.c`). So another file with the
//! same bytes is mapped over what is executed and read, where it makes no difference, and what can be written is exchanged
//! for a copy. Executing the file would come to the same, but for the start of a program: in a virtual machine that of a static
//! one takes 0.3 ms before its first line, for questions to the processor, which the hypervisor answers.

use std::ffi::c_void;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::{copy_nonoverlapping, null_mut, with_exposed_provenance, with_exposed_provenance_mut};
use std::slice;

use nix::errno::Errno;
use nix::libc::{self, Elf64_Phdr};

/// Has `file` take the place of the file that was executed. Needs `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`, and a kernel that
/// can restore processes.
///
/// # Errors
///
/// The kernel refuses, by `EBUSY` if something else of the old file is in memory. The process goes on as it was.
///
/// # Safety
///
/// `file` holds the same bytes as the program's file and never changes, and this process has one thread.
pub(super) unsafe fn replace(file: &File) -> io::Result<()> {
    let layout = Layout { exe_fd: file.as_raw_fd(), ..Layout::now()? };
    for segment in segments()? {
        // SAFETY: the caller has promised what is needed, and the segments are those of this program.
        unsafe { segment.exchange(file) }?;
    }
    let size = size_of::<Layout>();
    // SAFETY: the kernel reads a structure of this size.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const layout, size, 0) })?;
    Ok(())
}

/// `struct prctl_mm_map` of `linux/prctl.h`: what `/proc/PID` tells of a process's memory.
#[repr(C)]
struct Layout {
    code: [u64; 2],
    data: [u64; 2],
    brk: [u64; 2],
    stack: u64,
    args: [u64; 2],
    env: [u64; 2],
    /// An auxiliary vector to show in the place of the present one; none.
    auxv: *mut u64,
    auxv_size: u32,
    exe_fd: RawFd,
}

impl Layout {
    /// As it is, by `/proc/self/stat`; see proc_pid_stat(5).
    fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The second field, in parentheses, is a name with anything in it.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| {
            let text = fields.get(number - 3).ok_or(io::ErrorKind::InvalidData)?;
            text.parse::<u64>().map_err(|_| io::ErrorKind::InvalidData)
        };
        let pair = |first| Ok::<_, io::Error>([field(first)?, field(first + 1)?]);
        // SAFETY: asks where the heap ends, and moves nothing.
        let end = unsafe { libc::sbrk(0) }.addr() as u64;
        Ok(Self {
            code: pair(26)?,
            data: pair(45)?,
            brk: [field(47)?, end],
            stack: field(28)?,
            args: pair(48)?,
            env: pair(50)?,
            auxv: null_mut(),
            auxv_size: 0,
            exe_fd: -1,
        })
    }
}

/// A part of the program's file as it is in memory, in whole pages.
struct Segment {
    start: usize,
    length: usize,
    /// Where in the file.
    offset: i64,
    /// As for mmap(2).
    access: i32,
    /// What is read-only of a part that can be written: constants that hold addresses.
    constant: Option<(usize, usize)>,
}

/// Those of this program, from the headers that the kernel has told it of; see elf(5).
fn segments() -> io::Result<Vec<Segment>> {
    let [headers, count, size, page] = [libc::AT_PHDR, libc::AT_PHNUM, libc::AT_PHENT, libc::AT_PAGESZ].map(value);
    if headers == 0 || page == 0 || size != size_of::<Elf64_Phdr>() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let table = with_exposed_provenance::<Elf64_Phdr>(headers);
    // SAFETY: the table is in the program's memory for as long as it runs, and nobody writes to it.
    let table = unsafe { slice::from_raw_parts(table, count) };
    let own = table.iter().find(|header| header.p_type == libc::PT_PHDR).ok_or(io::ErrorKind::Unsupported)?;
    let base = headers.wrapping_sub(address(own.p_vaddr));
    let down = |address: usize| address & !(page - 1);
    let range = |header: &Elf64_Phdr| {
        let start = base.wrapping_add(address(header.p_vaddr));
        (start, start + address(header.p_filesz), start + address(header.p_memsz))
    };
    let constant = table.iter().find(|header| header.p_type == libc::PT_GNU_RELRO).map(|header| {
        let (start, _, end) = range(header);
        (down(start), down(end) - down(start))
    });
    let of = |header: &Elf64_Phdr| {
        let (start, end, _) = range(header);
        let start = down(start);
        Segment {
            start,
            length: down(end + page - 1) - start,
            offset: down(address(header.p_offset)).cast_signed() as i64,
            access: access(header.p_flags),
            constant: constant.filter(|(at, _)| header.p_flags & libc::PF_W != 0 && (start..end).contains(at)),
        }
    };
    Ok(table.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_filesz > 0).map(of).collect())
}

impl Segment {
    /// Puts the same bytes in the place of the present ones: those of `file`, or, of what can be written, a copy.
    ///
    /// # Safety
    ///
    /// As for [`replace`].
    unsafe fn exchange(&self, file: &File) -> io::Result<()> {
        let at = with_exposed_provenance_mut::<c_void>(self.start);
        if self.access & libc::PROT_WRITE == 0 {
            let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
            // SAFETY: what was there cannot be written, so it is what the file holds, and so is what takes its place.
            return mapped(unsafe { libc::mmap(at, self.length, self.access, flags, file.as_raw_fd(), self.offset) })
                .map(drop);
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, at an address that the kernel chooses.
        let copy = mapped(unsafe { libc::mmap(null_mut(), self.length, self.access, flags, -1, 0) })?;
        // SAFETY: both are as long, and apart. Nobody else runs, and between the copy and its move to the old place nothing is
        // written there: a call that succeeds leaves errno alone, which is elsewhere anyway.
        mapped(unsafe {
            copy_nonoverlapping(at.cast::<u8>(), copy.cast::<u8>(), self.length);
            libc::mremap(copy, self.length, self.length, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, at)
        })?;
        if let Some((start, length)) = self.constant {
            // SAFETY: as it was before: these pages are written while the program starts, and never again.
            Errno::result(unsafe { libc::mprotect(with_exposed_provenance_mut(start), length, libc::PROT_READ) })?;
        }
        Ok(())
    }
}

fn mapped(answer: *mut c_void) -> io::Result<*mut c_void> {
    if answer == libc::MAP_FAILED { Err(Errno::last().into()) } else { Ok(answer) }
}

fn access(flags: u32) -> i32 {
    let pairs = [(libc::PF_R, libc::PROT_READ), (libc::PF_W, libc::PROT_WRITE), (libc::PF_X, libc::PROT_EXEC)];
    pairs.into_iter().filter(|(flag, _)| flags & flag != 0).fold(0, |all, (_, access)| all | access)
}

fn value(kind: u64) -> usize {
    // SAFETY: reads what the kernel has left for the program.
    address(unsafe { libc::getauxval(kind) })
}

#[expect(clippy::cast_possible_truncation, reason = "addresses and lengths of this process")]
fn address(number: u64) -> usize {
    number as usize
}
