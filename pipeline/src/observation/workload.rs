//! Where a process runs: its container, its pod, its systemd unit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What surrounds a process, as far as cgroup paths and the files of the container runtimes tell, and the kubelet, where
/// the operator wants it asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// `container.id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// `container.runtime.name`: docker, containerd, cri-o, podman.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `container.name`, as the runtime calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// `container.image.name`, without tag and digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// `container.image.tags`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
    /// `k8s.pod.uid`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// `k8s.pod.name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// `k8s.namespace.name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `k8s.container.name`: the name in the pod's specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_container: Option<String>,
    /// What made the pod, where the kubelet or its name tells for sure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// `k8s.node.name`, as the kubelet tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `k8s.pod.label.<key>`: those that the operator wants, as the kubelet tells them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `onlooker.systemd.unit`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// What made a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// `k8s.deployment.name` and `k8s.replicaset.name`.
    Deployment {
        /// The deployment.
        name: String,
        /// Its replica set.
        replica_set: String,
    },
    /// `k8s.cronjob.name` and `k8s.job.name`.
    CronJob {
        /// The cron job.
        name: String,
        /// The job that it made.
        job: String,
    },
    /// `k8s.replicaset.name`: one that no deployment made.
    ReplicaSet {
        /// The replica set.
        name: String,
    },
    /// `k8s.statefulset.name`.
    StatefulSet {
        /// The stateful set.
        name: String,
    },
    /// `k8s.daemonset.name`.
    DaemonSet {
        /// The daemon set.
        name: String,
    },
    /// `k8s.job.name`: one that no cron job made.
    Job {
        /// The job.
        name: String,
    },
}
