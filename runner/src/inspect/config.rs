//! `Config`: what was asked for that would hold on any host.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::spec::{Domain, Hostname, Rootfs, Source, Spec, Stdin};

use super::{or_null, set};

pub(super) fn describe(spec: &Spec) -> Json {
    let process = &spec.process;
    // Root needs no word.
    let user = match process.user.to_string() {
        user if user == "0" => String::new(),
        user => user,
    };
    let hostname = spec.net.hostname.as_ref().map_or(spec.id.short(), Hostname::as_str);
    let volumes: Vec<_> = spec
        .root
        .mounts
        .iter()
        .filter(|mount| matches!(mount.source, Source::Volume { anonymous: true, .. }))
        .map(|m| m.target.display().to_string())
        .collect();
    let exposed: Vec<_> = spec.net.exposed.iter().map(ToString::to_string).collect();
    let mut config = json!({
        "Hostname": hostname,
        "Domainname": spec.net.domainname.as_ref().map_or("", Domain::as_str),
        "User": user,
        "AttachStdin": spec.io.attach.stdin,
        "AttachStdout": spec.io.attach.stdout,
        "AttachStderr": spec.io.attach.stderr,
        "ExposedPorts": if exposed.is_empty() { Json::Null } else { set(exposed) },
        "Tty": spec.io.tty,
        "OpenStdin": spec.io.stdin != Stdin::Closed,
        "StdinOnce": spec.io.stdin == Stdin::Once,
        "Env": process.env,
        "Cmd": or_null(process.argv.iter().map(String::as_str)),
        "Image": match &spec.root.rootfs {
            Rootfs::Image { name, .. } => name.clone(),
            other => other.to_string(),
        },
        "Volumes": if volumes.is_empty() { Json::Null } else { set(volumes) },
        "WorkingDir": process.workdir,
        "Entrypoint": Json::Null,
        "OnBuild": Json::Null,
        "Labels": spec.life.labels,
        "StopSignal": spec.life.stop_signal.to_string(),
        "StopTimeout": spec.life.stop_timeout,
    });
    if let Some(health) = &spec.life.health {
        config["Healthcheck"] = json!({
            "Test": health.test,
            "Interval": nanoseconds(health.interval),
            "Timeout": nanoseconds(health.timeout),
            "StartPeriod": nanoseconds(health.start_period),
            "StartInterval": nanoseconds(health.start_interval),
            "Retries": health.retries,
        });
    }
    config
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
