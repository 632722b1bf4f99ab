//! What the journal is told, in the form in which it takes it: a field after the other.
//!
//! `NAME=value` and a newline; a value that has a newline comes behind one and its own length, as eight bytes, the lowest first
//! (systemd's "Native Journal Protocol"). The fields are those that other engines give, so that what people have written for those
//! works: `journalctl CONTAINER_NAME=web`.

use std::path::Path;

use serde_json::json;

use crate::error::{Context, Result};
use crate::format::Template;
use crate::spec::{Rootfs, Spec, field_name};

/// Adds the field `name`.
pub(super) fn put(fields: &mut Vec<u8>, name: &str, value: &[u8]) {
    fields.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        fields.push(b'\n');
        fields.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        fields.push(b'=');
    }
    fields.extend_from_slice(value);
    fields.push(b'\n');
}

/// The fields that every line of the container `spec` has.
///
/// # Errors
///
/// When the tag is no template, or one for something else.
pub(super) fn of(spec: &Spec) -> Result<Vec<u8>> {
    let (image, _) = image(spec);
    let tag = tag(spec)?;
    let mut fields = Vec::new();
    for (name, value) in [
        ("CONTAINER_ID", spec.id.short()),
        ("CONTAINER_ID_FULL", spec.id.as_str()),
        ("CONTAINER_NAME", name(spec)),
        ("CONTAINER_TAG", &tag),
        ("SYSLOG_IDENTIFIER", &tag),
        ("IMAGE_NAME", &image),
    ] {
        put(&mut fields, name, value.as_bytes());
    }
    for (name, value) in extra(spec) {
        put(&mut fields, &name, value.as_bytes());
    }
    Ok(fields)
}

/// What the container is called by people.
pub(super) fn name(spec: &Spec) -> &str {
    spec.name.as_ref().map_or(spec.id.short(), |name| name.as_str())
}

/// The labels and variables that were asked for, as far as the container has them.
fn extra(spec: &Spec) -> Vec<(String, &str)> {
    let journal = &spec.io.log.journal;
    let labels = journal.labels.iter().filter_map(|key| Some((key, spec.life.labels.get(key)?.as_str())));
    // Of several variables of one name the last counts, as it does for the command.
    let value = |key: &str| spec.process.env.iter().rev().find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='));
    let variables = journal.env.iter().filter_map(|key| Some((key, value(key)?)));
    labels.chain(variables).filter_map(|(key, value)| Some((field_name(key)?, value))).collect()
}

fn tag(spec: &Spec) -> Result<String> {
    let Some(template) = &spec.io.log.journal.tag else { return Ok(spec.id.short().to_owned()) };
    let (image, image_id) = image(spec);
    let plain = image_id.strip_prefix("sha256:").unwrap_or(image_id);
    let data = json!({
        "ID": spec.id.short(),
        "FullID": spec.id,
        "Name": name(spec),
        "ImageID": plain.get(..12).unwrap_or(plain),
        "ImageFullID": image_id,
        "ImageName": image,
        "DaemonName": "xnet",
    });
    Template::parse(template).and_then(|parsed| parsed.render(&data)).context(|| format!("--log-opt tag={template}"))
}

/// Name and id of the image; for a container without one, what it has instead, and nothing.
fn image(spec: &Spec) -> (String, &str) {
    match &spec.root.rootfs {
        Rootfs::Image { name, id, .. } => (name.clone(), id),
        Rootfs::Dir(dir) => (Path::display(dir).to_string(), ""),
        Rootfs::Host => (spec.root.rootfs.to_string(), ""),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::spec_of;
    use crate::spec::{Driver, Log};

    use super::*;

    #[test]
    fn a_value_with_a_newline_comes_behind_its_length() {
        let mut fields = Vec::new();
        put(&mut fields, "A", b"one\xff");
        put(&mut fields, "B", b"one\ntwo");
        assert_eq!(fields, b"A=one\xff\nB\n\x07\0\0\0\0\0\0\0one\ntwo\n");
    }

    #[test]
    fn a_line_says_whose_it_is() {
        let words = ["--name=web", "--label=com.example.role=db", "-e", "COLOR=red", "-e", "COLOR=blue", "--", "true"];
        let mut spec = spec_of(&words);
        let options = ["tag={{.Name}}/{{.ImageName}}/{{.DaemonName}}", "labels=com.example.role,none", "env=COLOR"];
        spec.io.log = Log::new(Driver::Journald, &options.map(str::to_owned)).unwrap();
        let text = String::from_utf8(of(&spec).unwrap()).unwrap();
        let image = spec.root.rootfs.to_string();
        let expected = format!(
            "CONTAINER_ID={}\nCONTAINER_ID_FULL={}\nCONTAINER_NAME=web\nCONTAINER_TAG=web/{image}/xnet\n\
            SYSLOG_IDENTIFIER=web/{image}/xnet\nIMAGE_NAME={image}\nCOM_EXAMPLE_ROLE=db\nCOLOR=blue\n",
            spec.id.short(),
            spec.id,
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_tag_about_something_else_is_refused() {
        for bad in ["{{.Nonsense}}", "{{.Name"] {
            let mut spec = spec_of(&["--", "true"]);
            spec.io.log.journal.tag = Some(bad.to_owned());
            assert!(of(&spec).unwrap_err().message.starts_with("--log-opt tag="), "{bad}");
        }
    }
}
