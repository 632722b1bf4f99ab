//! An image as people ask about it: the document of `docker image inspect`, its history, its parent.

use serde_json::{Value as Json, json};

use crate::error::Result;

use super::config::{Config, History};
use super::digest::Digest;
use super::name::Reference;
use super::store::{Image, Store};

/// One step of an image's history, with what it is known by here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The image that ends with this step, if it is here.
    pub image: Option<Digest>,
    /// What was done.
    pub history: History,
    /// Bytes in the files of its layer.
    pub size: u64,
}

impl Store {
    /// Everything about an image, under Docker's names.
    pub fn inspect(&self, image: &Image) -> Result<Json> {
        let parent = self.parent(image)?.map(|parent| parent.id.to_string()).unwrap_or_default();
        let config = &image.config;
        let comment = config.history.last().map(|step| step.comment.clone()).unwrap_or_default();
        Ok(json!({
            "Id": image.id,
            "RepoTags": image.names.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "RepoDigests": image.digests.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "Parent": parent,
            "Comment": comment,
            "Created": config.created.clone().unwrap_or_default(),
            "DockerVersion": "",
            "Author": config.author,
            "Config": configuration(&config.config),
            "Architecture": config.architecture,
            "Variant": config.variant.clone().unwrap_or_default(),
            "Os": config.os,
            "Size": self.sizes(image)?.iter().sum::<u64>(),
            "GraphDriver": { "Name": "overlay", "Data": graph(image) },
            "RootFS": { "Type": "layers", "Layers": image.diff_ids() },
            "Metadata": { "LastTagTime": image.loaded },
        }))
    }

    /// The image here on which this one was built: the one with most of its layers, but not all.
    pub fn parent(&self, image: &Image) -> Result<Option<Image>> {
        let below = |other: &Image| {
            let (mine, others) = (image.diff_ids(), other.diff_ids());
            !others.is_empty() && others.len() < mine.len() && mine.starts_with(others)
        };
        let candidates = self.images()?.into_iter().filter(below);
        Ok(candidates.max_by_key(|other| other.diff_ids().len()))
    }

    /// The steps that made an image, the last one first.
    pub fn history(&self, image: &Image) -> Result<Vec<Step>> {
        let (images, sizes) = (self.images()?, self.sizes(image)?);
        let mut layers = 0;
        let mut steps = Vec::new();
        for history in whole_history(image) {
            layers += usize::from(!history.empty_layer);
            let size = if history.empty_layer {
                0
            } else {
                layers.checked_sub(1).and_then(|at| sizes.get(at)).copied().unwrap_or(0)
            };
            let so_far = image.diff_ids().get(..layers).unwrap_or_default();
            let ends_here = |other: &&Image| {
                other.diff_ids() == so_far && other.config.history.last().is_some_and(|last| *last == history)
            };
            let image = images.iter().find(ends_here).map(|other| other.id.clone());
            steps.push(Step { image, history, size });
        }
        if let Some(last) = steps.last_mut() {
            last.image = Some(image.id.clone());
        }
        steps.reverse();
        Ok(steps)
    }
}

/// The history, with a step for each layer of which it says nothing.
fn whole_history(image: &Image) -> Vec<History> {
    let mut all = image.config.history.clone();
    let told = all.iter().filter(|step| !step.empty_layer).count();
    all.extend((told..image.diff_ids().len()).map(|_| History::default()));
    all
}

/// Where the layers are, as the overlay driver of Docker says it; null for an image without any.
fn graph(image: &Image) -> Json {
    let Some((top, below)) = image.layers.split_last() else { return Json::Null };
    let beside = |name: &str| top.with_file_name(name).display().to_string();
    let mut data = serde_json::Map::new();
    if !below.is_empty() {
        let lower: Vec<String> = below.iter().rev().map(|dir| dir.display().to_string()).collect();
        data.insert("LowerDir".to_owned(), lower.join(":").into());
    }
    data.insert("MergedDir".to_owned(), beside("merged").into());
    data.insert("UpperDir".to_owned(), top.display().to_string().into());
    data.insert("WorkDir".to_owned(), beside("work").into());
    data.into()
}

/// All keys, null where there is nothing, as templates ask for them.
fn configuration(config: &Config) -> Json {
    fn or_null<T: serde::Serialize>(is_empty: bool, value: &T) -> Json {
        if is_empty { Json::Null } else { json!(value) }
    }
    let mut all = json!({
        "User": config.user,
        "ExposedPorts": or_null(config.exposed_ports.is_empty(), &config.exposed_ports),
        "Env": or_null(config.env.is_empty(), &config.env),
        "Cmd": or_null(config.cmd.is_empty(), &config.cmd),
        "Volumes": or_null(config.volumes.is_empty(), &config.volumes),
        "WorkingDir": config.working_dir,
        "Entrypoint": or_null(config.entrypoint.is_empty(), &config.entrypoint),
        "OnBuild": or_null(config.on_build.is_empty(), &config.on_build),
        "Labels": or_null(config.labels.is_empty(), &config.labels),
        "StopSignal": config.stop_signal,
    });
    let mut add = |key: &str, value: Json| {
        if let (Some(map), false) = (all.as_object_mut(), value.is_null()) {
            map.insert(key.to_owned(), value);
        }
    };
    add("StopTimeout", json!(config.stop_timeout));
    add("Healthcheck", json!(config.healthcheck));
    add("Shell", or_null(config.shell.is_empty(), &config.shell));
    all
}
