//! `HostConfig`: what was asked for of this host.

use serde_json::{Map, Value as Json, json};

use crate::id::Name;
use crate::spec::{
    CapabilitySet, Device, HostPort, Log, NamespaceMode, Seccomp, Security, Spec, ThrottleKind, Total, default_set,
};

use super::{Subject, or_null};

pub(super) fn describe(subject: &Subject<'_>) -> Json {
    let spec = subject.spec();
    let mut all = life(spec);
    for part in [names(spec), isolation(spec), cpu_and_io(spec), memory_and_rest(spec)] {
        all.extend(part);
    }
    Json::Object(all)
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}

fn life(spec: &Spec) -> Map<String, Json> {
    let (policy, most) = spec.life.restart.parts();
    let bindings = spec.net.publish.iter().fold(Map::new(), |mut all, publish| {
        let key = format!("{}/{}", publish.container_port, publish.protocol);
        let host_ip = publish.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        let entry = json!({"HostIp": host_ip, "HostPort": host_port(publish.host_port)});
        match all.get_mut(&key) {
            Some(Json::Array(entries)) => entries.push(entry),
            _ => drop(all.insert(key, json!([entry]))),
        }
        all
    });
    object(json!({
        "Binds": or_null(spec.root.mounts.iter().filter_map(super::mounts::bind)),
        "ContainerIDFile": spec.life.cidfile.as_deref().map(super::text).unwrap_or_default(),
        "LogConfig": log(&spec.io.log),
        "NetworkMode": spec.net.mode.to_string(),
        "PortBindings": bindings,
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": most},
        "AutoRemove": spec.life.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": Json::Null,
    }))
}

fn names(spec: &Spec) -> Map<String, Json> {
    let dns = &spec.net.dns;
    let bounding = spec.process.capabilities.bounding;
    let addresses: Vec<_> = dns.servers.iter().map(ToString::to_string).collect();
    object(json!({
        "CapAdd": names_of(bounding, default_set(true)),
        "CapDrop": names_of(default_set(true), bounding),
        "Dns": addresses,
        "DnsOptions": dns.options,
        "DnsSearch": dns.search,
        "ExtraHosts": or_null(spec.net.extra_hosts.iter().map(ToString::to_string)),
        "GroupAdd": or_null(spec.process.groups.iter().map(ToString::to_string)),
    }))
}

fn log(log: &Log) -> Json {
    json!({"Type": log.driver.as_str(), "Config": log.options()})
}

/// The capabilities of one set that the other has not.
fn names_of(set: CapabilitySet, other: CapabilitySet) -> Json {
    or_null(set.iter().filter(|capability| !other.has(*capability)).map(|capability| capability.to_string()))
}

/// Empty for any that is free; a range as it was given.
fn host_port(port: HostPort) -> String {
    match port {
        HostPort::Any => String::new(),
        HostPort::OneOf(first, last) => format!("{first}-{last}"),
        HostPort::Exactly(port) => port.to_string(),
    }
}

fn isolation(spec: &Spec) -> Map<String, Json> {
    // Private needs no word where it has always been so.
    let mode = |mode: &NamespaceMode| if *mode == NamespaceMode::Private { String::new() } else { mode.to_string() };
    object(json!({
        "IpcMode": spec.namespaces.ipc.to_string(),
        "Cgroup": "",
        "CgroupnsMode": spec.namespaces.cgroup.to_string(),
        "Links": Json::Null,
        "OomScoreAdj": spec.process.oom_score_adj.unwrap_or_default(),
        "PidMode": mode(&spec.namespaces.pid),
        "Privileged": spec.process.privileged,
        "PublishAllPorts": spec.net.publish_all,
        "ReadonlyRootfs": spec.root.readonly,
        "SecurityOpt": security(spec),
        "StorageOpt": Json::Null,
        "UTSMode": mode(&spec.namespaces.uts),
        "UsernsMode": users(spec),
        "ShmSize": spec.root.shm_bytes,
        "Sysctls": spec.security.sysctls.iter().map(|s| (s.name().to_owned(), s.value().into())).collect::<Map<_, _>>(),
        "Runtime": "xnet",
        "ConsoleSize": spec.io.size.map_or([0, 0], |size| [size.rows, size.cols]),
        "Isolation": "",
    }))
}

/// The host's own ids need no word. Others are told as they are mapped, which is more than the word by which they were asked for:
/// `UID:GID:SIZE`, or `private` for a mapping of several parts.
fn users(spec: &Spec) -> String {
    let Some(users) = &spec.namespaces.user else { return String::new() };
    match (users.uids.as_slice(), users.gids.as_slice()) {
        ([uids], [gids]) if uids.count == gids.count => format!("{}:{}:{}", uids.outside, gids.outside, uids.count),
        _ => "private".to_owned(),
    }
}

fn security(spec: &Spec) -> Json {
    let Security { seccomp, .. } = &spec.security;
    let mut words = Vec::new();
    if !spec.process.no_new_privileges {
        words.push("no-new-privileges=false");
    }
    if *seccomp == Seccomp::Unconfined {
        words.push("seccomp=unconfined");
    }
    if spec.security.masked.is_empty() && !spec.process.privileged {
        words.push("systempaths=unconfined");
    }
    or_null(words)
}

fn cpu_and_io(spec: &Spec) -> Map<String, Json> {
    let limits = &spec.limits;
    let throttles = |kind: ThrottleKind| {
        or_null(
            limits
                .throttles
                .iter()
                .filter(|t| t.kind == kind)
                .map(|t| json!({"Path": path(&t.device), "Rate": t.rate})),
        )
    };
    object(json!({
        "CpuShares": limits.cpu_shares.unwrap_or_default(),
        "Memory": limits.memory.unwrap_or_default(),
        "NanoCpus": limits.millicpus.unwrap_or_default() * 1_000_000,
        "CgroupParent": spec.cgroup_parent.as_ref().map_or("", Name::as_str),
        "BlkioWeight": limits.blkio_weight.unwrap_or_default(),
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": throttles(ThrottleKind::ReadBps),
        "BlkioDeviceWriteBps": throttles(ThrottleKind::WriteBps),
        "BlkioDeviceReadIOps": throttles(ThrottleKind::ReadIops),
        "BlkioDeviceWriteIOps": throttles(ThrottleKind::WriteIops),
        "CpuPeriod": limits.cpu_period.unwrap_or_default(),
        "CpuQuota": limits.cpu_quota.unwrap_or_default(),
        "CpusetCpus": limits.cpuset_cpus.clone().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.clone().unwrap_or_default(),
    }))
}

fn path(device: &Device) -> String {
    device.to_string()
}

fn memory_and_rest(spec: &Spec) -> Map<String, Json> {
    let limits = &spec.limits;
    let swap = match limits.memory_swap {
        Some(Total::Unlimited) => -1,
        Some(Total::Bytes(bytes)) => i64::try_from(bytes).unwrap_or(i64::MAX),
        None => limits.memory.map_or(0, |memory| i64::try_from(memory.saturating_mul(2)).unwrap_or(i64::MAX)),
    };
    let device = |d: &crate::spec::HostDevice| json!({"PathOnHost": d.host, "PathInContainer": d.inside, "CgroupPermissions": d.access});
    let rlimit = |limit: &crate::spec::Rlimit| {
        let number = |n: u64| i64::try_from(n).unwrap_or(-1);
        json!({"Name": limit.name(), "Hard": number(limit.hard), "Soft": number(limit.soft)})
    };
    object(json!({
        "Devices": spec.root.devices.iter().map(device).collect::<Vec<_>>(),
        "DeviceCgroupRules": or_null(limits.devices.iter().map(ToString::to_string)),
        "DiskQuota": 0,
        "KernelMemory": 0,
        "MemoryReservation": limits.memory_reservation.unwrap_or_default(),
        "MemorySwap": swap,
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids.unwrap_or_default(),
        "Ulimits": or_null(spec.process.rlimits.iter().map(rlimit)),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "MaskedPaths": or_null(spec.security.masked.iter().map(|path| super::text(path))),
        "ReadonlyPaths": or_null(spec.security.read_only.iter().map(|path| super::text(path))),
        "Init": spec.process.init,
    }))
}
