//! What a cgroup's path tells: container, runtime, pod, systemd unit.
//!
//! The shapes are those of the runtimes' cgroup drivers: `cgroupfs` (`/docker/<id>`, `/kubepods/burstable/pod<uid>/<id>`)
//! and `systemd` (`docker-<id>.scope`, `kubepods-burstable-pod<uid with underscores>.slice/cri-containerd-<id>.scope`).

use pipeline::observation::Workload;

/// What a path tells of where its processes run.
pub fn workload(path: &str) -> Workload {
    let mut found = Workload::default();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if let Some(uid) = pod_uid(part.split(':').next().unwrap_or(part)) {
            found.pod_uid = Some(uid);
        }
        if let Some((runtime, id)) = container(part) {
            found.container_id = Some(id.to_owned());
            found.runtime = runtime.map(str::to_owned).or(found.runtime);
            // What is around a container is not what runs in it.
            found.unit = None;
        } else if found.container_id.is_some() {
            // A cgroup that the container's own init made.
        } else if part.ends_with(".service") || part.ends_with(".scope") {
            found.unit = Some(unescape(part));
        } else if found.runtime.is_none() {
            // The folder that a runtime with the cgroupfs driver puts its containers into.
            found.runtime = match part {
                "docker" => Some("docker".into()),
                "libpod_parent" => Some("podman".into()),
                _ => None,
            };
        }
    }
    if found.container_id.is_none() {
        found.runtime = None;
    }
    found
}

/// Runtime and id of a container, if this part of a path names one.
fn container(part: &str) -> Option<(Option<&'static str>, &str)> {
    const PREFIXES: &[(&str, &str)] = &[
        ("cri-containerd-", "containerd"),
        ("nerdctl-", "containerd"),
        ("docker-", "docker"),
        ("crio-", "cri-o"),
        ("libpod-", "podman"),
    ];
    let name = part.strip_suffix(".scope").unwrap_or(part);
    // Where the runtime was not told that the driver is systemd, its triple stands as it is: `slice:prefix:id`.
    if let Some((rest, id)) = name.rsplit_once(':') {
        let runtime = PREFIXES.iter().find(|(prefix, _)| rest.ends_with(prefix.trim_end_matches('-')));
        return is_id(id).then_some((runtime.map(|(_, runtime)| *runtime), id));
    }
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix) {
            // `crio-conmon-<id>`, `libpod-conmon-<id>`: the monitor beside the container.
            return is_id(id).then_some((Some(*runtime), id));
        }
    }
    // ECS names its tasks' containers `<32 digits>-<number>`.
    is_id(name).then_some((None, name)).or_else(|| {
        let (task, number) = name.split_once('-')?;
        let ecs = task.len() == 32 && is_hex(task) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        ecs.then_some((None, name))
    })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Container ids are 64 hexadecimal digits with every runtime here.
fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

/// `pod<uid>` or `kubepods-besteffort-pod<uid>.slice`, where the slice's name has `_` for `-`. A static pod's uid is a
/// hash without dashes.
fn pod_uid(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let name = if name.starts_with("kubepods") || name.starts_with("kubelet-kubepods") {
        name.rsplit_once("-pod")?.1
    } else {
        name.strip_prefix("pod")?
    };
    let uid = name.replace('_', "-");
    let digits = uid.bytes().filter(|byte| *byte != b'-').count();
    (digits == 32 && uid.split('-').all(is_hex)).then_some(uid)
}

/// systemd writes characters that a path has other uses for as `\x2d` (systemd.unit(5)).
fn unescape(unit: &str) -> String {
    let mut out = String::with_capacity(unit.len());
    let mut rest = unit;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.push_str(before);
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii_graphic) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push_str("\\x");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_of_every_runtime_and_driver_are_read() {
        let id = "0123456789abcdef".repeat(4);
        let uid = "5b6fae0e-6e0a-4d6c-9c6d-2f1d0a3b4c5d";
        let slice = uid.replace('-', "_");
        for (path, runtime, pod) in [
            (format!("/docker/{id}"), Some("docker"), false),
            (format!("/system.slice/docker-{id}.scope"), Some("docker"), false),
            (format!("/system.slice/docker-{id}.scope/init.scope"), Some("docker"), false),
            (format!("/kubepods/burstable/pod{uid}/{id}"), None, true),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{id}.scope"
                ),
                Some("containerd"),
                true,
            ),
            (format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{id}.scope"), Some("cri-o"), true),
            (
                format!(
                    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{slice}.slice/cri-containerd-{id}.scope"
                ),
                Some("containerd"),
                true,
            ),
            (
                format!("/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{id}"),
                Some("containerd"),
                true,
            ),
            (format!("/machine.slice/libpod-{id}.scope/container"), Some("podman"), false),
            (
                format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope"),
                Some("podman"),
                false,
            ),
            (format!("/libpod_parent/libpod-{id}"), Some("podman"), false),
            (format!("/ecs/4f0a6b8e/{id}"), None, false),
        ] {
            let found = workload(&path);
            assert_eq!(found.container_id.as_deref(), Some(id.as_str()), "{path}");
            assert_eq!(found.runtime.as_deref(), runtime, "{path}");
            assert_eq!(found.pod_uid.as_deref(), pod.then_some(uid), "{path}");
        }
    }

    #[test]
    fn what_is_no_container_has_its_unit() {
        for (path, unit) in [
            ("/system.slice/cron.service", Some("cron.service")),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-my\\x2dtool.service",
                Some("app-my-tool.service"),
            ),
            ("/", None),
            ("/../..", None),
            ("/system.slice/docker.service", Some("docker.service")),
            ("/kubepods/podnot-a-uid/x", None),
        ] {
            let found = workload(path);
            assert_eq!((found.unit.as_deref(), found.container_id, found.pod_uid), (unit, None, None), "{path}");
        }
        let monitor = format!("/machine.slice/libpod-conmon-{}.scope", "a".repeat(64));
        assert_eq!(workload(&monitor).container_id, None);
    }

    proptest! {
        #[test]
        fn any_path_is_survived(path in "[-/a-f0-9\\\\x:_.podscope]{0,200}") {
            let _ = workload(&path);
        }
    }
}
