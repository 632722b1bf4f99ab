//! What containers use is told, and what they may use can be changed.

mod sandbox;

use sandbox::Sandbox;

/// A container without a network, by its id.
fn start(sandbox: &Sandbox, options: &[&str], script: &str) -> String {
    sandbox.detach(&[&["--net=none"], options].concat(), &["sh", "-c", script])
}

/// Requirement: S0-C1, F-stats, S0-T2.
#[test]
fn what_a_container_uses_is_told() {
    let sandbox = Sandbox::new();
    let id = start(&sandbox, &["--memory=64m", "--pids-limit=20"], "while :; do :; done");
    let ended = sandbox.xnet(&["stats", "--no-stream", "--format", "json", &id]);
    let row: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert_eq!(row["Memory"]["Limit"], 64 << 20, "{row}");
    assert_eq!(row["Pids"]["Limit"], 20, "{row}");
    assert!(row["Memory"]["Usage"].as_u64().unwrap() > 0 && row["Cpu"]["Total"].as_u64().unwrap() > 0, "{row}");
    let share: f64 = row["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!(share > 1.0 && share < 250.0, "{row}");
    let table = sandbox.xnet(&["stats", "--no-stream"]);
    assert!(table.stdout.starts_with("CONTAINER ID   NAME") && table.stdout.contains(&id[..12]), "{table:?}");
    sandbox.xnet(&["rm", "-f", &id]);
    sandbox.assert_clean();
}

/// Requirement: S0-C3.
#[test]
fn limits_of_a_running_container_change() {
    let sandbox = Sandbox::new();
    let id = start(&sandbox, &["--memory=64m"], "sleep 1000");
    let limit = || {
        let ended = sandbox.xnet(&["stats", "--no-stream", "--format", "{{.Memory.Limit}} {{.Pids.Limit}}", &id]);
        ended.stdout.trim().to_owned()
    };
    assert_eq!(limit(), "67108864 <no value>");
    // Up and down: memory and memory with swap must not pass each other on the way.
    sandbox.xnet(&["update", "--memory=128m", "--pids-limit=5", "--cpus=0.5", &id]).expect(0, &id);
    assert_eq!(limit(), "134217728 5");
    sandbox.xnet(&["update", "--memory=32m", &id]).expect(0, &id);
    assert_eq!(limit(), "33554432 5");
    let places = sandbox.xnet(&["cgroup", &id]).stdout;
    assert!(places.contains("50000"), "{places}");
    sandbox.xnet(&["update", &id]).expect_refusal(1, "nothing to change");
    sandbox.xnet(&["update", "--memory-swap=16m", &id]);
    assert_eq!(limit(), "33554432 5");
    sandbox.xnet(&["rm", "-f", &id]);
    sandbox.assert_clean();
}

/// Requirement: S1-C1.
#[test]
fn a_container_has_a_place_in_every_hierarchy() {
    let sandbox = Sandbox::new();
    let id = start(&sandbox, &[], "sleep 1000");
    let ended = sandbox.xnet(&["cgroup", "--json", &id[..12]]);
    let places: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(places.as_array().unwrap().len(), own.lines().count(), "{places}");
    let pid = places.as_array().unwrap().iter().find_map(|place| {
        let procs = format!("{}/cgroup.procs", place["Path"].as_str().unwrap());
        std::fs::read_to_string(procs).ok()?.lines().next().map(str::to_owned)
    });
    let theirs = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.unwrap())).unwrap();
    assert!(theirs.lines().all(|line| line.ends_with(&format!("/{}/{id}", sandbox.cgroup()))), "{theirs}");
    sandbox.xnet(&["rm", "-f", &id]);
    sandbox.assert_clean();
}

/// Requirement: S1-C2, F-features.
#[test]
fn the_host_is_told() {
    let sandbox = Sandbox::new();
    let ended = sandbox.xnet(&["info", "--format", "json"]);
    let info: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let table = std::fs::read_to_string("/proc/cgroups").unwrap();
    let known = table.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(info["Controllers"].as_array().unwrap().len(), known, "{info}");
    let memory = info["Controllers"].as_array().unwrap().iter().find(|c| c["Name"] == "memory").unwrap();
    assert!(["v1", "v2"].contains(&memory["State"].as_str().unwrap()), "{memory}");
    assert!(!info["UnavailableOptions"].as_array().unwrap().contains(&"--memory".into()), "{info}");
    assert_eq!((&info["Containers"], &info["Features"]["overlay"]), (&0.into(), &true.into()), "{info}");
    sandbox.assert_clean();
}
