//! Texts of what processes did: paths and names.

use pipeline::observation::{Action, Connection, Dns, Endpoint, File, Owner, Security, Workload};

use super::Masker;

pub fn file(file: &mut File, masker: &mut Masker) {
    masker.text(&mut file.path);
    masker.optional(&mut file.other);
    masker.optional(&mut file.sensitive);
}

pub fn workload(workload: &mut Workload, masker: &mut Masker) {
    let Workload {
        container_id,
        runtime,
        container_name,
        image_name,
        image_tag,
        pod_uid,
        pod_name,
        namespace,
        pod_container,
        owner,
        node,
        labels,
        unit,
    } = workload;
    let names = [container_id, runtime, container_name, image_name, image_tag, pod_uid, pod_name, namespace];
    for name in names.into_iter().chain([pod_container, node, unit]) {
        masker.optional(name);
    }
    for (name, value) in labels {
        masker.value(name, value);
    }
    match owner {
        Some(Owner::Deployment { name, replica_set: made } | Owner::CronJob { name, job: made }) => {
            masker.text(name);
            masker.text(made);
        }
        Some(
            Owner::ReplicaSet { name } | Owner::StatefulSet { name } | Owner::DaemonSet { name } | Owner::Job { name },
        ) => masker.text(name),
        None => {}
    }
}

pub fn security(security: &mut Security, masker: &mut Masker) {
    match &mut security.action {
        Action::Mount { source, target, kind, .. } => {
            masker.optional(source);
            masker.optional(target);
            masker.optional(kind);
        }
        Action::Unmount { target, .. } | Action::Root { target } => masker.optional(target),
        Action::Module { name, .. } | Action::Memfd { name } | Action::MemfdExec { name } => masker.optional(name),
        Action::System { name, request, .. } => {
            masker.optional(name);
            masker.optional(request);
        }
        Action::SensitiveFile { path, category } => {
            masker.text(path);
            masker.text(category);
        }
        // Numbers only.
        Action::SetUser { .. }
        | Action::SetGroup { .. }
        | Action::SetFileSystemId { .. }
        | Action::SetGroups { .. }
        | Action::Descriptor { .. }
        | Action::IoUring { .. }
        | Action::Capabilities { .. }
        | Action::Trace { .. }
        | Action::Memory { .. }
        | Action::Namespaces { .. }
        | Action::Bpf { .. }
        | Action::Bind { .. }
        | Action::Signal { .. } => {}
    }
}

pub fn connection(connection: &mut Connection, masker: &mut Masker) {
    for end in [&mut connection.local, &mut connection.peer] {
        if let Some(Endpoint::Unix(path)) = end {
            masker.text(path);
        }
    }
    masker.optional(&mut connection.name);
}

pub fn dns(dns: &mut Dns, masker: &mut Masker) {
    masker.text(&mut dns.name);
    masker.text(&mut dns.kind);
    masker.optional(&mut dns.code);
    masker.each(&mut dns.addresses);
    masker.each(&mut dns.aliases);
}
