//! The command line without the kernel: help, validation, bad input, degradation. No root, no network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "these are tests"
)]

use std::{
    path::Path,
    process::{Command, Output},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn onlooker(arguments: &[&str]) -> Output {
    // Only what a test sets is in the environment.
    Command::new(env!("CARGO_BIN_EXE_onlooker"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("config.yaml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn every_shipped_configuration_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "an invented key of more than 32 bytes, for this test only").unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(format!("{ROOT}/configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        // Every variable that the file names without a default is set to something that fits.
        let text = std::fs::read_to_string(&path).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_onlooker"));
        command.env_clear().args(["validate", "--config"]).arg(&path);
        for part in text.split("${env:").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if part[name.len()..].starts_with(":-") && !name.ends_with("KEY_FILE") {
                continue;
            }
            let value = match name.as_str() {
                name if name.ends_with("KEY_FILE") => key.display().to_string(),
                name if name.ends_with("ENDPOINT") || name.ends_with("URL") => "https://collector.example:4317".into(),
                _ => "canary".into(),
            };
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", path.display(), stderr(&output));
        assert!(output.stdout.is_empty());
    }
    assert!(count >= 6, "{count} configurations");
}

/// Of the DaemonSet's configuration, also what is a comment for whoever wants it.
#[test]
fn the_daemonsets_configuration_is_valid_as_it_is_and_with_all_that_it_offers() {
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::read_to_string(format!("{ROOT}/deploy/daemonset.yaml")).unwrap();
    let block = file.split("config.yaml: |\n").nth(1).and_then(|rest| rest.split("\n---").next()).unwrap();
    let offered = |line: &str| -> Option<String> {
        let (indent, comment) = line.split_once("# ").filter(|(before, _)| before.trim().is_empty())?;
        let key = comment.trim_start().split_once(':')?.0;
        let is_key = key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        is_key.then(|| format!("{indent}{comment}"))
    };
    let all: Vec<String> = block.lines().map(|line| offered(line).unwrap_or_else(|| line.to_owned())).collect();
    let all = all.join("\n");
    assert!(all.contains("\n        kubernetes:") && all.contains("\n          kubelet:"), "{all}");
    for text in [block, &all] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onlooker"));
        command.env_clear().envs([("NODE_IP", "192.0.2.1"), ("ONLOOKER_OTLP_ENDPOINT", "collector.example:4317")]);
        let output = command.args(["validate", "--config", &write(folder.path(), text)]).output().unwrap();
        assert!(output.status.success(), "{text}\n{}", stderr(&output));
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_path_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(
        folder.path(),
        "receivers: {ebpf: {agnets: auto, max_body_size: lots}}\nprocessors: {identity: , corelation: }\n\
         exporters: {otlp_grpc: {endpoint: '${env:NO_SUCH_VARIABLE:-}', sending_queue: {queue_size: many}}, file: }\n\
         service: {pipelines: {traces: {receivers: [ebpf], processors: [identity, correlation], exporters: [otlp_grpc, debug]}}}\n",
    );
    let output = onlooker(&["validate", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for expected in [
        "receivers::ebpf::agnets: unknown key \"agnets\" (did you mean \"agents\"?)",
        "receivers::ebpf::max_body_size: invalid size \"lots\"",
        "processors::corelation: unknown type",
        "did you mean \"correlation\"?",
        "exporters::otlp_grpc::sending_queue::queue_size",
        "exporters::file::path: must not be empty",
        "references processor \"correlation\" which is not configured",
        "references exporter \"debug\" which is not configured",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

#[test]
fn a_missing_variable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(
        folder.path(),
        "exporters: {otlp_http: {endpoint: 'https://x', headers: {x-team: '${env:ONLOOKER_TEST_UNSET}'}}}\n",
    );
    let output = onlooker(&["validate", "--config", &config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output)
            .contains("exporters::otlp_http::headers::x-team: environment variable ONLOOKER_TEST_UNSET is not set"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn duplicate_keys_and_missing_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "receivers: {ebpf: }\nreceivers: {ebpf: }\n");
    assert!(stderr(&onlooker(&["validate", "--config", &config])).contains("duplicate"));
    let missing = onlooker(&["validate", "--config", "/nonexistent.yaml"]);
    assert!(missing.status.code() == Some(1) && stderr(&missing).contains("cannot read /nonexistent.yaml"));
    let none = onlooker(&["validate"]);
    assert!(none.status.code() == Some(1) && stderr(&none).contains("at least one --config flag must be provided"));
}

#[test]
fn printed_configurations_hide_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(
        folder.path(),
        "receivers: {ebpf: }\nexporters: {otlp_http: {endpoint: 'https://x.example', headers: {x-team: canary-1}}}\n\
         service: {pipelines: {traces: {receivers: [ebpf], exporters: [otlp_http]}}}\n",
    );
    let output =
        onlooker(&["print-config", "--config", &config, "--set", "exporters.otlp_http.headers.authorization=canary-2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("x-team: '[REDACTED]'") && !stdout(&output).contains("canary"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn components_and_help_are_there() {
    let text = stdout(&onlooker(&["components"]));
    for name in [
        "ebpf",
        "replay",
        "identity",
        "provider",
        "correlation",
        "redaction",
        "signing",
        "batch",
        "otlp_grpc",
        "otlp_http",
        "file",
        "stdout",
    ] {
        assert!(text.contains(&format!("  - name: {name}\n")), "{name}\n{text}");
    }
    let help = stdout(&onlooker(&["--help"]));
    for command in ["run", "validate", "components", "print-config", "doctor", "demo", "replay", "verify", "--config"] {
        assert!(help.contains(command), "{command}");
    }
}

/// Without rights: a clear error that says what to do, and the command is not run unwatched.
#[test]
fn without_rights_the_error_says_what_to_do() {
    let binary = env!("CARGO_BIN_EXE_onlooker");
    let folder = tempfile::tempdir().unwrap();
    let output = if rustix::process::geteuid().is_root() {
        // Others may not search the path to the build, so a copy is run.
        let copy = folder.path().join("onlooker");
        std::fs::copy(binary, &copy).unwrap();
        Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().unwrap();
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
            .arg(copy)
            .args(["run", "--", "echo", "ran"])
            .output()
    } else {
        Command::new(binary).args(["run", "--", "echo", "ran"]).output()
    };
    let Ok(output) = output else {
        return eprintln!("SKIPPED without_rights_the_error_says_what_to_do: no setpriv here");
    };
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "the command was run");
    let text = stderr(&output);
    assert!(text.contains("receivers::ebpf") && (text.contains("sudo") || text.contains("BTF")), "{text}");
}

/// A kernel without BTF: `run` and the demo say so; the demo shows the recorded run. Where mounts may be made.
#[test]
fn without_btf_it_is_told_and_the_demo_is_a_recorded_one() {
    let (binary, btf) = (env!("CARGO_BIN_EXE_onlooker"), "/sys/kernel/btf");
    let without = |command: &str| {
        Command::new("unshare")
            .args(["--mount", "sh", "-c", &format!("mount -t tmpfs none {btf} && {command}")])
            .env("ONLOOKER", binary)
            .output()
    };
    let possible = rustix::process::geteuid().is_root()
        && Path::new(btf).exists()
        && without("true").is_ok_and(|output| output.status.success());
    if !possible {
        return eprintln!("SKIPPED without_btf_it_is_told_and_the_demo_is_a_recorded_one: mounts cannot be made here");
    }
    let run = without("\"$ONLOOKER\" run -- echo ran").unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stdout.is_empty(), "the command was run");
    assert!(stderr(&run).contains("this kernel has no BTF"), "{}", stderr(&run));
    let demo = without("\"$ONLOOKER\" demo").unwrap();
    assert!(demo.status.success(), "{}", stderr(&demo));
    let text = stdout(&demo) + &stderr(&demo);
    for expected in ["No live run: this kernel has no BTF", "execute_tool shell"] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

/// The demo's recording, replayed: no root, no kernel, the same tree on any machine.
#[test]
fn the_recorded_demo_shows_the_whole_tree() {
    let output = onlooker(&["replay", &format!("{ROOT}/src/demo/recording.onl")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for expected in ["invoke_agent demo-agent", "├─ chat ", "execute_tool shell", "matched by command", "exit 0"] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

/// An unreachable endpoint: the command ends in bounded time, and says what was not delivered.
#[test]
fn an_unreachable_endpoint_is_told_with_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    for exporter in [
        "otlp_grpc: {endpoint: 'http://127.0.0.1:9', timeout: 1s}",
        "otlp_http: {endpoint: 'http://127.0.0.1:9', timeout: 1s}",
    ] {
        let name = exporter.split(':').next().unwrap();
        let config = write(
            folder.path(),
            &format!(
                "receivers: {{ebpf: }}\nprocessors: {{identity: , provider: , correlation: }}\nexporters: {{{exporter}}}\n\
                 service: {{pipelines: {{traces: {{receivers: [ebpf], processors: [identity, provider, correlation], exporters: [{name}]}}}}}}\n"
            ),
        );
        let output = onlooker(&["replay", "--config", &config, &format!("{ROOT}/src/demo/recording.onl")]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let text = stderr(&output);
        assert!(text.contains(&format!("exporters::{name}")) && text.contains("span"), "{text}");
    }
}

/// All that was seen is exported, dropped for a told reason, or pending: the last words of each stage say so.
#[test]
fn all_that_was_seen_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.jsonl");
    let all = "receivers: [ebpf], processors: [identity, provider, correlation, batch], exporters: [otlp_http, file]";
    let config = write(
        folder.path(),
        &format!(
            "receivers: {{ebpf: }}\nprocessors: {{identity: , provider: , correlation: , batch: , metrics: }}\n\
             exporters: {{otlp_http: {{endpoint: 'http://127.0.0.1:9', timeout: 1s}}, file: {{path: {}}}}}\n\
             service:\n  telemetry: {{logs: {{level: info}}}}\n  pipelines:\n    traces: {{{all}}}\n    logs: {{{all}}}\n    \
             metrics: {{receivers: [ebpf], processors: [identity, provider, metrics], exporters: [file]}}\n",
            file.display()
        ),
    );
    let output = onlooker(&["replay", "--config", &config, &format!("{ROOT}/src/demo/recording.onl")]);
    let text = stderr(&output);
    assert!(!text.contains("Not everything"), "{text}");
    let stage = |name: &str| {
        let line = text.lines().find(|line| line.contains("accounted for") && line.contains(&format!("{name:?}")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        ["given", "passed", "dropped", "pending"].map(|field| {
            let (_, rest) = line.split_once(&format!(" {field}=")).unwrap();
            rest.split(' ').next().unwrap().parse::<u64>().unwrap()
        })
    };
    let [given, passed, dropped, pending] = stage("exporter otlp_http traces");
    assert!(given > 0 && dropped == given && passed == 0 && pending == 0, "{text}");
    let [written, ..] = stage("exporter file traces");
    assert_eq!(written, given, "{text}");
    let [given, passed, dropped, pending] = stage("processor correlation");
    assert!(given > 0 && passed == given && dropped == 0 && pending == 0, "{text}");
    assert!(stage("processor metrics")[1] > 0);
    let spans = std::fs::read_to_string(&file).unwrap().matches("\"spanId\"").count();
    assert!(spans as u64 >= written, "{spans} of {written}");
}

/// A recording that is none, and one that is cut.
#[test]
fn a_broken_recording_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.onl");
    std::fs::write(&path, "not a recording").unwrap();
    let output = onlooker(&["replay", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("receivers::replay"), "{}", stderr(&output));
}

/// What a component's README says is what its configuration has.
#[test]
fn tables_in_the_readme_files_name_real_keys() {
    for (readme, section, id) in [
        ("receiver/src/ebpf/README.md", "receivers", "ebpf"),
        ("exporters/src/file/README.md", "exporters", "file"),
        ("exporters/src/stdout/README.md", "exporters", "stdout"),
        ("exporters/src/otlp_grpc/README.md", "exporters", "otlp_grpc"),
        ("exporters/src/otlp_http/README.md", "exporters", "otlp_http"),
        ("processors/src/correlation/README.md", "processors", "correlation"),
        ("processors/src/provider/README.md", "processors", "provider"),
        ("processors/src/redaction/README.md", "processors", "redaction"),
        ("processors/src/signing/README.md", "processors", "signing"),
    ] {
        let text = std::fs::read_to_string(format!("{ROOT}/{readme}")).unwrap();
        let mut documented: Vec<String> = text
            .lines()
            .skip_while(|line| !line.starts_with("| key |"))
            .take_while(|line| line.starts_with('|'))
            .filter_map(|line| {
                line.strip_prefix("| `")?
                    .split('`')
                    .next()
                    .map(|key| key.split(['.', ':', '[']).next().unwrap_or(key).to_owned())
            })
            .collect();
        documented.sort_unstable();
        documented.dedup();
        // An unknown key makes the error list the known ones.
        let output = onlooker(&["validate", "--config", &format!("yaml:{section}: {{{id}: {{'???': 1}}}}")]);
        let message = stderr(&output);
        let known = message
            .split("known keys: ")
            .nth(1)
            .and_then(|rest| rest.split(')').next())
            .unwrap_or_else(|| panic!("{message}"));
        let mut known: Vec<String> = known.split(", ").map(ToOwned::to_owned).collect();
        known.sort_unstable();
        assert_eq!(documented, known, "{readme}");
    }
}
