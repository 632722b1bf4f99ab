//! What `-v`, `--mount` and `--tmpfs` say.
//!
//! The words are Docker's, and so is what they mean: `-v` makes a missing source, `--mount` refuses it; a source that begins
//! with `/` or `.` is a path, any other the name of a volume; no source is a volume of the container's own.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::id::Name;

use super::{FsOption, Mount, Propagation, Source};

/// `-v [SOURCE:]TARGET[:OPTIONS]`. Answers words that mean nothing here, too, for a warning.
pub(crate) fn volume(text: &str) -> Result<(Mount, Vec<String>)> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => {
            return Err(invalid("-v", text, "expected [SOURCE:]TARGET[:OPTIONS]; a path that holds ':' needs --mount"));
        }
    };
    let source = match source {
        None => anonymous()?,
        Some("") => return Err(invalid("-v", text, "the source is empty")),
        Some(path) if path.starts_with(['/', '.']) => {
            Source::Bind { path: absolute(path)?, create: true, recursive: true }
        }
        Some(name) => named(name)?,
    };
    let mut mount = Mount::new(target, source)?;
    options.clone_into(&mut mount.mode);
    let mut ignored = Vec::new();
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match option(&mut mount, word) {
            Taken::Yes => {}
            Taken::Ignored => ignored.push(word.to_owned()),
            Taken::No => return Err(invalid("-v", text, &format!("unknown option {word:?}"))),
        }
    }
    Ok((mount, ignored))
}

enum Taken {
    Yes,
    Ignored,
    No,
}

/// A word which `-v` takes after the second colon.
fn option(mount: &mut Mount, word: &str) -> Taken {
    if mount.flags.take(word) {
        return Taken::Yes;
    }
    if let Some(propagation) = Propagation::of(word) {
        mount.propagation = propagation;
        return Taken::Yes;
    }
    match (word, &mut mount.source) {
        ("idmap", _) => mount.idmap = true,
        ("nocopy", Source::Volume { nocopy, .. }) => *nocopy = true,
        ("copy", Source::Volume { nocopy, .. }) => *nocopy = false,
        ("bind", Source::Bind { recursive, .. }) => *recursive = false,
        ("rbind", Source::Bind { recursive, .. }) => *recursive = true,
        // Labels need SELinux; the others are about sharing with a virtual machine's host.
        ("z" | "Z" | "consistent" | "cached" | "delegated", _) => return Taken::Ignored,
        _ => return Taken::No,
    }
    Taken::Yes
}

/// `--tmpfs TARGET[:OPTIONS]`, by default without programs, set-user-id bits and devices.
pub(crate) fn tmpfs(text: &str) -> Result<Mount> {
    let (target, words) = text.split_once(':').unwrap_or((text, ""));
    let mut mount = Mount::new(target, Source::Tmpfs { options: Vec::new() })?;
    words.clone_into(&mut mount.mode);
    for word in ["nosuid", "nodev", "noexec"].into_iter().chain(words.split(',').filter(|w| !w.is_empty())) {
        if mount.flags.take(word) || propagation(&mut mount, word) {
            continue;
        }
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if !["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"].contains(&key) || value.is_empty()
        {
            return Err(invalid("--tmpfs", text, &format!("unknown option {word:?}")));
        }
        push(&mut mount, key, value);
    }
    sticky(&mut mount);
    Ok(mount)
}

fn propagation(mount: &mut Mount, word: &str) -> bool {
    Propagation::of(word).map(|propagation| mount.propagation = propagation).is_some()
}

fn push(mount: &mut Mount, key: &str, value: &str) {
    if let Source::Tmpfs { options } = &mut mount.source {
        options.push((key.to_owned(), Some(value.to_owned())));
    }
}

/// Anybody may write into a tmpfs, as into /tmp, unless a mode was asked for.
fn sticky(mount: &mut Mount) {
    let Source::Tmpfs { options } = &mut mount.source else { return };
    if !options.iter().any(|(key, _): &FsOption| key == "mode") {
        options.push(("mode".to_owned(), Some("1777".to_owned())));
    }
}

/// `--mount KEY=VALUE,...`.
pub(crate) fn mount(text: &str) -> Result<Mount> {
    let mut fields = fields(text)?;
    let mut take = |names: &[&str]| -> Option<String> {
        let at = fields.iter().position(|(key, _)| names.contains(&key.as_str()))?;
        Some(fields.remove(at).1)
    };
    let kind = take(&["type"]).unwrap_or_else(|| "volume".to_owned());
    let source = take(&["source", "src"]).filter(|source| !source.is_empty());
    let target = take(&["target", "destination", "dst"]);
    let target = target.ok_or_else(|| invalid("--mount", text, "target= is missing"))?;
    let source = match (kind.as_str(), source) {
        ("bind", Some(path)) => Source::Bind { path: absolute(&path)?, create: false, recursive: true },
        ("bind", None) => return Err(invalid("--mount", text, "source= is missing")),
        ("volume", Some(name)) => named(&name)?,
        ("volume", None) => anonymous()?,
        ("tmpfs", None) => Source::Tmpfs { options: Vec::new() },
        ("tmpfs", Some(_)) => return Err(invalid("--mount", text, "a tmpfs has no source")),
        (other, _) => {
            let why = format!("unknown type {other:?}; there are bind, volume and tmpfs");
            return Err(invalid("--mount", text, &why));
        }
    };
    let mut mount = Mount::new(&target, source)?;
    for (key, value) in &fields {
        if !field(&mut mount, key, value)? {
            return Err(invalid("--mount", text, &format!("{key}={value} means nothing for a mount of type {kind}")));
        }
    }
    sticky(&mut mount);
    Ok(mount)
}

/// A field of `--mount` beside type, source and target; false if it is unknown or about another type.
fn field(mount: &mut Mount, key: &str, value: &str) -> Result<bool> {
    let on = || switch(key, value);
    match (key, &mut mount.source) {
        ("readonly" | "ro", _) => drop(mount.flags.take(if on()? { "ro" } else { "rw" })),
        ("rw", _) => drop(mount.flags.take(if on()? { "rw" } else { "ro" })),
        ("idmap", _) => mount.idmap = on()?,
        ("consistency", _) => {}
        ("bind-propagation", Source::Bind { .. }) => match Propagation::of(value) {
            Some(propagation) => mount.propagation = propagation,
            None => return Ok(false),
        },
        ("bind-nonrecursive", Source::Bind { recursive, .. }) => *recursive = !on()?,
        ("bind-recursive", Source::Bind { recursive, .. }) => match value {
            "enabled" | "readonly" => *recursive = true,
            "disabled" => *recursive = false,
            "writable" => mount.flags.top_only = true,
            _ => return Ok(false),
        },
        ("volume-nocopy", Source::Volume { nocopy, .. }) => *nocopy = on()?,
        ("tmpfs-size", Source::Tmpfs { options }) => options.push(("size".to_owned(), Some(value.to_owned()))),
        ("tmpfs-mode", Source::Tmpfs { options }) => options.push(("mode".to_owned(), Some(value.to_owned()))),
        _ => return Ok(false),
    }
    Ok(true)
}

/// A switch may stand alone.
fn switch(key: &str, value: &str) -> Result<bool> {
    match value {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::new(format!("invalid value {value:?} of {key}: it is true or false"))),
    }
}

/// Fields separated by commas; one in double quotes may hold commas, and two quotes in it are one.
fn fields(text: &str) -> Result<Vec<(String, String)>> {
    let mut all = vec![String::new()];
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        let last = all.last_mut().ok_or_else(|| Error::new("no fields"))?;
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => last.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            c => last.push(c),
        }
    }
    if quoted {
        return Err(invalid("--mount", text, "a double quote is not closed"));
    }
    let split = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.trim().to_ascii_lowercase(), value.to_owned()),
        None => (field.trim().to_ascii_lowercase(), String::new()),
    };
    Ok(all.into_iter().map(split).collect())
}

/// A volume of the container's own.
pub(crate) fn anonymous() -> Result<Source> {
    Ok(Source::Volume { name: Name::random()?.to_string(), anonymous: true, nocopy: false })
}

fn named(name: &str) -> Result<Source> {
    let name: Name = name.parse().map_err(|error: Error| Error::new(format!("{error}; a path begins with / or .")))?;
    Ok(Source::Volume { name: name.to_string(), anonymous: false, nocopy: false })
}

fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(Path::new(path)).map_err(|error| Error::new(format!("{path}: {error}")))
}

fn invalid(flag: &str, text: &str, why: &str) -> Error {
    Error::new(format!("invalid {flag} {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_v_are_paths_names_or_nothing() {
        let source = |text: &str| volume(text).unwrap().0.source;
        let path = |p: &str| Source::Bind { path: p.into(), create: true, recursive: true };
        assert_eq!(source("/a:/b"), path("/a"));
        assert_eq!(source("./a:/b"), path(std::env::current_dir().unwrap().join("a").to_str().unwrap()));
        assert_eq!(source("data:/b"), Source::Volume { name: "data".into(), anonymous: false, nocopy: false });
        assert!(matches!(source("/b"), Source::Volume { anonymous: true, .. }));
        for bad in ["", ":/b", "a:b", "/a:/b:xx", "/a:/b:ro:z", "-x:/b", "/a:/", "/a:/b:nocopy", "a/b:/c"] {
            assert!(volume(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn options_of_v() {
        let (mount, ignored) = volume("data:/b:ro,z,nocopy,rslave,noexec,idmap").unwrap();
        assert!(mount.flags.readonly() && mount.idmap);
        assert_eq!((mount.flags.set, mount.propagation), (0x9, Propagation::Rslave));
        assert_eq!(mount.source, Source::Volume { name: "data".into(), anonymous: false, nocopy: true });
        assert_eq!((ignored, mount.mode.as_str()), (vec!["z".to_owned()], "ro,z,nocopy,rslave,noexec,idmap"));
        let (mount, _) = volume("/a:/b:bind").unwrap();
        assert_eq!(mount.source, Source::Bind { path: "/a".into(), create: true, recursive: false });
    }

    #[test]
    fn fields_of_mount() {
        let bind = mount("type=bind,\"src=/a,b\",dst=/c,readonly,bind-propagation=shared").unwrap();
        assert_eq!(bind.source, Source::Bind { path: "/a,b".into(), create: false, recursive: true });
        assert!(bind.flags.readonly() && bind.propagation == Propagation::Shared);
        let memory = mount("type=tmpfs,target=/t,tmpfs-size=1m,ro=false").unwrap();
        let option = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(memory.source, Source::Tmpfs { options: vec![option("size", "1m"), option("mode", "1777")] });
        assert!(matches!(mount("dst=/t").unwrap().source, Source::Volume { anonymous: true, .. }));
        for bad in [
            "type=bind,dst=/a",
            "type=bind,src=/a",
            "type=nfs,src=a,dst=/a",
            "type=tmpfs,src=/a,dst=/b",
            "type=bind,src=/a,dst=/b,ro=maybe",
            "type=bind,src=/a,dst=/b,volume-nocopy",
            "type=tmpfs,dst=/a,\"",
        ] {
            assert!(mount(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tmpfs_is_quiet_unless_told_otherwise() {
        let mount = tmpfs("/t:size=64k,exec,mode=755").unwrap();
        assert_eq!(mount.flags.set, 0x6);
        let option = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(mount.source, Source::Tmpfs { options: vec![option("size", "64k"), option("mode", "755")] });
        assert!(tmpfs("/t:upperdir=/x").is_err());
        assert!(tmpfs("t").is_err());
    }
}
