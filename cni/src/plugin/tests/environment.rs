use super::*;

/// Which verb requires what, in the order in which it is reported.
const REQUIRED: [(&str, &[&str]); 5] = [
    ("ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    ("CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
    ("GC", &["CNI_PATH"]),
    ("STATUS", &["CNI_PATH"]),
];

const OTHERS: [&str; 5] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];

#[test]
fn every_combination_of_missing_variables() {
    for (verb, required) in REQUIRED {
        for set in 0..1 << OTHERS.len() {
            let is_set =
                |name: &str| OTHERS.iter().position(|other| *other == name).is_none_or(|bit| set >> bit & 1 == 1);
            for empty_instead in [false, true] {
                let missing: Vec<&str> = required.iter().copied().filter(|name| !is_set(name)).collect();
                let mut env: Vec<_> = env(verb).into_iter().filter(|(name, _)| is_set(name)).collect();
                if empty_instead {
                    env.extend(OTHERS.iter().filter(|name| !is_set(name)).map(|name| (*name, "")));
                }
                check_one(&env, &missing);
            }
        }
    }
}

fn check_one(env: &[(&str, &str)], missing: &[&str]) {
    let plugin = Fake::default();
    let seen = call_json(&plugin, env, &config());
    if missing.is_empty() {
        assert_eq!(seen.status, 0, "{env:?}: {seen:?}");
        return;
    }
    let msg = format!("required env variables [{}] missing", missing.join(","));
    assert_eq!(seen.error(), Error::new(Code(4), msg), "{env:?}");
    assert!(plugin.calls.borrow().is_empty());
}

#[test]
fn an_invalid_variable_counts_before_missing_ones() {
    let seen = call_json(&Fake::default(), &[("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "../x")], &config());
    assert_eq!(seen.error(), Error::new(Code(4), "invalid characters in containerID").with_details("../x"));
}

#[test]
fn the_first_of_two_invalid_variables_counts() {
    let mut env = with("DEL", "CNI_CONTAINERID", "a/b");
    env.retain(|(name, _)| *name != "CNI_IFNAME");
    env.push(("CNI_IFNAME", "a/b"));
    assert_eq!(call_json(&Fake::default(), &env, &config()).error().msg, "invalid characters in containerID");
}

#[test]
fn interface_names_are_checked() {
    for (ifname, msg) in [
        ("sixteen-bytes-xx", "interface name is too long"),
        ("..", "interface name is . or .."),
        ("a/b", "interface name contains / or : or whitespace characters"),
    ] {
        for verb in ["ADD", "DEL", "CHECK"] {
            let plugin = Fake::default();
            let error = call_json(&plugin, &with(verb, "CNI_IFNAME", ifname), &config()).error();
            assert_eq!((error.code, error.msg.as_str()), (Code(4), msg));
            assert!(plugin.calls.borrow().is_empty());
        }
    }
}

#[test]
fn what_a_verb_does_not_need_is_not_checked() {
    for verb in ["GC", "STATUS"] {
        let mut env = with(verb, "CNI_CONTAINERID", "../x");
        env.push(("CNI_IFNAME", "a/b"));
        assert_eq!(call_json(&Fake::default(), &env, &config()).status, 0);
    }
}

#[test]
fn of_repeated_variables_the_first_counts() {
    let plugin = Fake::default();
    let mut env = env("DEL");
    env.extend([("CNI_CONTAINERID", "other"), ("CNI_COMMAND", "ADD")]);
    assert_eq!(call_json(&plugin, &env, &config()).status, 0);
    assert_eq!(*plugin.calls.borrow(), ["DEL cid1 eth0"]);
}

#[test]
fn bytes_that_are_no_text() {
    use std::os::unix::ffi::OsStringExt as _;

    for (name, expected) in [
        ("CNI_CONTAINERID", "invalid characters in containerID"),
        ("CNI_NETNS", "CNI_NETNS is not valid UTF-8"),
        ("CNI_IFNAME", "CNI_IFNAME is not valid UTF-8"),
        ("CNI_ARGS", "CNI_ARGS is not valid UTF-8"),
    ] {
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        env.push((name.into(), OsString::from_vec(vec![b'a', 0xff])));
        env.extend(without(super::env("ADD"), name).iter().map(|(name, value)| (name.into(), value.into())));
        let mut stdout = Vec::new();
        let stdin = config().to_string();
        let world = World {
            env,
            stdin: Box::new(stdin.as_bytes()),
            stdout: Some(Box::new(&mut stdout)),
            stderr: Stderr::buffered().0,
        };
        assert_eq!(run(&Fake::default(), world), 1);
        let document: Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!((&document["code"], &document["msg"]), (&json!(4), &json!(expected)));
    }
}

#[test]
fn a_person_is_told_what_this_is() {
    for env in [vec![], vec![("CNI_COMMAND", "")], without(env("ADD"), "CNI_COMMAND")] {
        let seen = call(&Fake::default(), &env, b"nothing to read");
        assert_eq!((seen.status, seen.stdout.as_str()), (0, ""));
        let version = env!("CARGO_PKG_VERSION");
        let supported = "0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0";
        let expected = format!("CNI fake plugin v{version}\nCNI protocol versions supported: {supported}\n");
        assert_eq!(seen.stderr, expected);
    }
}
