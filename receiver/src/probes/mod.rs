//! Probes: load, attach, decode. One file a probe family, named as its C file.
//!
//! Every program is loaded and attached on its own; what fails is told with its reason and stops nothing else.

pub mod abi;
mod calls;
mod candidates;
mod file;
mod mappings;
mod network;
mod pages;
mod positions;
pub mod process;
mod reader;
mod security;
pub mod socket;
mod switch;
pub mod tls;

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, PerCpuArray},
};
use pipeline::ProcessKey;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use reader::{Delivery, Reader, now};
pub use switch::Switch;

use crate::{Error, event::Program};

/// The compiled kernel side.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/onlooker.bpf.o"));

/// Names of the kernel's drop reasons (`enum drop_reason`), and whether they count bytes.
pub const DROP_REASONS: [&str; 12] = [
    "payload_ring_full",
    "payload_ring_full_bytes",
    "lifecycle_ring_full",
    "fault_bytes",
    "call_map_full",
    "too_large_bytes",
    "network_ring_full",
    "network_map_full",
    "file_ring_full",
    "file_map_full",
    "security_ring_full",
    "candidate_file_ring_full",
];

/// `CAPTURE_FILE_READS`.
const CAPTURE_FILE_READS: u32 = 16;

/// Which processes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that are watched, and their children.
    Tree,
    /// All but those that are excluded.
    Host,
}

/// How to load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which processes are seen.
    pub scope: Scope,
    /// Bytes of the ring for plaintext; rounded up to a power of two.
    pub payload_ring: u64,
    /// Bytes of the ring for process events.
    pub lifecycle_ring: u64,
    /// Bytes of the ring for connections and sockets.
    pub network_ring: u64,
    /// Bytes of the ring for files.
    pub file_ring: u64,
    /// Bytes of the ring for changes of rights and the like.
    pub security_ring: u64,
    /// True: what this very process forks from now on is watched.
    pub watch_children: bool,
    /// What is taken from sockets and pipes.
    pub capture: socket::Capture,
    /// What is told of files.
    pub files: Files,
    /// Whether changes of rights and the like are told.
    pub security: bool,
    /// Host scope: for how long a program that is likely to become an agent is treated as watched; 0: not at all;
    /// `Duration::MAX`: as long as it runs.
    pub lookback: Duration,
}

/// What is told of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Nothing.
    Off,
    /// All but what is only opened for reading.
    Changes,
    /// Everything.
    All,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scope: Scope::Tree,
            payload_ring: 64 << 20,
            lifecycle_ring: 4 << 20,
            network_ring: 4 << 20,
            file_ring: 8 << 20,
            security_ring: 256 << 10,
            watch_children: false,
            capture: socket::Capture::default(),
            files: Files::Off,
            security: false,
            lookback: Duration::ZERO,
        }
    }
}

/// What a probe can do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Its name, as `process/exec`.
    pub name: String,
    /// What it is for.
    pub purpose: &'static str,
    /// Why it does not work, if it does not.
    pub error: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
}

/// The loaded kernel side.
pub struct Probes {
    ebpf: Ebpf,
    config: Array<MapData, [u32; 5]>,
    watched: candidates::Watched,
    excluded: HashMap<MapData, u32, u64>,
    ignored: HashMap<MapData, [u64; 2], u8>,
    drops: PerCpuArray<MapData, u64>,
    settings: [u32; 5],
    status: Vec<ProbeStatus>,
    tls: tls::Programs,
    calls: calls::Calls,
    /// Host scope: system calls are let go while nobody is watched.
    switch: Option<Switch>,
    /// For how many sweeps in a row nobody was.
    idle: u32,
    /// Host scope: files that are mapped executable, until the reader takes it.
    mappings: Option<mappings::Mappings>,
    /// Mappings for which their ring had no room.
    mappings_lost: Arc<AtomicU64>,
}

impl Probes {
    /// Loads the object, attaches the process probes, loads the TLS programs.
    pub fn load(options: Options) -> Result<Self, Error> {
        prerequisites()?;
        let size = |bytes: u64| u32::try_from(bytes.max(4096).next_power_of_two()).unwrap_or(1 << 30);
        let btf =
            Btf::from_sys_fs().map_err(|error| Error::Kernel(format!("this kernel's BTF cannot be read: {error}")))?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .map_max_entries("PAYLOAD", size(options.payload_ring))
            .map_max_entries("LIFECYCLE", size(options.lifecycle_ring))
            .map_max_entries("NETWORK", size(options.network_ring))
            .map_max_entries("FILES", size(options.file_ring))
            .map_max_entries("SECURITY", size(options.security_ring))
            .load(OBJECT)
            .map_err(|error| Error::Kernel(format!("the kernel refused onlooker's maps: {}; run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN", chain(&error))))?;
        let mut map = |name: &str| {
            ebpf.take_map(name).ok_or_else(|| Error::Kernel(format!("the probe object has no map {name}")))
        };
        let failed = |error: aya::maps::MapError| Error::Kernel(chain(&error));
        let config = Array::try_from(map("CONFIG")?).map_err(failed)?;
        let watched = candidates::Watched::new(&mut map)?;
        let excluded = HashMap::try_from(map("EXCLUDED")?).map_err(failed)?;
        let ignored = HashMap::try_from(map("IGNORED")?).map_err(failed)?;
        let drops = PerCpuArray::try_from(map("DROPS")?).map_err(failed)?;
        let settings = [
            std::process::id(),
            u32::from(options.scope == Scope::Host),
            u32::from(options.watch_children),
            options.capture.bits() | if options.files == Files::All { CAPTURE_FILE_READS } else { 0 },
            if options.scope == Scope::Host {
                // Of the kernel side's numbers this one is for ever (`LOOKBACK_ALWAYS`).
                u32::try_from(options.lookback.as_millis()).unwrap_or(u32::MAX)
            } else {
                0
            },
        ];
        let mut probes = Self {
            config,
            watched,
            excluded,
            ignored,
            drops,
            settings,
            status: Vec::new(),
            tls: tls::Programs::default(),
            calls: calls::Calls::default(),
            switch: None,
            idle: 0,
            mappings: None,
            mappings_lost: Arc::default(),
            ebpf,
        };
        probes.configure()?;
        let mapped = process::GROUPS.iter().filter(|_| options.scope == Scope::Tree);
        let sockets = socket::GROUPS.iter().filter(|_| options.capture.any());
        let network = network::GROUPS.iter().filter(|_| options.capture.network);
        let files = file::GROUPS.iter().filter(|_| options.files != Files::Off);
        let security = security::GROUPS.iter().filter(|_| options.security);
        let groups: Vec<_> = mapped.chain(sockets).chain(network).chain(files).chain(security).collect();
        probes.status.push(own_namespace());
        probes.calls.attach_first(&mut probes.ebpf, &groups);
        probes.status.extend(process::attach(&mut probes.ebpf));
        if options.scope == Scope::Host {
            let (mappings, status) = process::mapped(&mut probes.ebpf, probes.mappings_lost.clone());
            probes.mappings = mappings;
            probes.status.push(status);
        }
        let (status, switch) = probes.calls.attach(&mut probes.ebpf, &groups);
        probes.status.extend(status);
        probes.switch = switch;
        probes.status.extend(probes.tls.load(&mut probes.ebpf));
        Ok(probes)
    }

    fn configure(&mut self) -> Result<(), Error> {
        self.config.set(0, self.settings, 0).map_err(|error| Error::Kernel(chain(&error)))
    }

    /// What works, one line a probe.
    pub fn status(&self) -> Vec<ProbeStatus> {
        let lost = self.switch.as_ref().and_then(Switch::error).map(|error| ProbeStatus {
            name: "process/calls".into(),
            purpose: "system calls of processes that are watched again after nobody was",
            error: Some(error),
            hint: Some("restart onlooker".into()),
        });
        self.status.iter().cloned().chain(lost).collect()
    }

    /// What takes system calls up again, when somebody is about to be watched; none where nothing is seen of them.
    pub fn switch(&self) -> Option<Switch> {
        self.switch.clone()
    }

    /// Whether what this very process forks from now on is watched.
    pub fn watch_children_of_self(&mut self, watch: bool) -> Result<(), Error> {
        self.settings[2] = u32::from(watch);
        self.configure()
    }

    /// Watches a process; what it forks from now on is watched by the kernel side itself.
    pub fn watch(&mut self, process: ProcessKey) -> Result<(), Error> {
        self.wake();
        self.watched.watch(process)
    }

    /// Stops watching a process. That it was not watched is no error.
    pub fn unwatch(&mut self, process: ProcessKey) {
        self.watched.unwatch(process.tgid);
    }

    /// Host scope: this process and what it forks from now on is not seen.
    pub fn exclude(&mut self, process: ProcessKey) -> Result<(), Error> {
        self.watched.is_no_candidate(process.tgid);
        self.excluded.insert(process.tgid, process.start, 0).map_err(|error| Error::Kernel(chain(&error)))
    }

    /// Host scope: whoever executes this program is likely to become an agent, and treated as watched for a while.
    pub fn candidate_program(&mut self, program: Program) -> Result<(), Error> {
        self.watched.program(program)
    }

    /// Host scope: nobody needs to learn at once who executes this program.
    pub fn ordinary_program(&mut self, program: Program) -> Result<(), Error> {
        self.watched.ordinary(program)
    }

    /// Host scope: this process runs such a program, and is treated as watched until a time (ns since boot), if it is not
    /// watched anyway.
    pub fn candidate(&mut self, process: ProcessKey, until: u64) {
        self.wake();
        self.watched.candidate(process, until);
    }

    /// Takes out those whose time as candidates is over for long. Host scope: lets system calls go, if nobody is left for the
    /// second time in a row.
    pub fn sweep(&mut self) {
        let keep = u64::from(self.settings[4]) * 1_000_000;
        self.watched.sweep(now().saturating_sub(keep));
        self.idle = if self.watched.is_empty(now()) { self.idle.saturating_add(1) } else { 0 };
        if let Some(switch) = self.switch.as_ref().filter(|_| self.idle >= 2 && self.settings[1] == 1) {
            switch.off();
        }
    }

    fn wake(&mut self) {
        self.idle = 0;
        if let Some(switch) = &self.switch {
            switch.on();
        }
    }

    /// Copies nothing more from this connection until its TLS object is freed.
    pub fn ignore(&mut self, tgid: u32, object: u64) -> Result<(), Error> {
        self.ignored.insert([object, u64::from(tgid)], 1, 0).map_err(|error| Error::Kernel(chain(&error)))
    }

    /// Attaches to the TLS functions of a file, in every process that maps it. The offsets are file offsets. What was
    /// attached stays attached as long as the links live.
    pub fn attach_tls(
        &mut self,
        path: &std::path::Path,
        sites: &[crate::targets::plan::Site],
    ) -> Result<tls::Links, Error> {
        self.tls.attach(&mut self.ebpf, path, sites)
    }

    /// Starts the thread that reads the rings.
    pub fn start_reader(&mut self, limit: u64, delivery: Box<dyn Delivery>) -> Result<Reader, Error> {
        Reader::start(&mut self.ebpf, self.mappings.take(), limit, delivery)
    }

    /// Cumulative losses in the kernel, by reason.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let sum = |index: usize| {
            let values = u32::try_from(index).ok().and_then(|index| self.drops.get(&index, 0).ok());
            values.map_or(0, |values| values.iter().sum())
        };
        let mappings = ("mapping_ring_full", self.mappings_lost.load(Ordering::Relaxed));
        DROP_REASONS.iter().enumerate().map(|(index, name)| (*name, sum(index))).chain([mappings]).collect()
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(more.trim());
        }
        source = error.source();
    }
    text
}

/// What must be there before anything is tried.
fn prerequisites() -> Result<(), Error> {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(Error::Kernel(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing); onlooker needs a kernel built with CONFIG_DEBUG_INFO_BTF, \
             as all current distributions' are; a recorded run can be shown with `onlooker replay FILE` or `onlooker demo --recorded`"
                .into(),
        ));
    }
    // CAP_SYS_ADMIN (21), CAP_PERFMON (38) and CAP_BPF (39): include/uapi/linux/capability.h.
    let effective = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?.trim().to_owned();
        u64::from_str_radix(&line, 16).ok()
    });
    let effective = effective.unwrap_or(u64::MAX);
    let has = |capability: u32| effective >> capability & 1 == 1;
    if has(21) || (has(38) && has(39)) {
        return Ok(());
    }
    Err(Error::Kernel(
        "watching the kernel needs root, or the capabilities CAP_BPF and CAP_PERFMON (and CAP_SYS_ADMIN on kernels that want it for uprobes): \
         run it with sudo"
            .into(),
    ))
}

/// The kernel side counts processes as the host does. In a PID namespace of its own, onlooker would neither know itself
/// nor what it starts.
fn own_namespace() -> ProbeStatus {
    /// `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
    const HOST: &str = "pid:[4026531836]";
    let own = std::fs::read_link("/proc/self/ns/pid").ok().filter(|own| own.as_os_str() != HOST);
    ProbeStatus {
        name: "process/ids".into(),
        purpose: "telling processes by the numbers that the host gives them",
        error: own.map(|own| format!("onlooker runs in a PID namespace of its own ({})", own.display())),
        hint: Some(
            "run it on the host, or in a container with the host's PID namespace (`--pid=host`, `hostPID: true`)"
                .into(),
        ),
    }
    .tidied()
}

impl ProbeStatus {
    /// A hint is for an error.
    fn tidied(mut self) -> Self {
        self.hint = self.hint.filter(|_| self.error.is_some());
        self
    }
}

/// Tries everything, leaves nothing attached.
pub fn doctor() -> Vec<ProbeStatus> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let line = |name: &str, purpose: &'static str, result: Result<(), Error>| {
        let result = result.map_err(|error| error.to_string());
        ProbeStatus { name: name.into(), purpose, hint: process::hint(&result), error: result.err() }
    };
    let mut lines = Vec::new();
    let mut version = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (version.next().unwrap_or_default(), version.next().unwrap_or_default());
    let recent = if (major, minor) >= (5, 10) {
        Ok(())
    } else {
        Err(Error::Kernel(format!("kernel {release} is older than 5.10")))
    };
    lines.push(line("kernel", "a kernel from 5.10 on", recent));
    lines.push(line("rights and BTF", "loading programs that fit this kernel", prerequisites()));
    if lines.iter().any(|line| line.error.is_some()) {
        return lines;
    }
    let options = Options {
        payload_ring: 1 << 20,
        lifecycle_ring: 1 << 20,
        files: Files::All,
        security: true,
        ..Options::default()
    };
    match Probes::load(options) {
        Ok(mut probes) => {
            lines.append(&mut probes.status);
            let mappings = mappings::Mappings::open(Arc::default()).map(drop);
            let mappings = line(
                "process/map.all",
                "TLS libraries that other processes load, at no cost for others",
                mappings.map_err(Error::Kernel),
            );
            lines.push(mappings);
            lines.push(probes.tls.try_out(&mut probes.ebpf));
        }
        Err(error) => lines.push(line("maps", "rings and tables in the kernel", Err(error))),
    }
    lines
}
