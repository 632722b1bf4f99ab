//! What the runner owes its users, and which test shows it.
//!
//! `runner/requirements.txt` has a line for each: an id, how much it is wanted (M must, S should, C could), and what it is.
//! A test says in its documentation what it shows (`Requirement: ID, ID.`). The page `docs/runner-requirements.md` is made
//! of both; `make requirements` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The ids that a line of documentation names.
const MARK: &str = "Requirement:";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Requirement {
    id: String,
    wanted: String,
    what: String,
}

fn requirements() -> Vec<Requirement> {
    let text = fs::read_to_string(root().join("tests/runner/requirements.txt")).unwrap();
    let parse = |line: &str| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let mut next = || words.next().unwrap_or_else(|| panic!("{line:?} is not ID M|S|C TEXT"));
        Requirement { id: next(), wanted: next(), what: next() }
    };
    text.lines().map(parse).collect()
}

/// `file::test` by the requirements that the tests name.
fn shown() -> BTreeMap<String, Vec<String>> {
    let mut files = Vec::new();
    for dir in ["runner", "tests"] {
        sources(&root().join(dir), &mut files);
    }
    files.sort();
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(root()).unwrap().display().to_string();
        for (id, test) in marks(&text) {
            shown.entry(id).or_default().push(format!("{place}::{test}"));
        }
    }
    shown
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests/tests/requirements.rs") {
            found.push(path);
        }
    }
}

/// The ids in a file, each with the function that follows.
fn marks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut in_list = false;
    for line in text.lines().map(str::trim) {
        let doc = line.strip_prefix("///").map(str::trim);
        match doc.and_then(|doc| doc.strip_prefix(MARK).or(in_list.then_some(doc))) {
            Some(list) => {
                let ids = list.split([',', ' ']).map(|id| id.trim_end_matches('.')).filter(|id| !id.is_empty());
                open.extend(ids.map(str::to_owned));
                in_list = !list.ends_with('.');
            }
            None => in_list = false,
        }
        if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            found.extend(open.drain(..).map(|id| (id, name.to_owned())));
        }
    }
    found
}

fn page(shown: &BTreeMap<String, Vec<String>>) -> String {
    let mut page = "# What the runner owes its users\n\n\
        Made by `make requirements` from `tests/runner/requirements.txt` and the tests that name an id. M must, S should,\n\
        C could.\n\n| id | | what | shown by |\n|---|---|---|---|\n"
        .to_owned();
    for Requirement { id, wanted, what } in requirements() {
        let tests: Vec<_> = shown.get(&id).into_iter().flatten().map(|test| format!("`{test}`")).collect();
        writeln!(page, "| {id} | {wanted} | {what} | {} |", tests.join("<br>")).unwrap();
    }
    page
}

#[test]
fn the_page_tells_what_the_tests_show() {
    let path = root().join("docs/runner-requirements.md");
    let page = page(&shown());
    if std::env::var_os("XNET_WRITE_REQUIREMENTS").is_some() {
        fs::write(&path, page).unwrap();
    } else if fs::read_to_string(&path).ok().as_ref() != Some(&page) {
        panic!("docs/runner-requirements.md is not what the tests say: run make requirements");
    }
}

#[test]
fn tests_name_requirements_that_exist() {
    let known: Vec<_> = requirements().into_iter().map(|r| r.id).collect();
    let shown = shown();
    let unknown: Vec<_> = shown.iter().filter(|(id, _)| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn every_must_is_shown() {
    let shown = shown();
    let missing = |r: &Requirement| r.wanted == "M" && !shown.contains_key(&r.id);
    let missing: Vec<_> = requirements().into_iter().filter(missing).map(|r| r.id).collect();
    let known = fs::read_to_string(root().join("tests/runner/missing.txt")).unwrap_or_default();
    assert_eq!(
        missing,
        known.split_whitespace().collect::<Vec<_>>(),
        "tests/runner/missing.txt says which are not yet"
    );
}
