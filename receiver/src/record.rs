//! Recordings: the raw events of a run in a file, so that a replay gives the same observations on any machine.
//!
//! A file is [`MAGIC`], a version (u16, little endian), then frames: length (u32, little endian, of what follows), one
//! byte that says the kind, the content. The first frame is the [`Header`]. Observations are a function of the frames:
//! what was read from /proc is in them as [`Facts`], what the kubelet told as [`Frame::Pods`], the passing of time as [`Frame::Tick`].
//!
//! No secret is written: arguments are masked when they are decoded, of the environment only markers are read, and
//! [`mask`] overwrites credentials in plaintext.

pub mod codec;
pub mod mask;
mod reader;
mod writer;

use std::collections::BTreeMap;

use pipeline::{
    ProcessKey,
    observation::{Build, Heartbeat, Host, Workload},
    providers::Table,
};
use serde::{Deserialize, Serialize};

use crate::{
    event::{Clock, Event},
    targets::{pods::Told, rules::Rule},
};

pub use reader::Reader;
pub use writer::Recorder;

/// First bytes of a recording.
pub const MAGIC: &[u8; 12] = b"onlooker-rec";

/// Version of the format that this program writes, and the only one that it reads.
pub const VERSION: u16 = 1;

/// One entry of a recording.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Where and how it was recorded. First, and once.
    Header(Box<Header>),
    /// What was read from /proc about a process. Comes before the exec that it belongs to.
    Facts(Box<Facts>),
    /// What a probe told.
    Event(Event),
    /// Nothing earlier than this time (ns since boot) is still to come.
    Tick(u64),
    /// A sign of life at this time (ns since boot).
    Heartbeat(u64, Box<Heartbeat>),
    /// What the kubelet told anew.
    Pods(Box<Told>),
}

/// Where and how it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The machine.
    pub host: Host,
    /// What turns the times of events into wall time.
    pub clock: Clock,
    /// What decides which events become observations.
    pub settings: Settings,
}

/// Which processes become observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All that the kernel reports: it reports one tree only (`onlooker run`).
    #[default]
    Tree,
    /// Known agents, whoever calls a known provider, and what the rules include.
    Auto,
    /// What the rules include.
    Rules,
}

/// The part of the configuration that observations depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which processes are told of.
    pub scope: Scope,
    /// Processes to watch.
    pub include: Vec<Rule>,
    /// Processes never to watch.
    pub exclude: Vec<Rule>,
    /// Whether the children of a watched process are watched.
    pub follow_children: bool,
    /// Whether process events are told.
    pub process: bool,
    /// Whether connections are told.
    #[serde(default)]
    pub network: bool,
    /// Whether look-ups of names are told.
    #[serde(default)]
    pub dns: bool,
    /// What is told of files, if anything.
    #[serde(default)]
    pub files: Option<FileSettings>,
    /// Whether changes of rights and the like are told.
    #[serde(default)]
    pub security: bool,
    /// How much of what a process did before it was recognised is told, ns.
    #[serde(default = "lookback")]
    pub lookback: u64,
    /// Bytes of a body that are kept; 0 = all.
    pub max_body_size: u64,
    /// Bytes of all buffered streams together.
    pub memory_limit: u64,
    /// The operator's own hosts and paths of models.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub providers: Table,
}

/// What recordings have that do not say it.
fn lookback() -> u64 {
    30_000_000_000
}

/// Which files are told that were only opened for reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// Sensitive ones.
    #[default]
    Sensitive,
    /// All.
    All,
    /// None.
    None,
}

/// What is told of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSettings {
    /// Which reads are told.
    pub reads: Reads,
    /// Globs of paths that are sensitive beside the known ones; with a `!` in front: of those that are not.
    pub sensitive_paths: Vec<String>,
}

/// What was read from /proc about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which process. For one that was running before, its start time is rounded down to clock ticks.
    pub process: ProcessKey,
    /// For a process that was running before: what the kernel would have told at its exec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// Path of its executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Which build of its executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Name of its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Path of its cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Those of `ProcessInfo::MARKERS` that its environment has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub markers: BTreeMap<String, String>,
}

/// A process that was running before onlooker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its parent, with a start time rounded down to clock ticks.
    pub parent: Option<ProcessKey>,
    /// Arguments, masked.
    pub args: Vec<String>,
    /// True if there was more.
    pub args_truncated: bool,
    /// Working directory.
    pub cwd: Option<String>,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}
