//! `onlooker demo`: the main job on a built-in agent and a built-in provider, without an API key.

mod provider;

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use pipeline::config::{Node, Sources};

use crate::{cli::DemoArgs, error::Error, replay, run};

const AGENT: &[u8] = include_bytes!("agent.py");
/// A live run of this demo, made by `onlooker demo --record src/demo/recording.onl`.
const RECORDING: &[u8] = include_bytes!("recording.onl");

/// Shows a live run, or the recorded one where the kernel cannot be watched.
pub fn demo(args: &DemoArgs) -> Result<ExitCode, Error> {
    if args.recorded {
        say("A recorded run: a small Python agent asks a model, which asks for a shell command.\n")?;
        return recorded(args);
    }
    if let Some(reason) = obstacle() {
        if args.record.is_some() {
            return Err(Error::Message(format!("nothing to record: {reason}")));
        }
        say(&format!("No live run: {reason}.\nThis is a recorded one, of a small Python agent that asks a model.\n"))?;
        return recorded(args);
    }
    live(args)
}

/// Why the kernel cannot be watched, and what to do; `None` if it seems it can.
fn obstacle() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("watching the kernel needs root; try `sudo onlooker demo`");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux); it needs one built with CONFIG_DEBUG_INFO_BTF=y",
        );
    }
    None
}

fn live(args: &DemoArgs) -> Result<ExitCode, Error> {
    let Some(python) = find("python3") else {
        let message =
            "the demo's agent needs python3, which is not on PATH: install it, or see `onlooker demo --recorded`";
        return Err(Error::Message(message.into()));
    };
    let provider = provider::start()?;
    let folder = Folder::new()?;
    let agent = folder.write("demo-agent.py", AGENT)?;
    let ca = folder.write("ca.pem", provider.ca_pem.as_bytes())?;
    folder.give_to_caller([&agent, &ca])?;
    say("A small Python agent talks to a model over TLS on loopback and runs the command that the model asks for.\n\
         The agent knows nothing of onlooker: what the tree shows was seen from the kernel.\n")?;
    let command = [python.display().to_string(), agent.display().to_string()];
    let env = [
        ("DEMO_BASE_URL".to_owned(), provider.base_url()),
        ("DEMO_CA_FILE".to_owned(), ca.display().to_string()),
        ("DEMO_API_KEY".to_owned(), "demo-key".to_owned()),
    ];
    let code = match run::watch(&configuration(args)?, args.record.clone(), &command, &env) {
        // It fails only before the agent is started: a container without the capabilities, a locked down kernel.
        Err(error) if args.record.is_none() && !RECORDING.is_empty() => {
            say(&format!("No live run: {error}\n`onlooker doctor` says more. This is a recorded run:\n"))?;
            return recorded(args);
        }
        result => result?,
    };
    say("\nNow on your own agent: onlooker run -- YOUR AGENT")?;
    Ok(code)
}

fn recorded(args: &DemoArgs) -> Result<ExitCode, Error> {
    if RECORDING.is_empty() {
        let message =
            "this build holds no recorded run; as root, on a kernel with BTF, `onlooker demo` shows a live one";
        return Err(Error::Message(message.into()));
    }
    let folder = Folder::new()?;
    let file = folder.write("recording.onl", RECORDING)?;
    let code = replay::replay_with(configuration(args)?, file)?;
    say("\nNow on your own agent, as root: onlooker run -- YOUR AGENT")?;
    Ok(code)
}

/// The built-in configuration, with the tree on stdout.
fn configuration(args: &DemoArgs) -> Result<Node, Error> {
    let mut sources = Sources::default();
    sources.files.push(("the built-in configuration".into(), run::BUILT_IN.into()));
    let mut root = sources.load(&crate::cli::env)?;
    root.set(&["exporters", "stdout", "output"], Node::Str("stdout".into()));
    if let Some(path) = &args.output {
        run::add_output(&mut root, path);
    }
    Ok(root)
}

fn say(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// A program on PATH; rather one that is no script, as the shims of version managers are, which start dozens of processes
/// that say nothing here.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|file| file.is_file());
    let found: Vec<PathBuf> = found.collect();
    found.iter().find(|file| !is_script(file)).or(found.first()).cloned()
}

fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok() && &start == b"#!"
}

/// A temporary folder that only its owner can read; removed at the end.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Self, Error> {
        let base = std::env::temp_dir();
        let failed = |error: std::io::Error| {
            Error::Message(format!("cannot make a temporary folder in {}: {error}; set TMPDIR", base.display()))
        };
        // A left-over of another process with this id is no reason to fail.
        for attempt in 0..100 {
            let path = base.join(format!("onlooker-demo-{}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(std::io::ErrorKind::AlreadyExists.into()))
    }

    fn write(&self, name: &str, content: &[u8]) -> std::io::Result<PathBuf> {
        let path = self.path.join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content)?;
        Ok(path)
    }

    /// Under sudo the agent runs as the caller, who has to read its files. The folder goes last: as long as it is ours,
    /// nobody else can put something else in their place.
    fn give_to_caller(&self, files: [&Path; 2]) -> std::io::Result<()> {
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
        let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else { return Ok(()) };
        for path in files.into_iter().chain([self.path.as_path()]) {
            std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind holds nothing secret.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use std::process::Command;

    use super::*;

    fn python(provider: &provider::Provider, script: &Path, ca: &Path) -> (Option<i32>, String) {
        let mut command = Command::new(find("python3").expect("make deps installs python3"));
        command.arg(script).env("DEMO_BASE_URL", provider.base_url()).env("DEMO_CA_FILE", ca);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_agent_gets_its_answers_and_leaves_nothing_behind() {
        let provider = provider::start().unwrap();
        let folder = Folder::new().unwrap();
        let agent = folder.write("demo-agent.py", AGENT).unwrap();
        let ca = folder.write("ca.pem", provider.ca_pem.as_bytes()).unwrap();
        let (code, text) = python(&provider, &agent, &ca);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("tool: shell: uname -sr; ls /etc | wc -l\n"), "{text}");
        assert!(text.contains(" agent: This host runs Linux "), "{text}");
        assert!(text.ends_with(" agent: I asked for the shell tool, which ran uname and counted the lines of ls.\n"));
        let path = folder.path.clone();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn other_paths_and_bodies_are_refused_and_the_connection_goes_on() {
        const SCRIPT: &str = r#"
import http.client, os, ssl
from urllib.parse import urlsplit
base = urlsplit(os.environ["DEMO_BASE_URL"])
context = ssl.create_default_context(cafile=os.environ["DEMO_CA_FILE"])
connection = http.client.HTTPSConnection(base.hostname, base.port, timeout=30, context=context)
connection.connect()
port = connection.sock.getsockname()[1]
for method, path, body in [("GET", "/v1/models", None), ("POST", "/v1/chat/completions", "{"),
                           ("POST", "/v1/chat/completions", "{}"), ("POST", "/", "x" * 100000)]:
    connection.request(method, path, body)
    response = connection.getresponse()
    response.read()
    print(response.status, connection.sock.getsockname()[1] == port)
"#;
        let provider = provider::start().unwrap();
        let folder = Folder::new().unwrap();
        let script = folder.write("client.py", SCRIPT.as_bytes()).unwrap();
        let ca = folder.write("ca.pem", provider.ca_pem.as_bytes()).unwrap();
        let result = python(&provider, &script, &ca);
        assert_eq!(result, (Some(0), "404 True\n400 True\n400 True\n404 True\n".to_owned()));
    }
}
