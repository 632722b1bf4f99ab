//! `xnet volume`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::format::table::Format;
use crate::id::Name;
use crate::spec::Dirs;
use crate::volume::{Volume, Volumes, users};

use super::complain;
use super::inspect::answer;

/// Work with volumes: directories that outlive containers.
#[derive(Debug, Args)]
pub(super) struct VolumeCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a volume
    Create(Create),
    /// Print what is known about volumes
    Inspect(Inspect),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Remove volumes that no container uses
    Prune(Prune),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(Rm),
}

#[derive(Debug, Args)]
struct Create {
    /// Something to find it by
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Its name; random without
    name: Option<Name>,
}

#[derive(Debug, Args)]
struct Inspect {
    /// A Go template
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    #[arg(required = true)]
    names: Vec<String>,
}

#[derive(Debug, Args)]
struct Ls {
    /// Names only
    #[arg(short, long)]
    quiet: bool,
    /// dangling=true|false, name=PART or label=KEY[=VALUE]
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Args)]
struct Prune {
    /// Volumes with names, too
    #[arg(short, long)]
    all: bool,
    /// Accepted for the sake of scripts: nothing is asked
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Rm {
    /// What does not exist is no error
    #[arg(short, long)]
    force: bool,
    #[arg(required = true)]
    names: Vec<String>,
}

impl VolumeCommand {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        match &self.action {
            Action::Create(create) => create.run(dirs),
            Action::Inspect(inspect) => inspect.run(dirs),
            Action::Ls(ls) => ls.run(dirs),
            Action::Prune(prune) => prune.run(dirs),
            Action::Rm(rm) => rm.run(dirs),
        }
    }
}

impl Create {
    fn run(&self, dirs: &Dirs) -> Result<u8> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => Name::random()?,
        };
        let split = |label: &String| match label.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (label.clone(), String::new()),
        };
        let labels = self.label.iter().map(split).collect();
        Volumes::of(&dirs.data).ensure(name.as_str(), self.name.is_none(), &labels)?;
        println!("{name}");
        Ok(0)
    }
}

/// A volume as `inspect` shows it.
pub(super) fn describe(volumes: &Volumes, volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": if volume.labels.is_empty() { Value::Null } else { json!(volume.labels) },
        "Mountpoint": volumes.mountpoint(volume),
        "Name": volume.name,
        "Options": Value::Null,
        "Scope": "local",
    })
}

impl Inspect {
    fn run(&self, dirs: &Dirs) -> Result<u8> {
        let volumes = Volumes::of(&dirs.data);
        answer(&self.names, self.format.as_deref(), |name| Ok(describe(&volumes, &volumes.get(name)?)))
    }
}

impl Ls {
    fn run(&self, dirs: &Dirs) -> Result<u8> {
        let volumes = Volumes::of(&dirs.data);
        let mut rows = Vec::new();
        for volume in volumes.list()? {
            if self.wanted(&volume, dirs)? {
                rows.push(volume);
            }
        }
        if self.quiet {
            rows.iter().for_each(|volume| println!("{}", volume.name));
            return Ok(0);
        }
        let values: Vec<Value> = rows.iter().map(|volume| row(&volumes, volume)).collect();
        print!("{}", list_format(self.format.as_deref())?.render(&values)?);
        Ok(0)
    }

    fn wanted(&self, volume: &Volume, dirs: &Dirs) -> Result<bool> {
        for filter in &self.filter {
            let (key, value) = filter.split_once('=').unwrap_or((filter, ""));
            let fits = match key {
                "name" => volume.name.contains(value),
                "label" => has_label(&volume.labels, value),
                "dangling" => users(dirs, &volume.name)?.is_empty() == (value == "true" || value == "1"),
                "driver" => value == "local",
                _ => {
                    return Err(Error::new(format!(
                        "unknown filter {filter:?}: there are dangling, driver, label and name"
                    )));
                }
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
        None => labels.contains_key(wanted),
    }
}

fn row(volumes: &Volumes, volume: &Volume) -> Value {
    let labels: Vec<_> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Driver": "local",
        "Labels": labels.join(","),
        "Mountpoint": volumes.mountpoint(volume),
        "Name": volume.name,
        "Scope": "local",
    })
}

impl Prune {
    fn run(&self, dirs: &Dirs) -> Result<u8> {
        let volumes = Volumes::of(&dirs.data);
        for volume in volumes.list()? {
            if (self.all || volume.anonymous) && users(dirs, &volume.name)?.is_empty() {
                volumes.remove(&volume.name)?;
                println!("{}", volume.name);
            }
        }
        Ok(0)
    }
}

impl Rm {
    fn run(&self, dirs: &Dirs) -> Result<u8> {
        let volumes = Volumes::of(&dirs.data);
        let mut failed = false;
        for name in &self.names {
            match remove(&volumes, dirs, name) {
                Ok(()) => println!("{name}"),
                Err(_) if self.force && volumes.get(name).is_err() => {}
                Err(error) => {
                    complain(&error);
                    failed = true;
                }
            }
        }
        Ok(u8::from(failed))
    }
}

fn remove(volumes: &Volumes, dirs: &Dirs, name: &str) -> Result<()> {
    volumes.get(name)?;
    let users = users(dirs, name)?;
    if !users.is_empty() {
        return Err(Error::new(format!("the volume {name} is in use by {}", users.join(", "))));
    }
    volumes.remove(name)
}

fn list_format(asked: Option<&str>) -> Result<Format> {
    let usual = [("Driver", "DRIVER"), ("Name", "VOLUME NAME")];
    let known = [usual[0], usual[1], ("Labels", "LABELS"), ("Mountpoint", "MOUNTPOINT"), ("Scope", "SCOPE")];
    Format::new(asked, &usual, &known)
}
