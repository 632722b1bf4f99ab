use super::*;

/// A plugin that speaks some versions only.
struct Recent;

impl Plugin for Recent {
    const NAME: &'static str = "recent";
    const VERSIONS: &'static [Version] = &[Version::V0_4_0, Version::V1_0_0];

    fn add(&self, _: &Call, _: &Attachment) -> Result<AddResult, Error> {
        Ok(AddResult::default())
    }

    fn del(&self, _: &Call, _: &Attachment) -> Result<(), Error> {
        Ok(())
    }

    fn check(&self, _: &Call, _: &Attachment) -> Result<(), Error> {
        Ok(())
    }

    fn gc(&self, _: &Call, _: &ValidAttachments) -> Result<(), Error> {
        Ok(())
    }

    fn status(&self, _: &Call) -> Result<(), Error> {
        Ok(())
    }
}

fn error<P: Plugin>(plugin: &P, verb: &str, version: &str) -> Error {
    call_json(plugin, &env(verb), &json!({"cniVersion": version, "name": "n1"})).error()
}

#[test]
fn version_lists_what_is_supported() {
    let listed = r#"["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]"#;
    let expected = format!("{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":{listed}}}\n");
    let seen = call(&Fake::default(), &[("CNI_COMMAND", "VERSION")], b"nothing to read");
    assert_eq!(seen, Seen { status: 0, stdout: expected, stderr: String::new() });
    let seen = call(&Recent, &[("CNI_COMMAND", "VERSION")], b"");
    assert_eq!(seen.stdout, "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.4.0\",\"1.0.0\"]}\n");
}

#[test]
fn every_supported_version_is_accepted_exactly() {
    for version in Version::ALL {
        let plugin = Fake { result: one_address(), ..Fake::default() };
        let config = json!({"cniVersion": version, "name": "n1"});
        assert_eq!(call_json(&plugin, &env("ADD"), &config).status, 0, "{version}");
    }
    for version in ["1.1", "1.1.0.0", "v1.1.0", "9.1.0", "x", " 1.1.0"] {
        for verb in ["ADD", "DEL"] {
            let plugin = Fake::default();
            let supported = r#"["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#;
            let details = format!("config is \"{version}\", plugin supports {supported}");
            let expected = Error::new(Code(1), "incompatible CNI versions").with_details(details);
            assert_eq!(error(&plugin, verb, version), expected);
            assert!(plugin.calls.borrow().is_empty());
        }
    }
}

#[test]
fn no_version_is_the_oldest() {
    for config in
        [json!({"name": "n1"}), json!({"name": "n1", "cniVersion": ""}), json!({"name": "n1", "cniVersion": null})]
    {
        let seen = call_json(&Fake { result: one_address(), ..Fake::default() }, &env("ADD"), &config);
        let document: Value = serde_json::from_str(&seen.stdout).unwrap();
        assert_eq!(document, json!({"cniVersion": "0.1.0", "ip4": {"ip": "10.0.0.2/24"}, "dns": {}}));
        let seen = call_json(&Recent, &env("ADD"), &config);
        assert_eq!(seen.error().details, r#"config is "0.1.0", plugin supports ["0.4.0" "1.0.0"]"#);
    }
}

#[test]
fn verbs_have_minimum_versions() {
    for (verb, minimum) in [("CHECK", Version::V0_4_0), ("GC", Version::V1_1_0), ("STATUS", Version::V1_1_0)] {
        for version in Version::ALL {
            let plugin = Fake::default();
            let seen = call_json(&plugin, &env(verb), &json!({"cniVersion": version, "name": "n1"}));
            if *version < minimum {
                let expected = Error::new(Code(1), format!("config version does not allow {verb}"));
                assert_eq!(seen.error(), expected, "{version}");
            } else {
                assert_eq!((seen.status, seen.stdout.as_str()), (0, ""), "{verb} {version}");
            }
            assert_eq!(plugin.calls.borrow().len(), usize::from(*version >= minimum));
        }
    }
}

#[test]
fn the_minimum_counts_before_the_exact_version() {
    for (verb, version, msg) in [
        ("CHECK", "1.1.0", "plugin version does not allow CHECK"),
        ("GC", "1.1.0", "plugin version does not allow GC"),
        ("STATUS", "2", "plugin version does not allow STATUS"),
        ("CHECK", "0.3.9", "config version does not allow CHECK"),
        ("CHECK", "", "config version does not allow CHECK"),
        ("CHECK", "0.9.0", "incompatible CNI versions"),
        ("CHECK", "1", "incompatible CNI versions"),
    ] {
        let error = error(&Recent, verb, version);
        assert_eq!((error.code, error.msg.as_str()), (Code(1), msg), "{verb} {version}");
    }
}

#[test]
fn a_version_that_is_no_number() {
    let msg = r#"failed to convert major version part "x": strconv.Atoi: parsing "x": invalid syntax"#;
    for verb in ["CHECK", "GC", "STATUS"] {
        assert_eq!(error(&Fake::default(), verb, "x"), Error::new(Code(6), msg));
    }
}

#[test]
fn a_version_of_another_type() {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let seen = call_json(&Fake::default(), &env(verb), &json!({"cniVersion": 1, "name": "n1"}));
        let msg = "decoding version from network config: cniVersion: invalid type: integer `1`, expected a string";
        assert_eq!(seen.error(), Error::new(Code(6), msg));
    }
}
