//! The resource of an observed process.

use opentelemetry_proto::tonic::resource::v1::Resource;
use pipeline::{
    ids,
    observation::{Owner, ProcessInfo, Workload},
    record::Value,
    semconv as name,
};

/// Identity first: `service.name`, the instance, the process; then what describes it.
pub fn resource(process: &ProcessInfo) -> Resource {
    let mut attributes = Vec::new();
    let mut set = |name: &str, value: Value| attributes.push(super::key_value(name, &value));
    let host = &process.host;
    let node = process.workload.as_ref().and_then(|workload| workload.node.as_ref());
    if process.key.tgid == 0 {
        // onlooker's own events (heartbeat, losses).
        set(name::SERVICE_NAME, "onlooker".into());
    } else {
        set(name::SERVICE_NAME, process.service_name.as_deref().unwrap_or_else(|| process.executable_name()).into());
        set(name::SERVICE_INSTANCE_ID, instance(process).into());
        set(name::PROCESS_PID, i64::from(process.key.tgid).into());
        set(name::PROCESS_CREATION_TIME, process.started.rfc3339().into());
        set(name::PROCESS_EXECUTABLE_NAME, process.executable_name().into());
        if !process.executable.is_empty() {
            set(name::PROCESS_EXECUTABLE_PATH, process.executable.as_str().into());
        }
        if let Some(user) = &process.user {
            set(name::PROCESS_OWNER, user.as_str().into());
        }
        if let Some(agent) = &process.agent {
            set(name::ONLOOKER_AGENT_KNOWN, agent.known.into());
        }
        if let Some(workload) = &process.workload {
            self::workload(&mut set, workload);
        }
    }
    for (name, value) in [
        (name::HOST_NAME, Some(&host.name)),
        (name::HOST_ID, host.id.as_ref()),
        (name::HOST_ARCH, Some(&host.arch)),
        (name::K8S_NODE_NAME, host.node.as_ref().or(node)),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            set(name, value.as_str().into());
        }
    }
    set(name::OS_TYPE, "linux".into());
    set(name::TELEMETRY_DISTRO_NAME, "onlooker".into());
    set(name::TELEMETRY_DISTRO_VERSION, env!("CARGO_PKG_VERSION").into());
    Resource { attributes, ..Default::default() }
}

/// Container, pod and unit, as far as they are known.
fn workload(set: &mut impl FnMut(&str, Value), workload: &Workload) {
    for (name, value) in [
        (name::CONTAINER_ID, &workload.container_id),
        (name::CONTAINER_NAME, &workload.container_name),
        (name::CONTAINER_RUNTIME_NAME, &workload.runtime),
        (name::CONTAINER_IMAGE_NAME, &workload.image_name),
        (name::K8S_POD_UID, &workload.pod_uid),
        (name::K8S_POD_NAME, &workload.pod_name),
        (name::K8S_NAMESPACE_NAME, &workload.namespace),
        (name::K8S_CONTAINER_NAME, &workload.pod_container),
        (name::ONLOOKER_SYSTEMD_UNIT, &workload.unit),
    ] {
        if let Some(value) = value {
            set(name, value.as_str().into());
        }
    }
    if let Some(tag) = &workload.image_tag {
        set(name::CONTAINER_IMAGE_TAGS, vec![tag.clone()].into());
    }
    for (key, value) in &workload.labels {
        set(&format!("{}.{key}", name::K8S_POD_LABEL), value.as_str().into());
    }
    let (first, second) = match &workload.owner {
        Some(Owner::Deployment { name, replica_set }) => {
            ((name::K8S_DEPLOYMENT_NAME, name), Some((name::K8S_REPLICASET_NAME, replica_set)))
        }
        Some(Owner::CronJob { name, job }) => ((name::K8S_CRONJOB_NAME, name), Some((name::K8S_JOB_NAME, job))),
        Some(Owner::ReplicaSet { name }) => ((name::K8S_REPLICASET_NAME, name), None),
        Some(Owner::StatefulSet { name }) => ((name::K8S_STATEFULSET_NAME, name), None),
        Some(Owner::DaemonSet { name }) => ((name::K8S_DAEMONSET_NAME, name), None),
        Some(Owner::Job { name }) => ((name::K8S_JOB_NAME, name), None),
        None => return,
    };
    for (name, value) in [first].into_iter().chain(second) {
        set(name, value.as_str().into());
    }
}

/// The resource of a service: metric points are not of one process.
pub fn service(process: &ProcessInfo) -> Resource {
    let mut resource = resource(&ProcessInfo { host: process.host.clone(), ..ProcessInfo::default() });
    if let Some(service) = process.service_name.as_deref()
        && let Some(attribute) = resource.attributes.first_mut()
    {
        *attribute = super::key_value(name::SERVICE_NAME, &service.into());
    }
    resource
}

/// The same for all observations of a process, also in a replay: a UUID-shaped digest of boot, pid and start.
fn instance(process: &ProcessInfo) -> String {
    let parts: [&[u8]; 4] = [
        b"service.instance",
        process.host.boot_id.as_bytes(),
        &process.key.tgid.to_be_bytes(),
        &process.key.start.to_be_bytes(),
    ];
    let hex = ids::TraceId::derive(&parts).to_string();
    // RFC 9562, version 8: custom.
    format!("{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
