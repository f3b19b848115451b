//! What the kubelet tells of its pods, and how it completes what cgroups and files tell.

use std::collections::{BTreeMap, HashMap, HashSet};

use pipeline::observation::{Owner, Workload};
use serde::{Deserialize, Serialize};

/// Most pods that are kept: a kubelet runs some hundred at most.
pub const CAPACITY: usize = 4096;

/// One pod, as far as it is of use here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// `k8s.pod.uid`, as in the names of its cgroups.
    pub uid: String,
    /// `k8s.pod.name`
    pub name: String,
    /// `k8s.namespace.name`
    pub namespace: String,
    /// `k8s.node.name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Those labels that the operator wants.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What made it, if that is of a kind that has a name in the conventions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Those that were started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// `container.id`
    pub id: String,
    /// `container.runtime.name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `k8s.container.name`
    pub name: String,
    /// `container.image.name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// `container.image.tags`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
}

/// What an answer of the kubelet has that the one before had not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Pods that are new or changed.
    pub pods: Vec<Pod>,
    /// Uids of pods that are there no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// The pods of this node, by uid.
#[derive(Debug, Default)]
pub struct Pods(HashMap<String, Pod>);

impl Pods {
    /// Takes over what was told. Gives the uids of the pods that are new or changed.
    pub fn learn<'a>(&mut self, told: &'a Told) -> HashSet<&'a str> {
        for uid in &told.gone {
            self.0.remove(uid);
        }
        let mut changed = HashSet::new();
        for pod in &told.pods {
            if self.0.len() < CAPACITY || self.0.contains_key(&pod.uid) {
                self.0.insert(pod.uid.clone(), pod.clone());
                changed.insert(pod.uid.as_str());
            }
        }
        changed
    }

    /// Adds to where a process runs what is known of its pod. The owner is the kubelet's word alone: a pod that nothing
    /// made may be named as if.
    pub fn complete(&self, workload: &mut Workload) {
        let Some(pod) = workload.pod_uid.as_ref().and_then(|uid| self.0.get(uid)) else { return };
        workload.pod_name = Some(pod.name.clone());
        workload.namespace = Some(pod.namespace.clone());
        workload.node.clone_from(&pod.node);
        workload.labels.clone_from(&pod.labels);
        workload.owner.clone_from(&pod.owner);
        let id = workload.container_id.as_deref();
        let Some(container) = pod.containers.iter().find(|container| Some(container.id.as_str()) == id) else { return };
        // What the runtime wrote down is as good, and was told before.
        let fill = |known: &mut Option<String>, told: &Option<String>| {
            if known.is_none() {
                known.clone_from(told);
            }
        };
        workload.pod_container = Some(container.name.clone());
        fill(&mut workload.runtime, &container.runtime);
        if workload.image_name.is_none() {
            workload.image_name.clone_from(&container.image_name);
            workload.image_tag.clone_from(&container.image_tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, team: &str) -> Pod {
        Pod {
            uid: uid.into(),
            name: "agent-7f9c6d5b8d-x2x4z".into(),
            namespace: "agents".into(),
            node: Some("node-1".into()),
            labels: BTreeMap::from([("team".into(), team.into())]),
            owner: Some(Owner::ReplicaSet { name: "agent-7f9c6d5b8d".into() }),
            containers: vec![Container {
                id: "c".into(),
                runtime: Some("containerd".into()),
                name: "main".into(),
                image_name: Some("registry.example/agent".into()),
                image_tag: Some("1.2".into()),
            }],
        }
    }

    #[test]
    fn a_workload_is_completed_by_its_pod_and_container() {
        let mut pods = Pods::default();
        let told = Told { pods: vec![pod("u", "core")], gone: Vec::new() };
        assert_eq!(pods.learn(&told), HashSet::from(["u"]));
        let path = |container: &str| Workload {
            pod_uid: Some("u".into()),
            container_id: Some(container.into()),
            // Guessed by the name.
            owner: Some(Owner::Deployment { name: "agent".into(), replica_set: "agent-7f9c6d5b8d".into() }),
            ..Workload::default()
        };
        let mut main = path("c");
        pods.complete(&mut main);
        assert_eq!(main.owner, Some(Owner::ReplicaSet { name: "agent-7f9c6d5b8d".into() }));
        assert_eq!((main.pod_container.as_deref(), main.runtime.as_deref()), (Some("main"), Some("containerd")));
        assert_eq!((main.image_tag.as_deref(), main.node.as_deref()), (Some("1.2"), Some("node-1")));
        assert_eq!(main.labels["team"], "core");
        let mut other = path("another");
        pods.complete(&mut other);
        assert_eq!((other.pod_name.as_deref(), other.pod_container), (Some("agent-7f9c6d5b8d-x2x4z"), None));

        // What the runtime told stays; a label that changed does not.
        let mut known = Workload { image_name: Some("agent".into()), ..main };
        pods.learn(&Told { pods: vec![pod("u", "edge")], gone: Vec::new() });
        pods.complete(&mut known);
        assert_eq!((known.image_name.as_deref(), known.labels["team"].as_str()), (Some("agent"), "edge"));
        pods.learn(&Told { pods: Vec::new(), gone: vec!["u".into()] });
        let mut late = path("c");
        pods.complete(&mut late);
        assert_eq!(late, path("c"));
    }

    #[test]
    fn no_more_is_kept_than_a_node_can_have() {
        let mut pods = Pods::default();
        let all = (0..CAPACITY + 5).map(|number| pod(&number.to_string(), "t")).collect();
        assert_eq!(pods.learn(&Told { pods: all, gone: Vec::new() }).len(), CAPACITY);
        assert_eq!(pods.learn(&Told { pods: vec![pod("7", "t")], gone: Vec::new() }).len(), 1);
    }
}
