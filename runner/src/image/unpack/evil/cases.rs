//! What an archive may try: how it is built, and which word of the refusal says that it was understood.

use super::Tar;

/// What it is, how it is built, and why it is refused.
pub(super) type Case = (&'static str, fn(&mut Tar), &'static str);

/// What leads out, or through something that is no directory.
pub(super) const PATHS: [Case; 17] = [
    (
        "dots",
        |t| {
            t.file("../outside/x", b"");
        },
        "\"..\"",
    ),
    (
        "dots in the middle",
        |t| {
            t.file("a/../../outside/x", b"");
        },
        "\"..\"",
    ),
    (
        "dots that stay inside",
        |t| {
            t.file("a/../b", b"");
        },
        "\"..\"",
    ),
    (
        "dots at the end",
        |t| {
            t.dir("a/..", 0o777);
        },
        "\"..\"",
    ),
    (
        "an absolute path with dots",
        |t| {
            t.file("/../outside/x", b"");
        },
        "\"..\"",
    ),
    (
        "a directory over a path with dots",
        |t| {
            t.dir("../outside", 0o777);
        },
        "\"..\"",
    ),
    (
        "a file through a link",
        |t| {
            t.symlink("l", "../outside").file("l/x", b"");
        },
        "symbolic link",
    ),
    (
        "a file through an absolute link",
        |t| {
            t.symlink("l", "/tmp").file("l/x", b"");
        },
        "symbolic link",
    ),
    (
        "a file through a link that stays",
        |t| {
            t.dir("d", 0o755).symlink("l", "d").file("l/x", b"");
        },
        "symbolic link",
    ),
    (
        "a directory through a link",
        |t| {
            t.symlink("l", "..").dir("l/outside/d", 0o777);
        },
        "symbolic link",
    ),
    (
        "links in a chain",
        |t| {
            t.symlink("a", "..").symlink("a/b", "outside");
        },
        "symbolic link",
    ),
    (
        "a link to itself",
        |t| {
            t.symlink("l", "l").file("l/x", b"");
        },
        "symbolic link",
    ),
    (
        "a file through a file",
        |t| {
            t.file("f", b"").file("f/x", b"");
        },
        "not a directory",
    ),
    (
        "a file through a pipe",
        |t| {
            t.fifo("p").file("p/x", b"");
        },
        "not a directory",
    ),
    (
        "a root that is a link",
        |t| {
            t.symlink("./", "../outside");
        },
        "root of the layer",
    ),
    (
        "a root that is a file",
        |t| {
            t.file(".", b"x");
        },
        "root of the layer",
    ),
    (
        "a component that no directory takes",
        |t| {
            t.file(&"n".repeat(256), b"");
        },
        "too long",
    ),
];

/// Other names for what is elsewhere.
pub(super) const LINKS: [Case; 10] = [
    (
        "a hard link out",
        |t| {
            t.hardlink("x", "../outside/secret");
        },
        "\"..\"",
    ),
    (
        "a hard link to a path of the host",
        |t| {
            t.hardlink("x", "/etc/passwd");
        },
        "not in the layer",
    ),
    (
        "a hard link through a link",
        |t| {
            t.symlink("l", "../outside").hardlink("x", "l/secret");
        },
        "symbolic link",
    ),
    (
        "a hard link to nothing",
        |t| {
            t.hardlink("x", "y");
        },
        "not in the layer",
    ),
    (
        "a hard link to itself",
        |t| {
            t.file("x", b"").hardlink("x", "x");
        },
        "itself",
    ),
    (
        "a hard link to the root",
        |t| {
            t.hardlink("x", "/");
        },
        "root",
    ),
    (
        "a hard link to a directory",
        |t| {
            t.dir("d", 0o755).hardlink("x", "d");
        },
        "is a directory",
    ),
    (
        "a hard link to a later entry",
        |t| {
            t.hardlink("x", "y").file("y", b"");
        },
        "not in the layer",
    ),
    (
        "a hard link without a target",
        |t| {
            t.hardlink("x", "");
        },
        "no target",
    ),
    (
        "a symbolic link without a target",
        |t| {
            t.symlink("x", "");
        },
        "no target",
    ),
];

/// Whiteouts that reach further than their own directory, or stand for nothing.
pub(super) const WHITEOUTS: [Case; 8] = [
    (
        "a whiteout of nothing",
        |t| {
            t.file(".wh.", b"");
        },
        "whiteout of nothing",
    ),
    (
        "a whiteout of nothing below",
        |t| {
            t.file("a/.wh.", b"");
        },
        "whiteout of nothing",
    ),
    (
        "a whiteout of its directory",
        |t| {
            t.file("a/.wh..", b"");
        },
        "whiteout of nothing",
    ),
    (
        "a whiteout of its parent",
        |t| {
            t.dir("a", 0o755).file("a/.wh...", b"");
        },
        "whiteout of nothing",
    ),
    (
        "a path through a whiteout",
        |t| {
            t.file(".wh.a/b", b"");
        },
        "through a whiteout",
    ),
    (
        "a path through a whiteout of the parent",
        |t| {
            t.file(".wh.../etc", b"");
        },
        "through a whiteout",
    ),
    (
        "a whiteout through a link",
        |t| {
            t.symlink("l", "../outside").file("l/.wh.secret", b"");
        },
        "symbolic link",
    ),
    (
        "opacity through a link",
        |t| {
            t.symlink("l", "../outside").file("l/.wh..wh..opq", b"");
        },
        "symbolic link",
    ),
];

/// Headers that say more than they may.
pub(super) const HEADERS: [Case; 10] = [
    (
        "the overlay's own whiteout",
        |t| {
            t.device("x", 'c', 0, 0);
        },
        "0:0",
    ),
    (
        "an unknown type",
        |t| {
            t.add(b"x", b'Z', b"", b"");
        },
        "'Z'",
    ),
    (
        "a NUL in a long path",
        |t| {
            t.file("x", b"").pax("path", b"a\0b");
        },
        "no NUL",
    ),
    (
        "a path of dots in an extended header",
        |t| {
            t.file("x", b"").pax("path", b"../outside/x");
        },
        "\"..\"",
    ),
    (
        "a target of dots in an extended header",
        |t| {
            t.hardlink("x", "y").pax("linkpath", b"../outside/secret");
        },
        "\"..\"",
    ),
    (
        "a path that is too long",
        |t| {
            t.file("x", b"").pax("path", "a/".repeat(3000).as_bytes());
        },
        "4096",
    ),
    (
        "a path that is too deep",
        |t| {
            t.file("x", b"").pax("path", "a/".repeat(300).as_bytes());
        },
        "components",
    ),
    (
        "an empty path",
        |t| {
            t.file("x", b"").pax("path", b"");
        },
        "4096",
    ),
    (
        "an owner beyond the kernel's",
        |t| {
            t.file("x", b"").pax("uid", b"4294967296");
        },
        "owner",
    ),
    (
        "a size beyond any file system",
        |t| {
            t.file("x", b"").pax("size", b"18446744073709551615");
        },
        "file system",
    ),
];
