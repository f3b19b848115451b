//! The kubelet's answer to `/pods` (k8s.io/api/core/v1, PodList): only what is of use is read, and what is odd is left out.

use std::collections::BTreeMap;

use pipeline::observation::Owner;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::targets::{
    containers::{cron_job, image},
    pods::{CAPACITY, Container, Pod},
};

/// Most containers of a pod that are kept.
const CONTAINERS: usize = 256;
/// Longest text that is kept: names are up to 253 bytes, values of labels up to 63, images up to some hundred.
const LONGEST: usize = 1024;

/// A list; `null` and one that is none are empty.
fn list<'de, T: DeserializeOwned, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    let items = Option::<Vec<Box<RawValue>>>::deserialize(input)?.unwrap_or_default();
    Ok(items.iter().filter_map(|item| serde_json::from_str(item.get()).ok()).collect())
}

#[derive(Deserialize)]
struct List {
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "ownerReferences", deserialize_with = "list")]
    owners: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    kind: String,
    name: String,
    #[serde(default)]
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "nodeName")]
    node: Option<String>,
    #[serde(deserialize_with = "list")]
    containers: Vec<Wanted>,
    #[serde(rename = "initContainers", deserialize_with = "list")]
    init: Vec<Wanted>,
    #[serde(rename = "ephemeralContainers", deserialize_with = "list")]
    ephemeral: Vec<Wanted>,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(rename = "containerStatuses", deserialize_with = "list")]
    containers: Vec<Started>,
    #[serde(rename = "initContainerStatuses", deserialize_with = "list")]
    init: Vec<Started>,
    #[serde(rename = "ephemeralContainerStatuses", deserialize_with = "list")]
    ephemeral: Vec<Started>,
}

#[derive(Deserialize)]
struct Started {
    name: String,
    #[serde(default)]
    image: Option<String>,
    /// `containerd://<id>`; empty until it is started.
    #[serde(default, rename = "containerID")]
    id: Option<String>,
}

/// The pods of an answer, with those of their labels that are wanted.
///
/// # Errors
/// If it is no list of pods at all.
pub fn pods(bytes: &[u8], labels: &[String]) -> Result<Vec<Pod>, String> {
    let no_list = "the answer is no list of pods: is the endpoint a kubelet's?";
    let list: List = serde_json::from_slice(bytes).map_err(|_| no_list.to_owned())?;
    let items = list.items.unwrap_or_default();
    Ok(items.iter().take(CAPACITY).filter_map(|item| pod(serde_json::from_str(item.get()).ok()?, labels)).collect())
}

fn pod(item: Item, wanted: &[String]) -> Option<Pod> {
    let Item { metadata, spec, status } = item;
    let mut all = metadata.labels.unwrap_or_default();
    let owner = owner(&metadata.owners, all.get("pod-template-hash").map(String::as_str));
    let specified: Vec<Wanted> = [spec.containers, spec.init, spec.ephemeral].into_iter().flatten().collect();
    let started = [status.containers, status.init, status.ephemeral].into_iter().flatten();
    let containers = started.filter_map(|started| container(started, &specified)).take(CONTAINERS).collect();
    let labels = wanted.iter().filter_map(|key| Some((key.clone(), short(all.remove(key)?)?))).collect();
    Some(Pod {
        uid: short(metadata.uid)?,
        name: short(metadata.name)?,
        namespace: short(metadata.namespace)?,
        node: spec.node.and_then(short),
        labels,
        owner,
        containers,
    })
}

fn short(text: String) -> Option<String> {
    (!text.is_empty() && text.len() <= LONGEST).then_some(text)
}

fn container(started: Started, specified: &[Wanted]) -> Option<Container> {
    let id = started.id?;
    let (runtime, id) = id.split_once("://")?;
    // As the operator wrote it; the kubelet may tell the image by its digest alone.
    let written =
        specified.iter().find(|wanted| wanted.name == started.name).and_then(|wanted| wanted.image.as_deref());
    let names = [written, started.image.as_deref()].into_iter().flatten().map(image);
    let (image_name, image_tag) = names.into_iter().find(|(name, _)| name.is_some()).unwrap_or_default();
    Some(Container {
        id: short(id.to_owned())?,
        runtime: short(runtime.to_owned()),
        name: short(started.name)?,
        image_name: image_name.and_then(short),
        image_tag: image_tag.and_then(short),
    })
}

/// What made a pod: the owner that controls it, and what made that one, where names leave no doubt.
fn owner(owners: &[Reference], hash: Option<&str>) -> Option<Owner> {
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let name = short(owner.name.clone())?;
    Some(match owner.kind.as_str() {
        // A deployment's replica set has its name and the hash that its pods are labelled with.
        "ReplicaSet" => match hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-')) {
            Some(deployment) if !deployment.is_empty() => {
                Owner::Deployment { name: deployment.to_owned(), replica_set: name }
            }
            _ => Owner::ReplicaSet { name },
        },
        "StatefulSet" => Owner::StatefulSet { name },
        "DaemonSet" => Owner::DaemonSet { name },
        "Job" => cron_job(&name).unwrap_or(Owner::Job { name }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub const NODE: &[u8] = include_bytes!("fixtures/pods.json");

    fn told() -> Vec<Pod> {
        pods(NODE, &["app.kubernetes.io/name".into(), "team".into(), "absent".into()]).unwrap()
    }

    #[test]
    fn a_node_is_read() {
        let pods = told();
        let of = |name: &str| pods.iter().find(|pod| pod.name.starts_with(name)).unwrap();
        let owners: Vec<_> = pods.iter().map(|pod| (pod.name.as_str(), pod.owner.clone())).collect();
        let name = || "agent".to_owned();
        assert_eq!(
            owners,
            [
                (
                    "agent-6d4cf56db6-9x8zq",
                    Some(Owner::Deployment { name: name(), replica_set: "agent-6d4cf56db6".into() })
                ),
                ("index-0", Some(Owner::StatefulSet { name: "index".into() })),
                ("log-agent-p5xkz", Some(Owner::DaemonSet { name: "log-agent".into() })),
                (
                    "nightly-28912345-bcdfg",
                    Some(Owner::CronJob { name: "nightly".into(), job: "nightly-28912345".into() })
                ),
                ("import-once-x7k2p", Some(Owner::Job { name: "import-once".into() })),
                ("rollout-5f9c8d7b64-k2m4x", Some(Owner::ReplicaSet { name: "rollout-5f9c8d7b64".into() })),
                ("by-hand-6d4cf56db6-9x8zq", None),
                ("etcd-node-1", None),
            ]
        );
        let agent = of("agent");
        assert_eq!((agent.namespace.as_str(), agent.node.as_deref()), ("agents", Some("node-1")));
        let labels = [("app.kubernetes.io/name", "agent"), ("team", "core")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(agent.labels, labels.into());
        let containers: Vec<_> = agent
            .containers
            .iter()
            .map(|c| (c.name.as_str(), c.runtime.as_deref(), c.image_name.as_deref(), c.image_tag.as_deref()))
            .collect();
        assert_eq!(
            containers,
            [
                ("main", Some("containerd"), Some("registry.example:5000/agents/agent"), Some("1.4.2")),
                ("proxy", Some("containerd"), Some("docker.io/library/envoy"), Some("v1.31")),
                ("setup", Some("containerd"), Some("busybox"), None),
            ]
        );
        assert_eq!(agent.containers[0].id, "1".repeat(64));
        // Not started yet.
        assert_eq!(of("import").containers, []);
    }

    #[test]
    fn what_is_no_list_says_so_and_what_is_odd_is_left_out() {
        for text in ["", "{", "[]", "3", "Unauthorized", r#"{"items": 3}"#, r#"{"items": {}}"#] {
            assert!(pods(text.as_bytes(), &[]).unwrap_err().contains("no list of pods"), "{text}");
        }
        for text in [r#"{"items": null}"#, "{}", r#"{"items": [3, null, {}, {"metadata": {"name": "x"}}]}"#] {
            assert_eq!(pods(text.as_bytes(), &[]), Ok(Vec::new()), "{text}");
        }
        let odd = r#"{"items": [{"metadata": {"name": "a", "namespace": "b", "uid": "c", "labels": null, "ownerReferences": null},
            "spec": {"containers": [7, {"name": "x"}], "initContainers": null},
            "status": {"containerStatuses": [{"name": "x", "containerID": ""}, {"name": "x", "containerID": "cri-o://9"}, []]}}]}"#;
        let [pod] = &pods(odd.as_bytes(), &["l".into()]).unwrap()[..] else { panic!() };
        assert_eq!((pod.containers.len(), pod.containers[0].runtime.as_deref()), (1, Some("cri-o")));
        let deep = format!(r#"{{"items": [{}]}}"#, "[".repeat(100_000));
        assert!(pods(deep.as_bytes(), &[]).is_err());
    }

    /// Any JSON, with the keys that matter among it.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let key = prop_oneof![
            Just("items"),
            Just("metadata"),
            Just("name"),
            Just("namespace"),
            Just("uid"),
            Just("labels"),
            Just("ownerReferences"),
            Just("kind"),
            Just("controller"),
            Just("spec"),
            Just("containers"),
            Just("image"),
            Just("status"),
            Just("containerStatuses"),
            Just("containerID"),
            Just("nodeName"),
        ];
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[-a-z0-9:/@]{0,12}".prop_map(Into::into),
            prop_oneof![Just("ReplicaSet"), Just("Job"), Just("containerd://1"), Just("a-28912345")]
                .prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_survived(value in json(), items in proptest::collection::vec(json(), 0..4)) {
            let _ = pods(value.to_string().as_bytes(), &["l".into()]);
            let list = serde_json::json!({"items": items}).to_string();
            prop_assert!(pods(list.as_bytes(), &["l".into()]).is_ok());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..8000, byte: u8) {
            let _ = pods(&bytes, &[]);
            let mut damaged = NODE.to_vec();
            let length = damaged.len();
            damaged[at % length] = byte;
            let _ = pods(&damaged, &[]);
            damaged.truncate(at % length);
            let _ = pods(&damaged, &[]);
        }
    }
}
