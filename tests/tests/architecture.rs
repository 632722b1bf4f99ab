//! The packages depend on each other in one direction only.

use std::collections::BTreeMap;
use std::process::Command;

use harness::run;
use serde_json::Value;

/// What a package may use of this workspace.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("xnet-cni", &[]),
    ("xnet-kernel", &[]),
    ("xnet-plugins", &["xnet-cni", "xnet-kernel"]),
    ("xnet-ipam", &["xnet-cni", "xnet-kernel"]),
    ("xnet", &["xnet-cni", "xnet-kernel", "xnet-plugins", "xnet-ipam"]),
    ("xnet-tests", &[]),
];

#[test]
fn packages_use_only_what_is_below_them() {
    let used = workspace_dependencies();
    for (package, allowed) in MAY_USE {
        let used = used.get(package).unwrap_or_else(|| panic!("no package {package}"));
        let wrong: Vec<&String> = used.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{package} may not use {wrong:?}");
    }
    let unknown: Vec<&String> = used.keys().filter(|name| !MAY_USE.iter().any(|(known, _)| known == name)).collect();
    assert!(unknown.is_empty(), "packages without a place in the order: {unknown:?}");
}

/// Per package the packages of the workspace that it uses in any way, tests and builds included.
fn workspace_dependencies() -> BTreeMap<String, Vec<String>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let output = run(command.current_dir(env!("CARGO_MANIFEST_DIR")), b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|package| (name(package), local_dependencies(package))).collect()
}

fn local_dependencies(package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    dependencies.iter().filter(|dependency| dependency["path"].is_string()).map(name).collect()
}

fn name(value: &Value) -> String {
    value["name"].as_str().expect("a name").to_owned()
}
