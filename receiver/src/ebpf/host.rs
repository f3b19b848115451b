//! The machine and its clocks.

use std::{fs, path::PathBuf, time::SystemTime};

use pipeline::observation::Host;

use crate::event::Clock;

/// What is known of this machine.
pub fn host() -> Host {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    Host {
        name: read("/proc/sys/kernel/hostname"),
        id: Some(read("/etc/machine-id")).filter(|id| !id.is_empty()),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        arch: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
        kernel: read("/proc/sys/kernel/osrelease"),
        node: ["K8S_NODE_NAME", "NODE_NAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty())),
    }
}

/// The host's root folder: that of its first process, which is another one if onlooker runs in a container and sees the
/// host's processes.
pub fn root() -> PathBuf {
    let first = PathBuf::from("/proc/1/root");
    if first.join("etc").is_dir() { first } else { PathBuf::from("/") }
}

/// The wall time at boot: the best of a few readings, for the thread may be interrupted between two clocks.
pub fn clock() -> Clock {
    let readings = (0..16).map(|_| {
        let before = now();
        let wall = wall();
        let after = now();
        (after.saturating_sub(before), wall.saturating_sub(before / 2 + after / 2))
    });
    Clock { boot: readings.min().map(|(_, boot)| boot).unwrap_or_default() }
}

/// Nanoseconds since boot, as the kernel side counts them.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Nanoseconds since the Unix epoch.
fn wall() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_and_time_since_give_now() {
        let told = clock().wall(now()).nanos();
        assert!(told.abs_diff(wall()) < 1_000_000_000);
        assert!(!host().boot_id.is_empty());
    }
}
