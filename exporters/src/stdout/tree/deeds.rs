//! What hangs under a span: the files that its program changed, and what it did that matters for security. One line a path:
//! what came of it in the end. Files that were made and removed again are only counted.

use std::{collections::BTreeMap, sync::Arc};

use pipeline::{
    Kind, Observation, SpanId, errno,
    observation::{Action, Deed, File, ProcessInfo, Security},
    record,
};

use super::network::bytes;
use crate::stdout::text;

/// Lines that a span has at most; those that matter for security have as many again. What is beyond is counted.
const ROWS: usize = 12;

/// Paths of a span that are remembered.
const PATHS: usize = 512;

/// Spans that lines are kept for.
const MOST: usize = 16_384;

/// What came of a path.
#[derive(Debug, Default)]
struct Row {
    path: String,
    /// What it was called first, if it was renamed.
    from: Option<String>,
    created: bool,
    deeds: Vec<(Deed, String)>,
    written: u64,
    read: u64,
    operations: u64,
    errors: Vec<String>,
    sensitive: Option<String>,
}

#[derive(Debug, Default)]
struct Rows {
    process: Option<Arc<ProcessInfo>>,
    /// In the order in which they came.
    rows: Vec<Row>,
    security: Vec<(String, bool, u64)>,
    /// What matters for security beyond those.
    beyond: u64,
    more: u64,
    temporary: u64,
}

/// Lines that wait for their spans.
#[derive(Debug, Default)]
pub struct Deeds {
    spans: BTreeMap<SpanId, Rows>,
}

impl Deeds {
    /// Takes what belongs under a span.
    pub fn take(&mut self, observation: &Observation) {
        if !matches!(observation.kind, Kind::File(_) | Kind::Security(_)) {
            return;
        }
        let Some(context) = observation.context else { return };
        if self.spans.len() >= MOST && !self.spans.contains_key(&context.span_id) {
            return;
        }
        let rows = self.spans.entry(context.span_id).or_default();
        rows.process.get_or_insert_with(|| observation.process.clone());
        match &observation.kind {
            Kind::File(file) => rows.file(file),
            Kind::Security(security) => rows.security(security),
            _ => {}
        }
    }

    /// The lines of a span, with whether they stand out.
    pub fn lines(&mut self, span: SpanId) -> Vec<(String, bool)> {
        self.spans.remove(&span).map(|rows| rows.show()).unwrap_or_default()
    }

    /// Lines of spans that were shown before they came, or never: with the process before them.
    pub fn rest(&mut self) -> Vec<(String, bool)> {
        let mut lines = Vec::new();
        for rows in std::mem::take(&mut self.spans).into_values() {
            let Some(process) = &rows.process else { continue };
            let who = text::escape(&format!("{} [{}]", process.executable_name(), process.key.tgid));
            lines.extend(rows.show().into_iter().map(|(line, failed)| (format!("{who}  {line}"), failed)));
        }
        lines
    }
}

impl Rows {
    fn at(&self, path: &str) -> Option<usize> {
        self.rows.iter().rposition(|row| row.path == path)
    }

    /// The row of a path; none if there are too many.
    fn row(&mut self, path: &str) -> Option<&mut Row> {
        let at = match self.at(path) {
            Some(at) => at,
            None if self.rows.len() < PATHS => {
                self.rows.push(Row { path: path.to_owned(), ..Row::default() });
                self.rows.len() - 1
            }
            None => {
                self.more += 1;
                return None;
            }
        };
        self.rows.get_mut(at)
    }

    fn file(&mut self, file: &File) {
        let done = file.error.is_none();
        // Made and removed by the same program: of no interest afterwards.
        if matches!(file.deed, Deed::Delete | Deed::Rmdir)
            && done
            && let Some(at) = self.at(&file.path)
            && self.rows.get(at).is_some_and(|row| row.created && row.sensitive.is_none())
        {
            self.rows.remove(at);
            self.temporary += 1;
            return;
        }
        if file.deed == Deed::Rename
            && done
            // The two change places.
            && file.flags.unwrap_or(0) & 2 == 0
            && let Some(new) = &file.other
        {
            let known = self.at(&file.path).filter(|at| self.rows.get(*at).is_some_and(|row| row.created));
            let mut row = match known {
                // Written elsewhere, then put in its place: what it is called in the end counts.
                Some(at) => self.rows.remove(at),
                None => Row { from: Some(file.path.clone()), ..Row::default() },
            };
            if let Some(at) = self.at(new) {
                self.rows.remove(at);
            }
            row.path.clone_from(new);
            row.sensitive = row.sensitive.or(file.sensitive.clone());
            row.operations += file.operations;
            if self.rows.len() < PATHS {
                self.rows.push(row);
            } else {
                self.more += 1;
            }
            return;
        }
        let Some(row) = self.row(&file.path) else { return };
        row.operations += file.operations;
        row.sensitive = row.sensitive.take().or(file.sensitive.clone());
        if let Some(error) = file.error {
            let error = format!("{} {}", verb(file.deed), errno::name(error));
            if !row.errors.contains(&error) {
                row.errors.push(error);
            }
            return;
        }
        row.created |= file.created || matches!(file.deed, Deed::Mkdir | Deed::Symlink | Deed::Create);
        row.written += file.written.unwrap_or(0);
        row.read += file.read.unwrap_or(0);
        let detail = match file.deed {
            Deed::Chmod => file.mode.map(|mode| format!("{:04o}", mode & 0o7777)),
            Deed::Chown => {
                Some([file.owner, file.group].map(|id| id.map(|id| id.to_string()).unwrap_or_default()).join(":"))
            }
            Deed::Truncate => file.length.map(bytes),
            Deed::Symlink | Deed::Link | Deed::Rename | Deed::Setxattr | Deed::Removexattr => file.other.clone(),
            _ => None,
        };
        row.deeds.retain(|(deed, _)| *deed != file.deed);
        row.deeds.push((file.deed, detail.unwrap_or_default()));
    }

    fn security(&mut self, security: &Security) {
        // The file's own line says it.
        if let Action::SensitiveFile { .. } = security.action {
            return;
        }
        let error = security.error.map(|error| format!("  {}", errno::name(error))).unwrap_or_default();
        let line = format!("! {}{error}", action(security));
        if let Some((.., count)) = self.security.iter_mut().find(|(known, ..)| *known == line) {
            *count += security.operations;
        } else if self.security.len() < ROWS {
            // Buffers, mostly.
            let failed = !matches!(security.action, Action::Memfd { .. } | Action::IoUring { .. });
            self.security.push((line, failed, security.operations));
        } else {
            self.beyond += security.operations;
        }
    }

    fn show(&self) -> Vec<(String, bool)> {
        let cwd = self.process.as_ref().and_then(|process| process.cwd.as_deref());
        let cwd = cwd.map(|cwd| format!("{}/", cwd.trim_end_matches('/')));
        let short =
            |path: &str| cwd.as_ref().and_then(|cwd| path.strip_prefix(cwd.as_str())).unwrap_or(path).to_owned();
        let mut lines: Vec<(String, bool)> = self
            .security
            .iter()
            .map(|(line, failed, count)| {
                (text::escape(&if *count > 1 { format!("{line}  {count}×") } else { line.clone() }), *failed)
            })
            .collect();
        if self.beyond > 0 {
            lines.push((format!("! … {} more of this kind", self.beyond), true));
        }
        let (special, plain): (Vec<&Row>, Vec<&Row>) = self.rows.iter().partition(|row| row.sensitive.is_some());
        // What a version control system keeps for itself comes last, then what changed nothing.
        let (mut plain, failed): (Vec<&Row>, Vec<&Row>) = plain.into_iter().partition(|row| !row.failed());
        plain.sort_by_key(|row| row.path.contains("/.git/"));
        plain.extend(failed);
        for row in special.iter().take(ROWS).chain(plain.iter().take(ROWS)) {
            lines.push((text::escape(&row.line(&short)), row.sensitive.is_some() || row.failed()));
        }
        let more = special.len().saturating_sub(ROWS) + plain.len().saturating_sub(ROWS);
        let more = self.more + more as u64;
        let mut rest = Vec::new();
        if more > 0 {
            rest.push(format!("… {more} more files"));
        }
        if self.temporary > 0 {
            rest.push(format!("{} made and removed again", self.temporary));
        }
        if !rest.is_empty() {
            lines.push((rest.join(", "), false));
        }
        lines
    }
}

impl Row {
    /// True if nothing that was tried succeeded.
    fn failed(&self) -> bool {
        !self.errors.is_empty() && self.deeds.is_empty() && self.from.is_none() && !self.created
    }

    fn line(&self, short: &dyn Fn(&str) -> String) -> String {
        let mut words = Vec::new();
        if let Some(from) = &self.from {
            words.push(format!("renamed from {}", short(from)));
        }
        for (deed, detail) in &self.deeds {
            words.push(match deed {
                Deed::Write if self.created => "created".to_owned(),
                Deed::Link => format!("linked as {}", short(detail)),
                Deed::Symlink => format!("symlink to {detail}"),
                Deed::Rename => format!("exchanged with {}", short(detail)),
                Deed::Setxattr => format!("{detail} set"),
                Deed::Removexattr => format!("{detail} removed"),
                Deed::Truncate => format!("truncated to {detail}"),
                Deed::Chmod => format!("mode {detail}"),
                Deed::Chown => format!("owner {detail}"),
                deed => verb(*deed).to_owned(),
            });
        }
        words.extend(self.errors.iter().cloned());
        if self.written > 0 {
            words.push(format!("{} written", bytes(self.written)));
        }
        if self.read > 0 {
            words.push(format!("{} read", bytes(self.read)));
        }
        let mark = if self.sensitive.is_some() { "! " } else { "" };
        let mut line = format!("{mark}{}  {}", short(&self.path), words.join(", "));
        if self.path.ends_with("/*") {
            line.push_str(&format!("  {}×", self.operations));
        }
        if let Some(category) = &self.sensitive {
            line.push_str(&format!("  ({category})"));
        }
        line
    }
}

fn verb(deed: Deed) -> &'static str {
    match deed {
        Deed::Read => "opened",
        Deed::Write => "changed",
        Deed::Create => "created",
        Deed::Delete => "deleted",
        Deed::Rename => "renamed",
        Deed::Link => "linked",
        Deed::Symlink => "symlink",
        Deed::Truncate => "truncated",
        Deed::Chmod => "mode",
        Deed::Chown => "owner",
        Deed::Mkdir => "folder made",
        Deed::Rmdir => "folder removed",
        Deed::Setxattr => "attribute set",
        Deed::Removexattr => "attribute removed",
    }
}

fn action(security: &Security) -> String {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    match &security.action {
        Action::SetUser { old, new } => {
            format!("user {}/{}/{} → {}/{}/{}", old.real, old.effective, old.saved, new.real, new.effective, new.saved)
        }
        Action::SetGroup { old, new } => {
            format!("group {}/{}/{} → {}/{}/{}", old.real, old.effective, old.saved, new.real, new.effective, new.saved)
        }
        Action::SetFileSystemId { group, old, new } => {
            format!("file system {} {old} → {new}", if *group { "group" } else { "user" })
        }
        Action::SetGroups { groups, count } => {
            let ids: Vec<String> = groups.iter().map(u32::to_string).collect();
            let more = if *count > groups.len() as u64 { ", …" } else { "" };
            format!("groups {}{more}", if ids.is_empty() { "none".to_owned() } else { ids.join(", ") })
        }
        Action::Descriptor { target } => format!("takes a descriptor of process {}", target.pid),
        Action::System { name, request, target } => {
            let target = target.map(|target| format!("process {}", target.pid));
            let words = [Some(security.call.to_owned()), name.clone(), request.clone(), target];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Action::IoUring { operation } => {
            let what = operation.map_or_else(|| "made".to_owned(), record::ring_operation);
            format!("io_uring: {what}, not seen further")
        }
        Action::Capabilities { old, new } => format!("capabilities {old:#x} → {new:#x}"),
        Action::Trace { target, .. } => format!("traces process {}", target.pid),
        Action::Memory { write, target, bytes: moved } => {
            let what = if *write { "writes to" } else { "reads from" };
            format!("{what} the memory of process {}, {}", target.pid, bytes(*moved))
        }
        Action::Mount { source, target, .. } => format!("mounts {} at {}", or(source), or(target)),
        Action::Unmount { target, .. } => format!("unmounts {}", or(target)),
        Action::Root { target } => format!("root directory {}", or(target)),
        Action::Namespaces { flags } => format!("{} {}", security.call, record::namespaces(*flags).join(" ")),
        Action::Module { name, removed: true } => format!("removes kernel module {}", or(name)),
        Action::Module { name, removed: false } => format!("loads kernel module {}", or(name)),
        Action::Bpf { command } => format!("bpf command {command}"),
        Action::Memfd { name } => format!("file in memory {}", or(name)),
        Action::MemfdExec { name } => format!("runs a file in memory: {}", or(name)),
        Action::Bind { address } => format!("binds {address}"),
        Action::Signal { signal, target } => {
            format!("{} to process {}", record::signal_name(signal.cast_signed()), target.pid)
        }
        Action::SensitiveFile { path, .. } => path.clone(),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{SpanContext, Timestamp, TraceId, observation::Target};

    use super::*;

    const SPAN: SpanId = SpanId([2; 8]);

    fn observed(kind: Kind) -> Observation {
        let info = ProcessInfo { cwd: Some("/w".into()), ..ProcessInfo::default() };
        let mut observation = Observation::new(Timestamp(5), Arc::new(info), kind);
        observation.context = Some(SpanContext { trace_id: TraceId([1; 16]), span_id: SPAN, parent_span_id: None });
        observation
    }

    fn shown(files: Vec<File>) -> Vec<String> {
        let mut deeds = Deeds::default();
        files.into_iter().for_each(|file| deeds.take(&observed(Kind::File(Box::new(file)))));
        deeds.lines(SPAN).into_iter().map(|(line, failed)| if failed { format!("{line} <") } else { line }).collect()
    }

    fn written(path: &str) -> File {
        File { created: true, written: Some(3), ..File::new(Deed::Write, path) }
    }

    #[test]
    fn a_path_is_a_line_that_says_what_came_of_it() {
        let rename = File { other: Some("/w/config".into()), ..File::new(Deed::Rename, "/w/config.lock") };
        let refused = File { error: Some(13), ..File::new(Deed::Delete, "/etc/x") };
        let read = File { read: Some(9), sensitive: Some("accounts".into()), ..File::new(Deed::Read, "/etc/shadow") };
        let lines = shown(vec![
            written("/w/a"),
            File { mode: Some(0o100_755), ..File::new(Deed::Chmod, "/w/a") },
            written("/w/config.lock"),
            rename,
            written("/w/t"),
            File::new(Deed::Delete, "/w/t"),
            File::new(Deed::Delete, "/w/old"),
            refused,
            read,
        ]);
        assert_eq!(
            lines,
            [
                "! /etc/shadow  opened, 9 B read  (accounts) <",
                "a  created, mode 0755, 3 B written",
                "config  created, 3 B written",
                "old  deleted",
                "/etc/x  deleted EACCES <",
                "1 made and removed again",
            ]
        );
    }

    #[test]
    fn lines_are_bounded() {
        let lines = shown((0..2000).map(|n| written(&format!("/w/\u{1b}{n}"))).collect());
        assert_eq!(lines.len(), ROWS + 1);
        assert_eq!(lines[0], "\\u{1b}0  created, 3 B written");
        assert_eq!(lines[ROWS], "… 1988 more files");
    }

    #[test]
    fn rights_stand_out() {
        let mut deeds = Deeds::default();
        let action = Action::Signal { signal: 9, target: Target { pid: 7, inner: false, process: None } };
        for _ in 0..2 {
            let security = Security { action: action.clone(), call: "kill", error: Some(1), operations: 1 };
            deeds.take(&observed(Kind::Security(Box::new(security))));
        }
        assert_eq!(deeds.lines(SPAN), [("! SIGKILL to process 7  EPERM  2×".to_owned(), true)]);
    }

    #[test]
    fn what_is_beyond_the_bound_is_counted_as_what_it_is() {
        let mut deeds = Deeds::default();
        for pid in 0..ROWS as i64 + 3 {
            let action = Action::Signal { signal: 9, target: Target { pid, inner: false, process: None } };
            deeds.take(&observed(Kind::Security(Box::new(Security {
                action,
                call: "kill",
                error: None,
                operations: 2,
            }))));
        }
        let lines = deeds.lines(SPAN);
        assert_eq!(lines.len(), ROWS + 1);
        assert_eq!(lines[ROWS], ("! … 6 more of this kind".to_owned(), true));
    }

    #[test]
    fn what_changed_nothing_comes_last() {
        let refused = File { error: Some(2), ..File::new(Deed::Write, "/w/a") };
        let lines = shown(vec![refused, written("/w/.git/config"), written("/w/b")]);
        assert_eq!(lines, ["b  created, 3 B written", ".git/config  created, 3 B written", "a  changed ENOENT <"]);
    }
}
