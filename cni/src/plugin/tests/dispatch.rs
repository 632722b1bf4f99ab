use super::*;

const SAME_NETNS: &str = "plugin's netns and netns from CNI_NETNS should not be the same";

#[test]
fn each_verb_reaches_its_method() {
    for (verb, expected) in [
        ("ADD", "ADD cid1 eth0 /nonexistent/netns A=B"),
        ("DEL", "DEL cid1 eth0"),
        ("CHECK", "CHECK"),
        ("GC", "GC false "),
        ("STATUS", "STATUS"),
    ] {
        let plugin = Fake::default();
        let seen = call_json(&plugin, &env(verb), &config());
        assert_eq!(seen.status, 0, "{seen:?}");
        assert_eq!(*plugin.calls.borrow(), [expected]);
    }
}

#[test]
fn the_result_is_printed_in_the_configurations_version() {
    let plugin = Fake { result: one_address(), ..Fake::default() };
    let seen = call_json(&plugin, &env("ADD"), &json!({"cniVersion": "0.3.1", "name": "n1"}));
    assert_eq!(seen.stdout, one_address().to_json(Version::V0_3_1).unwrap());
}

#[test]
fn errors_of_the_plugin_pass_as_they_are() {
    let failure = Error::new(Code(102), "port taken").with_details("by x");
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let plugin = Fake { failure: Some(failure.clone()), ..Fake::default() };
        let seen = call_json(&plugin, &env(verb), &config());
        assert_eq!(seen, Seen { status: 1, stdout: failure.to_json(), stderr: seen.stderr.clone() });
        assert_eq!(plugin.calls.borrow().len(), 1, "a failed {verb} is the plugin's to undo");
    }
}

#[test]
fn bad_documents_never_reach_the_plugin() {
    let name = "error unmarshall network config: name: invalid type: integer `5`, expected a string";
    let cases: [(&[u8], u32, &str); 9] = [
        (b"", 6, "error unmarshall network config: unexpected end of JSON input"),
        (b"hello", 6, "error unmarshall network config: expected value at line 1 column 1"),
        (b"[]", 6, "error unmarshall network config: invalid type: sequence, expected an object"),
        (b"\"x\"", 6, "error unmarshall network config: invalid type: string \"x\", expected an object"),
        (b"{\"name\": 5}", 6, name),
        (b"{}", 7, "missing network name"),
        (b"null", 7, "missing network name"),
        (b"{\"name\": \"\"}", 7, "missing network name"),
        (b"{\"Name\": \"../x\"}", 7, "invalid characters found in network name"),
    ];
    for (stdin, code, msg) in cases {
        for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS", "NONSENSE"] {
            let plugin = Fake::default();
            let error = call(&plugin, &env(verb), stdin).error();
            assert_eq!((error.code, error.msg.as_str()), (Code(code), msg), "{verb}");
            assert!(plugin.calls.borrow().is_empty());
        }
    }
}

#[test]
fn deep_documents_never_reach_the_plugin() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    for key in ["unknown", "prevResult"] {
        let plugin = Fake::default();
        let stdin = format!(r#"{{"cniVersion": "1.1.0", "name": "n1", "{key}": {deep}}}"#);
        let error = call(&plugin, &env("ADD"), stdin.as_bytes()).error();
        assert_eq!(error.code, Code(6));
        assert!(error.msg.starts_with("error unmarshall network config: recursion limit exceeded"), "{error}");
        assert!(plugin.calls.borrow().is_empty());
    }
}

#[test]
fn large_documents_are_served() {
    let padding: Vec<String> = (0..100_000).map(|number| format!("{number:0>100}")).collect();
    let mut config = config();
    config["padding"] = json!(padding);
    assert!(config.to_string().len() > 10_000_000);
    assert_eq!(call_json(&Fake::default(), &env("DEL"), &config).status, 0);
}

#[test]
fn an_unknown_verb() {
    for verb in ["FOO", "add", "UPDATE"] {
        let error = call_json(&Fake::default(), &[("CNI_COMMAND", verb)], &config()).error();
        assert_eq!(error, Error::new(Code(4), format!("unknown CNI_COMMAND: {verb}")));
    }
}

#[test]
fn an_unreadable_stdin() {
    struct Unreadable;
    impl io::Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad file descriptor"))
        }
    }
    let mut stdout = Vec::new();
    let env = env("ADD").iter().map(|(name, value)| (name.into(), value.into())).collect();
    let stderr = Stderr::buffered().0;
    let world = World { env, stdin: Box::new(Unreadable), stdout: Some(Box::new(&mut stdout)), stderr };
    assert_eq!(run(&Fake::default(), world), 1);
    let document: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(document, json!({"code": 5, "msg": "error reading from stdin: bad file descriptor"}));
}

#[test]
fn the_own_namespace_is_refused_before_anything_happens() {
    for verb in ["ADD", "DEL"] {
        let plugin = Fake::default();
        let seen = call_json(&plugin, &with(verb, "CNI_NETNS", "/proc/self/ns/net"), &config());
        assert_eq!(seen.error(), Error::new(Code(8), SAME_NETNS));
        assert!(plugin.calls.borrow().is_empty());
    }
    let seen = call_json(&Fake::default(), &with("CHECK", "CNI_NETNS", "/proc/self/ns/net"), &config());
    assert_eq!(seen.status, 0, "CHECK changes nothing");
}

#[test]
fn the_guard_can_be_overridden() {
    for (value, status) in [("1", 0), ("TRUE", 0), ("true", 0), ("True", 0), ("yes", 1), ("0", 1), ("", 1)] {
        for verb in ["ADD", "DEL"] {
            let mut env = with(verb, "CNI_NETNS", "/proc/self/ns/net");
            env.push(("CNI_NETNS_OVERRIDE", value));
            assert_eq!(call_json(&Fake::default(), &env, &config()).status, status, "{value}");
        }
    }
}

#[test]
fn del_does_without_a_namespace() {
    let plugin = Fake::default();
    assert_eq!(call_json(&plugin, &without(env("DEL"), "CNI_NETNS"), &config()).status, 0);
    assert_eq!(*plugin.calls.borrow(), ["DEL cid1 eth0"]);
}

#[test]
fn a_result_that_can_not_be_converted_is_undone() {
    let plugin = Fake::default();
    let seen = call_json(&plugin, &env("ADD"), &json!({"cniVersion": "0.2.0", "name": "n1"}));
    assert_eq!(seen.error(), Error::new(Code(999), "cannot convert: no valid IP addresses"));
    assert_eq!(*plugin.calls.borrow(), ["ADD cid1 eth0 /nonexistent/netns A=B", "DEL cid1 eth0"]);
    assert_eq!(seen.stderr, "");
}

#[test]
fn a_result_that_nobody_reads_is_undone() {
    let plugin = Fake { del_failure: Some(Error::internal("busy")), ..Fake::default() };
    let stdin = config().to_string();
    let (status, stderr) = call_with(&plugin, &env("ADD"), stdin.as_bytes(), Some(Box::new(Broken)));
    assert_eq!(status, 1);
    assert_eq!(plugin.calls.borrow().len(), 2);
    insta::assert_snapshot!(stderr, @r#"
    cannot undo the ADD whose result could not be given: busy
    {
        "code": 5,
        "msg": "error writing to stdout: broken pipe"
    }
    "#);
}

#[test]
fn add_without_a_stdout_is_not_begun() {
    let plugin = Fake::default();
    let (status, stderr) = call_with(&plugin, &env("ADD"), config().to_string().as_bytes(), None);
    assert_eq!(status, 1);
    assert!(plugin.calls.borrow().is_empty());
    insta::assert_snapshot!(stderr, @r#"
    {
        "code": 5,
        "msg": "error writing to stdout: bad file descriptor"
    }
    "#);
}

#[test]
fn other_verbs_need_no_stdout() {
    for verb in ["DEL", "CHECK", "GC", "STATUS", "VERSION"] {
        let (status, _) = call_with(&Fake::default(), &env(verb), config().to_string().as_bytes(), None);
        assert_eq!(status, 0, "{verb}");
    }
    let plugin = Fake { failure: Some(Error::internal("busy")), ..Fake::default() };
    let (status, stderr) = call_with(&plugin, &env("DEL"), config().to_string().as_bytes(), None);
    assert_eq!((status, stderr), (1, "{\n    \"code\": 999,\n    \"msg\": \"busy\"\n}\n".to_owned()));
}
