//! The configuration of an image: what runs by default, and what its layers are.
//!
//! Its bytes are the image's name, so they are kept as they came; these types are for reading them, and for making new
//! ones. What is read is checked once, here: nothing behind this door meets a NUL, a relative working directory or a
//! variable without a name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path};

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Context, Error, Result};

use super::digest::Digest;
use super::manifest::{Platform, decode};

/// A set as it is written in JSON: `{"80/tcp": {}}`.
pub type Set = BTreeMap<String, Empty>;

/// `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub author: String,
    /// `amd64`, `arm64`, ...
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// `v7`, `v8`: of ARM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// `linux`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// Defaults for containers.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Config,
    /// The layers.
    pub rootfs: RootFs,
    /// How it came about.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub history: Vec<History>,
}

/// The layers as they are without compression, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the plain tars.
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// What a container of the image does unless told otherwise. Docker's names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `uid[:gid]` or names from the image's `/etc/passwd`; empty: root.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub user: String,
    /// `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub exposed_ports: Set,
    /// `KEY=value`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// What is executed, with `cmd` behind it.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// Arguments, or the command if there is no entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Directories that get a volume of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub volumes: Set,
    /// Absolute; empty: `/`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub working_dir: String,
    /// Notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to end, by name or number; empty: SIGTERM.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub stop_signal: String,
    /// Seconds after which a container that was asked to end is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How to ask whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What runs a command that is a line of text.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub shell: Vec<String>,
    /// Instructions for images built upon this one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub on_build: Vec<String>,
}

/// A test of a container's health; times are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", line]`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// Between two tests.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// For one test.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Before failures count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two tests until then.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that mean: unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// One step in an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub created_by: String,
    /// By whom.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub author: String,
    /// What was said about it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub comment: String,
    /// Whether it made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Docker writes null for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl ImageConfig {
    /// Reads and checks a document.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let config: Self = decode(bytes, "the image's configuration")?;
        config.check().context(|| "the image's configuration")?;
        Ok(config)
    }

    /// The platform that the image is for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform { architecture: self.architecture.clone(), os: self.os.clone(), variant: self.variant.clone() }
    }

    fn check(&self) -> Result<()> {
        if self.rootfs.kind != "layers" {
            return Err(Error::new(format!("its rootfs is of type {:?}; xnet knows layers", self.rootfs.kind)));
        }
        if !matches!(self.os.as_str(), "" | "linux") {
            return Err(Error::new(format!("the image is for {:?}, and xnet runs Linux", self.os)));
        }
        self.config.check()
    }
}

impl Config {
    /// What a container executes: arguments take the place of the image's command, and another entrypoint that of its
    /// entrypoint and its command. Empty if neither the image nor the caller says anything.
    #[must_use]
    pub fn argv(&self, entrypoint: Option<&[OsString]>, args: &[OsString]) -> Vec<OsString> {
        let own = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let head = entrypoint.map_or_else(|| own(&self.entrypoint), <[OsString]>::to_vec);
        let tail = if args.is_empty() && entrypoint.is_none() { own(&self.cmd) } else { args.to_vec() };
        [head, tail].concat()
    }

    /// Refuses what no container could be started with.
    pub(super) fn check(&self) -> Result<()> {
        let texts = [&self.env, &self.entrypoint, &self.cmd, &self.shell].into_iter().flatten();
        let singles = [&self.user, &self.working_dir, &self.stop_signal];
        if let Some(text) = texts.chain(singles).find(|text| text.contains('\0')) {
            return Err(Error::new(format!("{text:?} holds a NUL")));
        }
        if let Some(entry) = self.env.iter().find(|entry| entry.split_once('=').is_none_or(|(key, _)| key.is_empty())) {
            return Err(Error::new(format!("the environment entry {entry:?} is not NAME=VALUE")));
        }
        if !self.working_dir.is_empty() && !self.working_dir.starts_with('/') {
            return Err(Error::new(format!("the working directory {:?} is not absolute", self.working_dir)));
        }
        if self.user.chars().any(char::is_control) || self.user.matches(':').count() > 1 {
            return Err(Error::new(format!("the user {:?} is not USER[:GROUP]", self.user)));
        }
        if let Some(bad) = self.volumes.keys().find(|path| !is_volume(path)) {
            return Err(Error::new(format!("the volume {bad:?} is not an absolute path without \"..\"")));
        }
        if let Some(bad) = self.exposed_ports.keys().find(|port| !is_port(port)) {
            return Err(Error::new(format!("the exposed port {bad:?} is not NUMBER[/tcp|udp|sctp]")));
        }
        Ok(())
    }
}

fn is_volume(path: &str) -> bool {
    let up = Path::new(path).components().any(|c| c == Component::ParentDir);
    path.starts_with('/') && !up && !path.chars().any(char::is_control)
}

/// `80`, `80/tcp`, `8000-8010/udp`.
pub(super) fn is_port(text: &str) -> bool {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok();
    number(from) && number(to) && matches!(protocol, "tcp" | "udp" | "sctp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(config: &str) -> Result<ImageConfig> {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{config}}}"#
        );
        ImageConfig::parse(text.as_bytes())
    }

    #[test]
    fn what_docker_leaves_null_is_empty() {
        let config = parse(
            r#"{"Env":null,"Cmd":["sh"],"Volumes":null,"Labels":null,"Entrypoint":null,"User":"","OnBuild":null}"#,
        );
        assert_eq!(config.unwrap().config, Config { cmd: vec!["sh".to_owned()], ..Config::default() });
        assert_eq!(parse("null").unwrap().config, Config::default());
    }

    #[test]
    fn what_is_executed_is_the_images_or_the_callers() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let config = parse(r#"{"Entrypoint":["/e"],"Cmd":["c","d"]}"#).unwrap().config;
        assert_eq!(config.argv(None, &[]), words("/e c d"));
        assert_eq!(config.argv(None, &words("x")), words("/e x"));
        assert_eq!(config.argv(Some(&words("/f")), &[]), words("/f"));
        assert_eq!(config.argv(Some(&words("/f")), &words("x")), words("/f x"));
        assert_eq!(config.argv(Some(&[]), &words("x")), words("x"));
    }

    /// Requirement: P-19.
    #[test]
    fn what_no_container_could_start_with_is_refused() {
        let bads = [
            r#"{"Env":["A"]}"#,
            r#"{"Env":["=x"]}"#,
            r#"{"Env":["A=\u0000"]}"#,
            r#"{"Cmd":["a\u0000b"]}"#,
            r#"{"WorkingDir":"x"}"#,
            r#"{"WorkingDir":"../../x"}"#,
            r#"{"User":"a:b:c"}"#,
            r#"{"User":"a\nb"}"#,
            r#"{"Volumes":{"../x":{}}}"#,
            r#"{"Volumes":{"/a/../../x":{}}}"#,
            r#"{"ExposedPorts":{"99999/tcp":{}}}"#,
            r#"{"ExposedPorts":{"80/icmp":{}}}"#,
        ];
        for bad in bads {
            assert!(parse(bad).is_err(), "{bad}");
        }
        parse(r#"{"Env":["A=","B=c=d"],"WorkingDir":"/x","User":"1:2","Volumes":{"/v":{}},"ExposedPorts":{"80":{},"1-2/udp":{}}}"#).unwrap();
    }

    /// Requirement: P-20, P-19.
    #[test]
    fn damaged_configurations_are_refused_or_can_be_run() {
        let good = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"history":[{"created":"2026-01-01T00:00:00Z","empty_layer":true}],"config":{"Env":["A=b","C=d e"],"Cmd":["sh","-c","x"],"Entrypoint":["/e"],"WorkingDir":"/w","User":"1:2","Volumes":{"/v":{}},"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["NONE"],"Interval":5},"StopTimeout":3,"Labels":{"a":"b"}}}"#;
        let words: [&[u8]; 4] =
            [b"\"Volumes\":{\"/../x\":{}},", b"\"Env\":[\"=\"],", b"/../", b"\"Cmd\":[\"\\u0000\"],"];
        crate::mutation::each(&[good.as_bytes()], &words, 6_000, |text| {
            let Ok(read) = ImageConfig::parse(text) else { return };
            let argv = read.config.argv(None, &[]);
            assert!(argv.iter().all(|word| !word.as_encoded_bytes().contains(&0)), "{}", text.escape_ascii());
            assert!(read.config.volumes.keys().all(|path| !path.contains("..")), "{}", text.escape_ascii());
            let again = ImageConfig::parse(&super::super::manifest::encode(&read).unwrap()).unwrap();
            assert_eq!(again.config, read.config);
        });
    }
}
