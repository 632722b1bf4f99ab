//! `xnet binfmt`: the emulators that the host as a whole has registered. `run --platform` needs none of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use crate::binfmt::handlers::{Fits, Handler, Handlers};
use crate::binfmt::{ARCHITECTURES, Emulator, architecture};
use crate::error::{Error, Result};
use crate::format::table::{Column, Format};

use super::complain;
use super::inspect::answer;

const COLUMNS: [Column; 5] = [
    ("Name", "NAME"),
    ("Enabled", "ENABLED"),
    ("Interpreter", "INTERPRETER"),
    ("Flags", "FLAGS"),
    ("Platform", "PLATFORM"),
];

/// Handlers of programs that the processor itself cannot run, for the whole host.
#[derive(Debug, Args)]
pub(super) struct Binfmt {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List handlers
    #[command(visible_aliases = ["list", "status"])]
    Ls(Ls),
    /// Print everything about handlers
    Inspect(Inspect),
    /// Register emulators of this host, until it is shut down
    Install(Install),
    /// Take registrations back
    #[command(visible_alias = "rm")]
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Ls {
    /// A template for each line, `table TEMPLATE`, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

#[derive(Debug, Args)]
struct Inspect {
    /// A template in the place of JSON
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// As ls calls them, like qemu-aarch64
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
struct Install {
    /// Every emulator that this host has
    #[arg(long, conflicts_with_all = ["platforms", "interpreter"])]
    all: bool,
    /// The emulator; by default the host's qemu for the platform
    #[arg(long, value_name = "FILE")]
    interpreter: Option<PathBuf>,
    /// Whose programs to run, as in linux/arm64 or arm64
    #[arg(required_unless_present = "all", value_name = "PLATFORM")]
    platforms: Vec<String>,
}

#[derive(Debug, Args)]
struct Remove {
    /// Every emulator; other handlers stay
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// As ls calls them; what is not there is no error
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,
}

impl Binfmt {
    pub(super) fn run(&self) -> Result<u8> {
        match &self.command {
            Command::Ls(ls) => ls.run(),
            Command::Inspect(inspect) => inspect.run(),
            Command::Install(install) => install.run(),
            Command::Remove(remove) => remove.run(),
        }
    }
}

impl Ls {
    fn run(&self) -> Result<u8> {
        let format = Format::new(self.format.as_deref(), &COLUMNS, &COLUMNS)?;
        let handlers = Handlers::open()?;
        if !handlers.are_on()? {
            complain(&Error::new("binfmt_misc is switched off, so no handler is used (its file `status` takes a 1)"));
        }
        let rows: Vec<_> = handlers.list()?.iter().map(row).collect();
        print!("{}", format.render(&rows)?);
        Ok(0)
    }
}

/// Whether this host's processor runs such programs itself.
fn is_native(machine: &str) -> bool {
    matches!((std::env::consts::ARCH, machine), ("x86_64", "i386")) || machine == std::env::consts::ARCH
}

fn row(handler: &Handler) -> Json {
    let of = |machine: &str| ARCHITECTURES.iter().find(|arch| arch.machine == machine);
    let platform = handler.name.strip_prefix("qemu-").and_then(of);
    json!({
        "Name": handler.name,
        "Enabled": handler.is_enabled,
        "Interpreter": handler.interpreter,
        "Flags": handler.flags,
        "Platform": platform.map_or_else(String::new, |arch| format!("linux/{}", arch.name)),
    })
}

impl Inspect {
    fn run(&self) -> Result<u8> {
        let handlers = Handlers::open()?;
        answer(&self.names, self.format.as_deref(), |name| match handlers.find(name)? {
            Some(handler) => Ok(describe(&handler)),
            None => Err(Error::new(format!("there is no handler {name} (xnet binfmt ls shows those that there are)"))),
        })
    }
}

/// The kernel's fields, by the kernel's names.
fn describe(handler: &Handler) -> Json {
    let mut object = json!({
        "name": handler.name,
        "enabled": handler.is_enabled,
        "interpreter": handler.interpreter,
        "flags": handler.flags,
    });
    match &handler.fits {
        Fits::Extension(extension) => object["extension"] = json!(extension),
        Fits::Magic { offset, magic, mask } => {
            object["offset"] = json!(offset);
            object["magic"] = json!(magic);
            object["mask"] = json!(mask);
        }
    }
    object
}

impl Install {
    fn run(&self) -> Result<u8> {
        // All of them first: nothing is registered when one cannot be.
        let emulators = self.emulators()?;
        let handlers = Handlers::open_to_stay()?;
        for emulator in &emulators {
            if handlers.install(emulator)? {
                println!("{}", emulator.name());
            }
        }
        Ok(0)
    }

    fn emulators(&self) -> Result<Vec<Emulator>> {
        if self.all {
            let others = ARCHITECTURES.iter().filter(|arch| !is_native(arch.machine));
            return Ok(others.filter_map(|arch| Emulator::find(arch).ok()).collect());
        }
        self.platforms.iter().map(|platform| self.emulator(platform)).collect()
    }

    fn emulator(&self, platform: &str) -> Result<Emulator> {
        let arch = architecture(platform)?;
        if is_native(arch.machine) {
            return Err(Error::new(format!("this host runs programs for {platform} itself: they need no emulator")));
        }
        let Some(file) = &self.interpreter else { return Emulator::find(arch) };
        let refuse = |why: &str| Err(Error::new(format!("the emulator {}: {why}", file.display())));
        if !file.is_absolute() || file.to_string_lossy().contains([':', '\n']) {
            return refuse("its path must be absolute, and without colons");
        }
        if !file.is_file() {
            return refuse("there is no such file");
        }
        Ok(Emulator { machine: arch.machine.to_owned(), interpreter: file.clone() })
    }
}

impl Remove {
    fn run(&self) -> Result<u8> {
        let handlers = Handlers::open()?;
        if self.all {
            handlers.remove_emulators()?.iter().for_each(|name| println!("{name}"));
            return Ok(0);
        }
        for name in &self.names {
            if handlers.remove(name)? {
                println!("{name}");
            }
        }
        Ok(0)
    }
}
