//! Lists, from text and from directories.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{parse, write};
use crate::Code;
use crate::runtime::ConfList;

#[test]
fn a_list_is_read_in_full() {
    let text = r#"{"name": "n1", "cniVersion": "1.0.0", "disableCheck": true, "disableGC": "TRUE",
        "loadOnlyInlinedPlugins": "false", "plugins": [{"type": "a"}, {"Type": "b", "name": "own"}]}"#;
    let list = ConfList::from_slice(text.as_bytes()).unwrap();
    assert_eq!((list.name(), list.version()), ("n1", "1.0.0"));
    assert!(list.disable_check() && list.disable_gc() && !list.only_inlined());
    let plugins: Vec<_> = list.plugins().iter().map(|plugin| (plugin.plugin(), plugin.name())).collect();
    assert_eq!(plugins, [("a", ""), ("b", "own")]);
    assert_eq!(list.bytes(), text.as_bytes());
}

#[test]
fn what_is_no_list_is_refused_in_known_words() {
    const CASES: &[(&str, &str)] = &[
        ("{}", "no name"),
        ("null", "no name"),
        (r#"{"name": 5}"#, "invalid name type float64"),
        (r#"{"name": null}"#, "invalid name type <nil>"),
        (r#"{"Name": "n"}"#, "no name"),
        (r#"{"name": "n", "cniVersion": []}"#, "invalid cniVersion type []interface {}"),
        (r#"{"name": "n", "cniVersions": "1.0.0"}"#, "invalid type for cniVersions: string"),
        (r#"{"name": "n", "cniVersions": ["1.0.0", 1]}"#, "invalid type for cniVersions index 1: float64"),
        (
            r#"{"name": "n", "cniVersions": ["x"]}"#,
            "invalid cniVersions entry x at index 0: failed to convert major version part \"x\": strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            r#"{"name": "n", "cniVersion": "1.2.3.4", "cniVersions": []}"#,
            "invalid cniVersion 1.2.3.4: invalid version \"1.2.3.4\": too many parts",
        ),
        (r#"{"name": "n", "disableCheck": "Maybe"}"#, "invalid value \"maybe\" for disableCheck"),
        (r#"{"name": "n", "disableGC": 1}"#, "invalid type float64 for disableGC"),
        (r#"{"name": "n", "loadOnlyInlinedPlugins": null}"#, "invalid type <nil> for loadOnlyInlinedPlugins"),
        (r#"{"name": "n", "loadOnlyInlinedPlugins": true}"#, "`loadOnlyInlinedPlugins` is true, and no 'plugins' key"),
        (r#"{"name": "n", "plugins": {}}"#, "invalid 'plugins' type map[string]interface {}"),
        (r#"{"name": "n", "plugins": null}"#, "invalid 'plugins' type <nil>"),
        (r#"{"name": "n", "plugins": []}"#, "no plugins in list"),
    ];
    for (text, reason) in CASES {
        let err = ConfList::from_slice(text.as_bytes()).unwrap_err();
        assert_eq!(err.msg, format!("error parsing configuration list: {reason}"), "{text}");
        assert_eq!(err.code, Code::INVALID_CONFIG, "{text}");
    }
}

#[test]
fn what_is_no_plugin_is_refused_with_its_index() {
    for (plugins, msg) in [
        (r#"[{}]"#, "failed to parse plugin config 0: error parsing configuration: missing 'type'"),
        (
            r#"[{"type": "a"}, {"type": ""}]"#,
            "failed to parse plugin config 1: error parsing configuration: missing 'type'",
        ),
        (r#"[null]"#, "failed to parse plugin config 0: error parsing configuration: missing 'type'"),
    ] {
        let err = ConfList::from_slice(format!(r#"{{"name": "n", "plugins": {plugins}}}"#).as_bytes()).unwrap_err();
        assert_eq!((err.code, err.msg.as_str()), (Code::INVALID_CONFIG, msg));
    }
    for plugins in [r#"[5]"#, r#"[{"type": 5}]"#, r#"[{"type": "a", "capabilities": {"mac": "yes"}}]"#] {
        let err = ConfList::from_slice(format!(r#"{{"name": "n", "plugins": {plugins}}}"#).as_bytes()).unwrap_err();
        assert_eq!(err.code, Code::DECODING_FAILURE, "{plugins}");
        assert!(err.msg.starts_with("failed to parse plugin config 0: error parsing configuration: "), "{}", err.msg);
    }
}

#[test]
fn what_is_no_json_is_refused_without_a_panic() {
    let deep = "[".repeat(100_000);
    for text in ["", "{", "nul", "{\"name\": \"n\",}", deep.as_str()] {
        let err = ConfList::from_slice(text.as_bytes()).unwrap_err();
        assert_eq!(err.code, Code::DECODING_FAILURE);
        assert!(err.msg.starts_with("error parsing configuration list: "), "{}", err.msg);
    }
    for text in ["5", "[]", "\"n\""] {
        let err = ConfList::from_slice(text.as_bytes()).unwrap_err();
        assert!(err.msg.starts_with("error parsing configuration list: a list is a JSON object"), "{}", err.msg);
    }
}

#[test]
fn the_highest_common_version_is_chosen() {
    for (version, versions, chosen) in [
        (json!("0.4.0"), None, "0.4.0"),
        (json!("9.9.9"), None, "9.9.9"),
        (json!("bogus"), None, "bogus"),
        (Value::Null, None, ""),
        (Value::Null, Some(json!(["0.4.0", "1.0.0", "0.3.1"])), "1.0.0"),
        (json!("1.1.0"), Some(json!(["0.4.0", "1.0.0"])), "1.1.0"),
        (json!("0.3.0"), Some(json!(["0.4.0", "1.2.0", "2.0.0"])), "0.4.0"),
        (json!("9.9.9"), Some(json!(["0.4.0"])), "0.4.0"),
        (json!("0.3.0"), Some(json!(["1.10.0"])), "0.3.0"),
        (json!("9.9.9"), Some(json!(["1.2.0"])), "9.9.9"),
        (Value::Null, Some(json!([])), ""),
    ] {
        let mut list = json!({"name": "n", "plugins": [{"type": "a"}]});
        if !version.is_null() {
            list["cniVersion"] = version.clone();
        }
        if let Some(versions) = &versions {
            list["cniVersions"] = versions.clone();
        }
        assert_eq!(parse(&list).version(), chosen, "{version} {versions:?}");
    }
}

#[test]
fn a_folder_s_plugins_follow_the_inlined_ones() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("10-n.conflist");
    write(&file, r#"{"name": "n", "extra": 1, "plugins": [{"type": "first"}]}"#);
    write(&dir.path().join("n/20-b.conf"), r#"{"type": "third", "mtu": 9000}"#);
    write(&dir.path().join("n/10-a.conf"), r#"{"type": "second"}"#);
    write(&dir.path().join("n/30-c.json"), "not looked at");
    write(&dir.path().join("n/40-d.conf/e.conf"), "not looked at either");
    let list = ConfList::from_file(&file).unwrap();
    let plugins: Vec<_> = list.plugins().iter().map(crate::runtime::PluginConf::plugin).collect();
    assert_eq!(plugins, ["first", "second", "third"]);

    // What is kept of the list stands on its own.
    let kept = ConfList::from_slice(list.bytes()).unwrap();
    assert_eq!(kept.plugins(), list.plugins());
    assert!(kept.only_inlined());
    assert_eq!(serde_json::from_slice::<Value>(kept.bytes()).unwrap()["extra"], 1);
}

#[test]
fn a_folder_is_left_alone_when_the_list_says_so_or_its_name_leads_elsewhere() {
    let dir = TempDir::new().unwrap();
    write(&dir.path().join("n/a.conf"), r#"{"type": "foldered"}"#);
    let file = dir.path().join("net.d/x.conflist");
    for (name, only) in [("../n", false), ("n/.", false), ("n", true)] {
        write(&file, &json!({"name": name, "loadOnlyInlinedPlugins": only, "plugins": [{"type": "a"}]}).to_string());
        assert_eq!(ConfList::from_file(&file).unwrap().plugins().len(), 1, "{name}");
    }
    write(&file, r#"{"name": "../n"}"#);
    assert_eq!(ConfList::from_file(&file).unwrap_err().msg, "no plugin configs found");
}

#[test]
fn a_list_may_have_all_its_plugins_in_the_folder() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("n.conflist");
    write(&file, r#"{"name": "n", "cniVersion": "1.1.0"}"#);
    assert_eq!(ConfList::from_file(&file).unwrap_err().msg, "no plugin configs found");
    write(&dir.path().join("n/a.conf"), r#"{"type": "a"}"#);
    assert_eq!(ConfList::from_file(&file).unwrap().plugins().len(), 1);

    write(&dir.path().join("n/b.conf"), "{}");
    let err = ConfList::from_file(&file).unwrap_err();
    assert_eq!(err.msg, "error parsing configuration: missing 'type'");
    assert_eq!(err.details, format!("in {}", dir.path().join("n/b.conf").display()));

    fs::remove_dir_all(dir.path().join("n")).unwrap();
    write(&dir.path().join("n"), "a file");
    let folder = dir.path().join("n").display().to_string();
    assert_eq!(
        ConfList::from_file(&file).unwrap_err().msg,
        format!("failed to read plugin config files in {folder}: open {folder}: not a directory")
    );
}

#[test]
fn a_network_is_found_by_its_name() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("00-single.conf"), r#"{"name": "n1", "type": "single"}"#);
    write(&at("20-b.conflist"), r#"{"name": "n1", "plugins": [{"type": "later"}]}"#);
    write(&at("10-a.conflist"), r#"{"name": "n1", "plugins": [{"type": "earlier"}]}"#);
    write(&at("05-other.conflist"), r#"{"name": "other", "plugins": [{"type": "x"}]}"#);
    write(&at("01-ignored.conflist.bak"), "{");
    fs::create_dir(at("02-folder.conflist")).unwrap();
    let list = ConfList::load(dir.path(), "n1").unwrap();
    assert_eq!(list.plugins()[0].plugin(), "earlier");

    symlink(at("10-a.conflist"), at("03-link.conflist")).unwrap();
    fs::rename(at("20-b.conflist"), at("01-b.conflist")).unwrap();
    assert_eq!(ConfList::load(dir.path(), "n1").unwrap().plugins()[0].plugin(), "later");
}

#[test]
fn a_single_configuration_becomes_a_list() {
    let dir = TempDir::new().unwrap();
    write(
        &dir.path().join("10.json"),
        r#"{"type": "b", "name": "n1", "mtu": 1400.0, "cniVersion": "0.4.0", "ipam": {"type": "i", "a": 1}}"#,
    );
    write(&dir.path().join(".conf"), r#"{"type": "hidden", "name": "dot"}"#);
    let list = ConfList::load(dir.path(), "n1").unwrap();
    assert_eq!((list.name(), list.version()), ("n1", "0.4.0"));
    assert_eq!(
        String::from_utf8_lossy(list.bytes()),
        concat!(
            r#"{"cniVersion":"0.4.0","name":"n1","plugins":[{"cniVersion":"0.4.0","#,
            r#""ipam":{"a":1,"type":"i"},"mtu":1400,"name":"n1","type":"b"}]}"#
        )
    );
    assert_eq!(ConfList::load(dir.path(), "dot").unwrap().plugins()[0].plugin(), "hidden");
}

#[test]
fn a_network_that_is_not_there_is_not_found_in_known_words() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().display().to_string();
    let msg = |name: &str| ConfList::load(dir.path(), name).unwrap_err().msg;
    assert_eq!(msg("n1"), format!("no net configurations found in {path}"));
    write(&dir.path().join("a.txt"), "{");
    assert_eq!(msg("n1"), format!("no net configurations found in {path}"));
    write(&dir.path().join("a.conflist"), r#"{"name": "n", "plugins": [{"type": "a"}]}"#);
    assert_eq!(msg("n1"), format!("no net configuration with name \"n1\" in {path}"));
    let absent = dir.path().join("absent");
    assert_eq!(
        ConfList::load(&absent, "n1").unwrap_err().msg,
        format!("no net configurations found in {}", absent.display())
    );
    let file = dir.path().join("a.txt");
    assert_eq!(ConfList::load(&file, "n1").unwrap_err().msg, format!("open {}: not a directory", file.display()));
}

#[test]
fn a_broken_file_ends_the_search_and_is_named() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("20-n1.conflist"), r#"{"name": "n1", "plugins": [{"type": "a"}]}"#);
    write(&at("30-broken.conflist"), "{}");
    assert!(ConfList::load(dir.path(), "n1").is_ok());
    write(&at("10-broken.conflist"), "{}");
    let err = ConfList::load(dir.path(), "n1").unwrap_err();
    assert_eq!(err.msg, "error parsing configuration list: no name");
    assert_eq!(err.details, format!("in {}", at("10-broken.conflist").display()));

    fs::remove_file(at("10-broken.conflist")).unwrap();
    symlink(at("gone"), at("10-dangling.conflist")).unwrap();
    let file = at("10-dangling.conflist").display().to_string();
    let err = ConfList::load(dir.path(), "n1").unwrap_err();
    assert_eq!(
        (err.code, err.msg),
        (Code::IO_FAILURE, format!("error reading {file}: open {file}: no such file or directory"))
    );
}
