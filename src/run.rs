//! `onlooker run -- CMD`: watch one command and its children, and nothing else.

use std::{
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitCode, ExitStatus},
    sync::atomic::{AtomicI32, Ordering},
};

use pipeline::{
    Mode,
    config::{Level, Node},
};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
};

use crate::{
    cli::RunArgs,
    error::Error,
    service::{Started, runtime},
};

/// The configuration of `run` and `replay` when none is given: the tree, on the terminal.
pub const BUILT_IN: &str = "
receivers: {ebpf: {}}
processors: {identity: {}, provider: {}, correlation: {}, redaction: {}}
exporters: {stdout: {format: tree, output: stderr}}
service:
  pipelines:
    traces: {receivers: [ebpf], processors: [identity, provider, correlation, redaction], exporters: [stdout]}
";

/// Names of the pipelines of a configuration.
pub fn pipelines(root: &Node) -> Vec<String> {
    let pipelines = root.get("service").and_then(|service| service.get("pipelines"));
    pipelines.map(Node::entries).unwrap_or_default().iter().map(|(id, _)| id.clone()).collect()
}

/// Adds a file exporter for OTLP/JSON lines to every pipeline of traces and logs; where there is no pipeline of logs,
/// one is added beside the first of traces, so that events are in the file too.
pub fn add_output(root: &mut Node, path: &Path) {
    const ID: &str = "file/output";
    root.set(&["exporters", ID, "path"], Node::Str(path.display().to_string()));
    let ids = pipelines(root);
    let of = |signal: &str| ids.iter().filter(|id| id.split('/').next() == Some(signal)).cloned().collect::<Vec<_>>();
    let (traces, logs) = (of("traces"), of("logs"));
    let list = |root: &Node, id: &str, key: &str| match root
        .get("service")
        .and_then(|node| node.get("pipelines")?.get(id)?.get(key).cloned())
    {
        Some(Node::Seq(items)) => items,
        _ => Vec::new(),
    };
    if let (Some(first), true) = (traces.first(), logs.is_empty()) {
        for key in ["receivers", "processors"] {
            let items = list(root, first, key);
            root.set(&["service", "pipelines", "logs/output", key], Node::Seq(items));
        }
        root.set(&["service", "pipelines", "logs/output", "exporters"], Node::Seq(vec![Node::Str(ID.into())]));
    }
    for id in traces.iter().chain(&logs) {
        let mut exporters = list(root, id, "exporters");
        exporters.push(Node::Str(ID.into()));
        root.set(&["service", "pipelines", id, "exporters"], Node::Seq(exporters));
    }
}

/// Watches a command; the exit code is the command's own, or 128 + the signal that killed it.
pub fn run(args: &RunArgs) -> Result<ExitCode, Error> {
    let mut root = args.config.load(Some(BUILT_IN))?;
    if let Some(path) = &args.output {
        add_output(&mut root, path);
    }
    watch(&root, args.record.clone(), &args.command, &[])
}

/// Starts the graph, runs the command under it, stops the graph.
pub fn watch(
    root: &Node,
    record: Option<std::path::PathBuf>,
    command: &[String],
    env: &[(String, String)],
) -> Result<ExitCode, Error> {
    runtime()?.block_on(async {
        let started = Started::start(root, Mode::Run { command: command.to_vec() }, record, Level::Warn).await?;
        let status = tokio::task::block_in_place(|| execute(command, env));
        let stopped = started.stop().await;
        let status = match status {
            Ok(status) => status,
            Err((code, message)) => {
                report(&Error::Message(message));
                return Ok(ExitCode::from(code));
            }
        };
        // The command's exit code is worth more than our own trouble, which is told all the same.
        if let Err(error) = stopped {
            report(&error);
        }
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    })
}

fn report(error: &Error) {
    // A closed stderr leaves only the exit code.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("onlooker: {error}\n").as_bytes());
}

/// Runs the command and waits for it, passing on signals that were sent to us alone.
fn execute(command: &[String], env: &[(String, String)]) -> Result<ExitStatus, (u8, String)> {
    let Some((program, arguments)) = command.split_first() else { return Err((1, "no command was given".into())) };
    let mut child = Command::new(program);
    child.args(arguments).envs(env.iter().map(|(key, value)| (key, value)));
    become_caller(&mut child);
    let failed = |error: std::io::Error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        (code, format!("cannot run {program}: {error}"))
    };
    static CHILD: AtomicI32 = AtomicI32::new(0);
    let signals =
        SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT]);
    let mut signals = signals.map_err(|error| (1, format!("cannot handle signals: {error}")))?;
    let handle = signals.handle();
    let mut child = child.spawn().map_err(failed)?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    CHILD.store(pid, Ordering::SeqCst);
    let forwarder = std::thread::spawn(move || {
        for origin in &mut signals {
            // What the terminal sends goes to its whole foreground group, so the command has it already.
            let pid = CHILD.load(Ordering::SeqCst);
            if origin.process.is_some() && pid > 0 {
                let signal = rustix::process::Signal::from_named_raw(origin.signal);
                if let (Some(signal), Some(pid)) = (signal, rustix::process::Pid::from_raw(pid)) {
                    // The command may have ended just now.
                    let _ = rustix::process::kill_process(pid, signal);
                }
            }
        }
    });
    let status = child.wait().map_err(|error| (1, format!("cannot wait for {program}: {error}")));
    CHILD.store(0, Ordering::SeqCst);
    handle.close();
    let _ = forwarder.join();
    status
}

/// Under sudo, the command runs as the user who called sudo, with that user's groups, HOME, USER and LOGNAME.
fn become_caller(command: &mut Command) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else { return };
    if !rustix::process::geteuid().is_root() || uid == 0 {
        return;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&uid.to_string().as_str()));
    let name = entry
        .as_ref()
        .and_then(|fields| fields.first())
        .map(|name| (*name).to_owned())
        .or_else(|| std::env::var("SUDO_USER").ok());
    if let Some(home) = entry.as_ref().and_then(|fields| fields.get(5)) {
        command.env("HOME", home);
    }
    if let Some(name) = &name {
        command.env("USER", name).env("LOGNAME", name);
    }
    for variable in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"] {
        command.env_remove(variable);
    }
    let name = name.and_then(|name| std::ffi::CString::new(name).ok());
    let switch = move || {
        let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
        // SAFETY: plain system calls between fork and exec, on values that were made before the fork. `initgroups`
        // reads the group database; this process has its runtime's threads, but the lock it may need is libc's own,
        // which glibc resets in the child.
        unsafe {
            match &name {
                Some(name) => check(libc::initgroups(name.as_ptr(), gid))?,
                None => check(libc::setgroups(0, std::ptr::null()))?,
            }
            check(libc::setgid(gid))?;
            check(libc::setuid(uid))
        }
    };
    // SAFETY: the closure only makes the system calls above.
    unsafe { command.pre_exec(switch) };
}
