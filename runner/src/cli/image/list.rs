//! Lists: `images`, `history`.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::format::table::{Column, Format};
use crate::format::units::{ago, size};
use crate::image::{Image, Reference, Store};
use crate::moment::Moment;
use crate::spec::Dirs;

use super::store;

const COLUMNS: [Column; 9] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("Containers", "CONTAINERS"),
];

const STEPS: [Column; 5] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

const NONE: &str = "<none>";

/// `xnet images`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// A repository, with or without a tag; by default all
    name: Option<String>,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// For Docker's sake: there are no hidden images here
    #[arg(short, long)]
    all: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Digests of manifests, too
    #[arg(long)]
    digests: bool,
    /// What is built upon what
    #[arg(long, conflicts_with_all = ["quiet", "format"])]
    tree: bool,
    /// dangling=true|false, label=KEY[=VALUE] or reference=NAME
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// json, a template, or table and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

impl List {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = store(dirs)?;
        let mut images = Vec::new();
        for image in store.images()? {
            if self.wants(&image)? {
                images.push(image);
            }
        }
        if self.tree {
            print!("{}", tree(&store, &images)?);
        } else if self.quiet {
            images.iter().for_each(|image| println!("{}", self.id(image)));
        } else {
            let mut usual = vec![COLUMNS[0], COLUMNS[1], COLUMNS[3], COLUMNS[4], COLUMNS[6]];
            if self.digests {
                usual.insert(2, COLUMNS[2]);
            }
            let rows = images.iter().map(|image| self.rows(&store, image)).collect::<Result<Vec<_>>>()?.concat();
            print!("{}", Format::new(self.format.as_deref(), &usual, &COLUMNS)?.render(&rows)?);
        }
        Ok(0)
    }

    fn wants(&self, image: &Image) -> Result<bool> {
        let mut wanted = self.name.as_ref().is_none_or(|name| image.names.iter().any(|own| is_called(own, name)));
        for filter in &self.filter {
            wanted &= match filter.split_once('=') {
                Some(("dangling", value @ ("true" | "false"))) => image.names.is_empty() == (value == "true"),
                Some(("reference", name)) => image.names.iter().any(|own| is_called(own, name)),
                Some(("label", label)) => {
                    let (key, value) = label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
                    image.config.config.labels.get(key).is_some_and(|own| value.is_none_or(|value| value == own))
                }
                _ => {
                    return Err(Error::new(format!(
                        "unknown filter {filter:?}: expected dangling=, label= or reference="
                    )));
                }
            };
        }
        Ok(wanted)
    }

    fn id(&self, image: &Image) -> String {
        if self.no_trunc { image.id.to_string() } else { image.id.short().to_owned() }
    }

    /// A row for each name; one for an image without any.
    fn rows(&self, store: &Store, image: &Image) -> Result<Vec<Json>> {
        let created = image.config.created.as_deref();
        let total: u64 = store.sizes(image)?.iter().sum();
        let holders = store.holders(&image.id)?.len();
        let row = |name: Option<&Reference>| {
            let repository = name.map_or_else(
                || image.digests.first().map_or_else(|| NONE.to_owned(), Reference::familiar_repository),
                Reference::familiar_repository,
            );
            json!({
                "Repository": repository,
                "Tag": name.and_then(Reference::tag).unwrap_or(NONE),
                "Digest": if image.digests.is_empty() { NONE } else { image.manifest.as_str() },
                "ID": self.id(image),
                "CreatedSince": since(created),
                "CreatedAt": created.unwrap_or_default(),
                "Size": size(total),
                "SharedSize": "N/A",
                "Containers": holders.to_string(),
            })
        };
        Ok(if image.names.is_empty() {
            vec![row(None)]
        } else {
            image.names.iter().map(|name| row(Some(name))).collect()
        })
    }
}

/// Whether a name is `text`, which may lack the tag.
fn is_called(name: &Reference, text: &str) -> bool {
    let wanted = text.parse::<Reference>();
    wanted.is_ok_and(|wanted| {
        let repository = wanted.registry() == name.registry() && wanted.repository() == name.repository();
        let tagged = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
        repository && (!tagged || wanted.tag() == name.tag())
    })
}

/// Images under the images that they are built upon, each with the size of its own layers.
fn tree(store: &Store, images: &[Image]) -> Result<String> {
    let mut parents = Vec::new();
    for image in images {
        let parent = store.parent(image)?.map(|parent| parent.id);
        // One that is not in the list is no place to hang things on.
        parents.push(parent.filter(|id| images.iter().any(|image| image.id == *id)));
    }
    let mut out = String::new();
    let mut todo: Vec<(usize, usize)> =
        (0..images.len()).rev().filter(|at| parents[*at].is_none()).map(|at| (at, 0)).collect();
    while let Some((at, depth)) = todo.pop() {
        let image = &images[at];
        let below = parents[at].as_ref().and_then(|id| images.iter().find(|image| image.id == *id));
        let shared = below.map_or(0, |parent| parent.diff_ids().len());
        let own: u64 = store.sizes(image)?.iter().skip(shared).sum();
        let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
        let names = if names.is_empty() { NONE.to_owned() } else { names.join(", ") };
        let (id, layers) = (image.id.short(), image.diff_ids().len() - shared);
        let branch = if depth == 0 { String::new() } else { format!("{}└─ ", "   ".repeat(depth - 1)) };
        out += &format!("{branch}{id}  {names}  {layers} layer{}, {}\n", if layers == 1 { "" } else { "s" }, size(own));
        let children = (0..images.len()).rev().filter(|child| parents[*child].as_ref() == Some(&image.id));
        todo.extend(children.map(|child| (child, depth + 1)));
    }
    Ok(out)
}

/// `xnet history IMAGE`.
#[derive(Debug, Args)]
pub(in crate::cli) struct History {
    /// An image by name or id
    image: String,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// json, a template, or table and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

impl History {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = store(dirs)?;
        let rows: Vec<Json> = store.history(&store.resolve(&self.image)?)?.iter().map(|step| self.row(step)).collect();
        if self.quiet {
            rows.iter().for_each(|row| println!("{}", row["ID"].as_str().unwrap_or_default()));
        } else {
            print!("{}", Format::new(self.format.as_deref(), &STEPS, &STEPS)?.render(&rows)?);
        }
        Ok(0)
    }

    fn row(&self, step: &crate::image::inspect::Step) -> Json {
        let cut = |text: &str| match text.char_indices().nth(44) {
            Some((end, _)) if !self.no_trunc => format!("{}…", &text[..end]),
            _ => text.to_owned(),
        };
        let id = step.image.as_ref().map_or("<missing>", |id| if self.no_trunc { id.as_str() } else { id.short() });
        json!({
            "ID": id,
            "CreatedSince": since(step.history.created.as_deref()),
            "CreatedAt": step.history.created.clone().unwrap_or_default(),
            "CreatedBy": cut(&step.history.created_by.replace(['\n', '\t'], " ")),
            "Size": size(step.size),
            "Comment": step.history.comment,
        })
    }
}

/// How long ago that was; empty if the image does not say.
fn since(created: Option<&str>) -> String {
    let moment = created.and_then(|time| time.parse::<Moment>().ok());
    moment.map(|moment| ago(moment.elapsed())).unwrap_or_default()
}
