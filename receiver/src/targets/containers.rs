//! What the container runtimes wrote down about their containers, on this host's disk: names, images, pods.
//!
//! Nothing is asked over a network or a socket. Only names are read: a bundle's environment and labels stay where they are.
//!
//! - OCI bundles (runtime-spec, config.json) of containerd (CRI: `io.kubernetes.cri.*`) and CRI-O (`io.kubernetes.*`);
//! - Docker's `config.v2.json`; Podman's `containers.json` (containers/storage);
//! - the kubelet's `/var/log/pods/<namespace>_<pod>_<uid>`.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pipeline::observation::{Owner, Workload};
use serde::Deserialize;

use super::cgroup;

/// Most containers that are remembered.
const CAPACITY: usize = 4096;
/// How long one that nothing is known of is not looked for again: a runtime may write its files late.
const AGAIN: Duration = Duration::from_secs(10);
/// Most that is read of a file.
const MOST: u64 = 4 << 20;

/// Folders of OCI bundles, each with a folder a container; `*` is one namespace.
const BUNDLES: &[&str] = &[
    "run/containerd/io.containerd.runtime.v2.task/k8s.io",
    "run/containerd/io.containerd.runtime.v2.task/moby",
    "run/containerd/io.containerd.runtime.v2.task/default",
    "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
    "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
];
/// Folders of containers/storage (Podman and CRI-O).
const STORAGES: &[&str] = &["var/lib/containers/storage", "run/containers/storage"];

/// What is known of containers.
#[derive(Debug)]
pub struct Containers {
    root: PathBuf,
    known: HashMap<String, (Workload, Option<Instant>)>,
}

impl Containers {
    /// Reads below this folder, the host's root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), known: HashMap::new() }
    }

    /// Where processes of a cgroup run. `home` is that of their user, where a rootless Podman keeps its files.
    pub fn workload(&mut self, path: &str, home: Option<&str>) -> Workload {
        let mut found = cgroup::workload(path);
        let Some(id) = found.container_id.clone() else { return found };
        let told = match self.known.get(&id) {
            Some((told, None)) => told.clone(),
            Some((told, Some(since))) if since.elapsed() < AGAIN => told.clone(),
            _ => {
                let told = self.read(&id, found.pod_uid.as_deref(), home);
                let whole = told.container_name.is_some() || told.pod_name.is_some();
                if self.known.len() >= CAPACITY {
                    self.known.clear();
                }
                self.known.insert(id, (told.clone(), (!whole).then(Instant::now)));
                told
            }
        };
        merge(&mut found, told);
        found.owner = found.pod_name.as_deref().and_then(owner);
        found
    }

    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut bytes = Vec::new();
        fs::File::open(self.root.join(path)).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
        String::from_utf8(bytes).ok()
    }

    fn read(&self, id: &str, pod_uid: Option<&str>, home: Option<&str>) -> Workload {
        let mut found = Workload::default();
        for folder in BUNDLES {
            if let Some(text) = self.text(format!("{folder}/{id}/config.json")) {
                merge(&mut found, bundle(&text, Some("containerd").filter(|_| !folder.ends_with("moby"))));
            }
        }
        if let Some(text) = self.text(format!("var/lib/docker/containers/{id}/config.v2.json")) {
            merge(&mut found, docker(&text));
        }
        let rootless = home.map(|home| format!("{}/.local/share/containers/storage", home.trim_start_matches('/')));
        for storage in STORAGES.iter().copied().chain(rootless.as_deref()) {
            if let Some(text) = self.text(format!("{storage}/overlay-containers/{id}/userdata/config.json")) {
                merge(&mut found, bundle(&text, None));
            }
            if let Some(text) = self.text(format!("{storage}/overlay-containers/containers.json")) {
                merge(&mut found, storage_list(&text, id));
            }
        }
        if found.pod_name.is_none()
            && let Some(uid) = pod_uid
        {
            merge(&mut found, self.kubelet(uid));
        }
        found
    }

    /// The kubelet's folder of a pod's logs: `<namespace>_<name>_<uid>`. Neither part can hold a `_`.
    fn kubelet(&self, uid: &str) -> Workload {
        let entries = fs::read_dir(self.root.join("var/log/pods")).into_iter().flatten().flatten().take(CAPACITY);
        let pod = entries.filter_map(|entry| entry.file_name().into_string().ok()).find_map(|name| {
            let mut parts = name.split('_').map(str::to_owned);
            let (namespace, name, of) = (parts.next()?, parts.next()?, parts.next()?);
            (of == uid).then_some((namespace, name))
        });
        let (namespace, pod_name) = pod.unzip();
        Workload { namespace, pod_name, pod_uid: Some(uid.to_owned()), ..Workload::default() }
    }
}

/// What is not known yet is taken over.
fn merge(known: &mut Workload, told: Workload) {
    for (known, told) in [
        (&mut known.runtime, told.runtime),
        (&mut known.container_name, told.container_name),
        (&mut known.image_name, told.image_name),
        (&mut known.image_tag, told.image_tag),
        (&mut known.pod_uid, told.pod_uid),
        (&mut known.pod_name, told.pod_name),
        (&mut known.namespace, told.namespace),
        (&mut known.pod_container, told.pod_container),
    ] {
        if known.is_none() {
            *known = told;
        }
    }
}

/// Name and tag of an image's reference; a digest is neither.
pub fn image(reference: &str) -> (Option<String>, Option<String>) {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    if name.is_empty() || name.starts_with("sha256:") {
        return (None, None);
    }
    // A colon before the last slash is a port's.
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (Some(name.to_owned()), Some(tag.to_owned())),
        _ => (Some(name.to_owned()), None),
    }
}

/// An OCI bundle's config.json: its annotations only.
fn bundle(text: &str, runtime: Option<&str>) -> Workload {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Bundle {
        annotations: HashMap<String, String>,
    }
    let Bundle { annotations } = serde_json::from_str(text).unwrap_or_default();
    let of = |names: &[&str]| {
        names.iter().find_map(|name| annotations.get(*name)).filter(|value| !value.is_empty()).cloned()
    };
    let image_of = of(&["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"]);
    let (image_name, image_tag) = image_of.as_deref().map(image).unwrap_or_default();
    let crio = annotations.keys().any(|name| name.starts_with("io.kubernetes.cri-o."));
    let sandbox = of(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]);
    Workload {
        runtime: if crio { Some("cri-o".into()) } else { runtime.map(str::to_owned) },
        container_name: of(&["io.kubernetes.cri-o.Name", "nerdctl/name"]),
        pod_uid: of(&["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]),
        pod_name: of(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]),
        namespace: of(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]),
        // The sandbox holds the pod's namespaces and is none of its containers.
        pod_container: of(&["io.kubernetes.cri.container-name", "io.kubernetes.container.name"])
            .filter(|_| sandbox.as_deref() != Some("sandbox")),
        image_name,
        image_tag,
        ..Workload::default()
    }
}

/// Docker's own file of a container (moby, container/container.go).
fn docker(text: &str) -> Workload {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct File {
        #[serde(rename = "Name")]
        name: String,
        #[serde(rename = "Config")]
        config: Inner,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        #[serde(rename = "Image")]
        image: String,
        #[serde(rename = "Labels")]
        labels: Option<HashMap<String, String>>,
    }
    let Ok(file) = serde_json::from_str::<File>(text) else { return Workload::default() };
    let (image_name, image_tag) = image(&file.config.image);
    let labels = file.config.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
    Workload {
        runtime: Some("docker".into()),
        container_name: Some(file.name.trim_start_matches('/').to_owned()).filter(|name| !name.is_empty()),
        image_name,
        image_tag,
        // The kubelet's labels, where it drives Docker.
        pod_uid: label("io.kubernetes.pod.uid"),
        pod_name: label("io.kubernetes.pod.name"),
        namespace: label("io.kubernetes.pod.namespace"),
        pod_container: label("io.kubernetes.container.name"),
        ..Workload::default()
    }
}

/// The list of containers of containers/storage (container.go): `metadata` is JSON within JSON.
fn storage_list(text: &str, id: &str) -> Workload {
    #[derive(Deserialize)]
    struct Item {
        id: String,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        metadata: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        #[serde(rename = "image-name")]
        image: String,
        #[serde(rename = "pod-id")]
        pod: String,
    }
    let items: Vec<Item> = serde_json::from_str(text).unwrap_or_default();
    let Some(item) = items.into_iter().find(|item| item.id == id) else { return Workload::default() };
    let metadata: Metadata = serde_json::from_str(&item.metadata).unwrap_or_default();
    let (image_name, image_tag) = image(&metadata.image);
    Workload {
        // CRI-O fills in the pod as well.
        runtime: Some(if metadata.pod.is_empty() { "podman" } else { "cri-o" }.into()),
        container_name: item.names.into_iter().next(),
        image_name,
        image_tag,
        ..Workload::default()
    }
}

/// What made a pod, if its name can come from nothing else: a replica set's and a random part are of letters and digits
/// that make no words (k8s.io/apimachinery, util/rand), a cron job's is the minute it was due.
pub fn owner(pod: &str) -> Option<Owner> {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = |text: &str| text.bytes().all(|byte| LETTERS.contains(&byte));
    let (rest, end) = pod.rsplit_once('-')?;
    if end.len() != 5 || !random(end) {
        return None;
    }
    let (name, middle) = rest.rsplit_once('-')?;
    if name.is_empty() {
        return None;
    }
    if let Some(owner) = cron_job(rest) {
        return Some(owner);
    }
    // A hash of 32 bits; one of letters only might be a word.
    let hash = (8..=10).contains(&middle.len()) && random(middle) && middle.bytes().any(|byte| byte.is_ascii_digit());
    hash.then(|| Owner::Deployment { name: name.to_owned(), replica_set: rest.to_owned() })
}

/// The cron job that made a job, if the job's name ends with the minute that it was due: minutes since 1970 have eight
/// digits from 1989 to 2160.
pub fn cron_job(job: &str) -> Option<Owner> {
    let (name, minute) = job.rsplit_once('-')?;
    let due = !name.is_empty() && minute.len() == 8 && minute.bytes().all(|byte| byte.is_ascii_digit());
    due.then(|| Owner::CronJob { name: name.to_owned(), job: job.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UID: &str = "5b6fae0e-6e0a-4d6c-9c6d-2f1d0a3b4c5d";

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_pod_of_containerd_is_named_by_its_bundle() {
        let root = tempfile::tempdir().unwrap();
        let text = json!({
            "process": {"env": ["API_KEY=INVENTED-SECRET"]},
            "annotations": {
                "io.kubernetes.cri.container-name": "agent",
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.image-name": "registry.example:5000/team/agent:1.4@sha256:00",
                "io.kubernetes.cri.sandbox-name": "triage-7c9d8f6b54-x2lkq",
                "io.kubernetes.cri.sandbox-namespace": "prod",
                "io.kubernetes.cri.sandbox-uid": UID,
            },
        });
        write(
            root.path(),
            &format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json", id('a')),
            &text.to_string(),
        );
        let path = format!("/kubepods/burstable/pod{UID}/{}", id('a'));
        let found = Containers::new(root.path()).workload(&path, None);
        let owner = Owner::Deployment { name: "triage".into(), replica_set: "triage-7c9d8f6b54".into() };
        let expected = Workload {
            container_id: Some(id('a')),
            runtime: Some("containerd".into()),
            image_name: Some("registry.example:5000/team/agent".into()),
            image_tag: Some("1.4".into()),
            pod_uid: Some(UID.into()),
            pod_name: Some("triage-7c9d8f6b54-x2lkq".into()),
            namespace: Some("prod".into()),
            pod_container: Some("agent".into()),
            owner: Some(owner),
            ..Workload::default()
        };
        assert_eq!(found, expected);
        assert!(!format!("{found:?}").contains("INVENTED"));
    }

    #[test]
    fn docker_podman_crio_and_the_kubelet_are_read() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &format!("var/lib/docker/containers/{}/config.v2.json", id('b')),
            r#"{"Name": "/web", "Config": {"Image": "nginx", "Labels": null, "Env": ["X=INVENTED-SECRET"]}}"#,
        );
        let metadata = r#"{\"image-name\":\"docker.io/library/alpine:3\",\"name\":\"tool\"}"#;
        write(
            root.path(),
            "home/ada/.local/share/containers/storage/overlay-containers/containers.json",
            &format!(r#"[{{"id": "{}", "names": ["tool"], "metadata": "{metadata}"}}]"#, id('c')),
        );
        write(
            root.path(),
            &format!("run/containers/storage/overlay-containers/{}/userdata/config.json", id('d')),
            r#"{"annotations": {"io.kubernetes.cri-o.Name": "k8s_a_p_n_u_0", "io.kubernetes.cri-o.ContainerType": "container",
                "io.kubernetes.pod.name": "nightly-28912345-bcdfg", "io.kubernetes.pod.namespace": "n", "io.kubernetes.container.name": "a"}}"#,
        );
        write(root.path(), &format!("var/log/pods/kube-system_dns-0_{UID}/dns/0.log"), "");
        let mut containers = Containers::new(root.path());
        let docker = containers.workload(&format!("/system.slice/docker-{}.scope", id('b')), None);
        assert_eq!((docker.container_name.as_deref(), docker.image_name.as_deref()), (Some("web"), Some("nginx")));
        let podman = containers.workload(&format!("/x/libpod-{}.scope", id('c')), Some("/home/ada"));
        assert_eq!((podman.container_name.as_deref(), podman.image_tag.as_deref()), (Some("tool"), Some("3")));
        let crio = containers.workload(&format!("/kubepods/pod{UID}/crio-{}", id('d')), None);
        assert_eq!(crio.owner, Some(Owner::CronJob { name: "nightly".into(), job: "nightly-28912345".into() }));
        assert_eq!((crio.runtime.as_deref(), crio.pod_container.as_deref()), (Some("cri-o"), Some("a")));
        let kubelet = containers.workload(&format!("/kubepods/pod{UID}/{}", id('e')), None);
        assert_eq!((kubelet.pod_name.as_deref(), kubelet.namespace.as_deref()), (Some("dns-0"), Some("kube-system")));
        assert_eq!(kubelet.owner, None);
    }

    #[test]
    fn files_that_are_no_json_say_nothing() {
        for text in ["", "{", "[]", "null", r#"{"annotations": 3}"#, r#"{"Config": []}"#] {
            assert_eq!(bundle(text, None), Workload::default());
            assert_eq!(docker(text).container_name, None);
            assert_eq!(storage_list(text, "x"), Workload::default());
        }
    }

    #[test]
    fn only_sure_owners_are_named() {
        let deployment = |name: &str, set: &str| Some(Owner::Deployment { name: name.into(), replica_set: set.into() });
        for (pod, expected) in [
            ("api-server-6d4cf56db6-9x8zq", deployment("api-server", "api-server-6d4cf56db6")),
            ("web-0", None),
            ("node-exporter-bcdfg", None),
            ("my-bcdfghjk-bcdfg", None),
            ("x", None),
            ("-6d4cf56db6-9x8zq", None),
            ("a-b-c", None),
        ] {
            assert_eq!(owner(pod), expected, "{pod}");
        }
    }
}
