//! Memory that was needed once.

use std::ffi::c_char;
use std::fs;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::libc;

/// Gives back what a process holds that is about to wait for a long time: free blocks of the heap, what is left of deeper calls
/// on the stack, and the pages of the program itself, which come back from the page cache when they are needed.
pub(crate) fn give_back() {
    // SAFETY: gives free memory back; what is in use stays.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    if let Some((start, length)) = unused_stack(&smaps, std::ptr::from_ref(&smaps).addr()) {
        // SAFETY: this is the only thread, and what is so far below its present frame belongs to calls that have returned.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
    for (start, length) in unchanged_files(&smaps) {
        // SAFETY: a mapping of a file that cannot be written to, and never was (it has no page of its own), holds nothing but
        // the file's contents, which the kernel reads again. This thread is the only one, so it is still as it was listed.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
}

/// Forgets this process's environment, and overwrites it where it is kept: who may look into a process that is about to run
/// in a container (`/proc/PID/environ`) shall not find there what its caller has in the environment.
pub(crate) fn forget_environment() {
    // SAFETY: the callers are copies of a process with one thread, so nobody else is looking. The list ends with a null pointer,
    // and each of its strings with a NUL; they are this process's own, and are overwritten up to that.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            std::ptr::write_bytes(*entry, 0, libc::strlen(*entry));
            entry = entry.add(1);
        }
        libc::clearenv();
    }
}

/// `count` numbers, all 0, that this process and those that it forks share. They stay until each of them executes another program
/// or ends.
pub(crate) fn shared(count: usize) -> nix::Result<&'static [AtomicU64]> {
    let length = count.max(1) * size_of::<AtomicU64>();
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: the mapping begins at a page, is long enough, is zero, which is a valid number, and is never unmapped. Who writes
    // to it at the same time does so by the same atomic type.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), count) })
}

unsafe extern "C" {
    /// The list of this process's environment, environ(7).
    static mut environ: *mut *mut c_char;
}

/// Start and length of the part of the stack that is well below `here`, a place in the frame of a present call.
fn unused_stack(smaps: &str, here: usize) -> Option<(usize, usize)> {
    const PAGE: usize = 4096;
    let range = smaps.lines().find(|line| line.ends_with("[stack]"))?.split_whitespace().next()?;
    let start = usize::from_str_radix(range.split_once('-')?.0, 16).ok()?;
    let end = (here / PAGE).checked_sub(16)? * PAGE;
    end.checked_sub(start).filter(|length| *length > 0).map(|length| (start, length))
}

/// Start and length of the mappings in the text of /proc/PID/smaps that show a file as it is. One that was written to before
/// it became read-only, as the loader does with addresses, has anonymous pages.
fn unchanged_files(smaps: &str) -> Vec<(usize, usize)> {
    let (mut found, mut current) = (Vec::new(), None);
    for line in smaps.lines() {
        if let Some(pages) = line.strip_prefix("Anonymous:") {
            found.extend(current.take().filter(|_| pages.trim() == "0 kB"));
        } else if let Some(mapping) = read_only_file(line) {
            current = Some(mapping);
        }
    }
    found
}

/// Start and length of the mapping that a line introduces, if it is of a file and cannot be written to.
fn read_only_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (range, rights, inode) = (fields.next()?, fields.next()?, fields.nth(2)?);
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (rights.as_bytes().get(1) == Some(&b'-') && inode != "0").then(|| (start, end.saturating_sub(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_that_are_as_the_file_is_are_dropped() {
        let text = "00400000-00401000 r-xp 00001000 fd:00 4711   /usr/bin/xnet\nRss: 4 kB\nAnonymous: 0 kB\n\
            00402000-00403000 r--p 00002000 fd:00 4711   /usr/bin/xnet\nRss: 4 kB\nAnonymous: 4 kB\n\
            00404000-00405000 rw-p 00003000 fd:00 4711   /usr/bin/xnet\nRss: 4 kB\nAnonymous: 0 kB\n\
            7ff00000-7ff01000 r--p 00000000 00:00 0   [vvar]\nRss: 4 kB\nAnonymous: 0 kB\n";
        assert_eq!(unchanged_files(text), [(0x40_0000, 0x1000)]);
    }

    #[test]
    fn only_what_is_far_below_the_present_frame_is_unused() {
        let text = "00400000-00401000 r-xp 00001000 fd:00 4711   /usr/bin/xnet\nRss: 4 kB\n\
            7ff00000-7ff80000 rw-p 00000000 00:00 0   [stack]\nRss: 4 kB\n";
        assert_eq!(unused_stack(text, 0x7ff7_0123), Some((0x7ff0_0000, 0x6_0000)));
        assert_eq!(unused_stack(text, 0x7ff0_8000), None);
        assert_eq!(unused_stack("", 0x7ff7_0123), None);
    }
}
