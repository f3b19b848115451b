//! The commands in a tool's arguments, and whether a process runs one of them.

use pipeline::{mask, observation::ProcessInfo};
use serde_json::Value;

use super::words::{Word, is_operator, words};
use crate::identity::program::{Program, base_name, called_as, is_interpreter, is_shell, program};

/// Deepest level of the arguments that is looked at.
const DEPTH: usize = 4;
/// Most commands of one call.
const COMMANDS: usize = 16;
/// Longest command that is compared.
const LENGTH: usize = 256 << 10;
/// What a cut command must at least have in common.
const CUT: usize = 64;
/// A shorter text that is no command by its name proves nothing.
const OTHER: usize = 4;
/// A shorter command inside a longer script proves nothing.
const CONTAINED: usize = 8;

/// What a tool call asks to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// The commands as text, each also in its masked form (arguments of processes are masked when they are decoded).
    texts: Vec<String>,
    /// Other texts of the arguments: only proof if a process runs exactly this.
    others: Vec<String>,
    /// The commands as argument lists.
    lists: Vec<Vec<String>>,
    /// True if a field says that it is a command, not just code or a script.
    pub explicit: bool,
}

/// Fields that hold a command.
const EXPLICIT: &[&str] =
    &["command", "cmd", "commands", "cmdline", "command_line", "shell_command", "bash_command", "terminal_command"];

/// How well a process fits; greater is better, then the longer command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// A part of a longer script, between separators.
    Contained(usize),
    /// A whole quoted word of a script, or the end of a wrapper's arguments.
    Wrapped(usize),
    /// Exactly this.
    Equal(usize),
}

impl Commands {
    /// The commands in a call's arguments (JSON, or plain text for free-form tools).
    pub fn of(tool: &str, arguments: &str) -> Self {
        let mut found = Self::default();
        if arguments.len() > LENGTH {
            return found;
        }
        match serde_json::from_str::<Value>(arguments) {
            Ok(value) => found.collect(&value, DEPTH),
            // Free-form tools carry the command itself; anything else is JSON that was cut.
            Err(_) if !arguments.trim_start().starts_with(['{', '[', '"']) && runs_by_name(tool) => {
                found.explicit = true;
                found.text(arguments);
            }
            Err(_) => {}
        }
        found
    }

    /// True if the call runs no command, as far as its arguments tell.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.lists.is_empty()
    }

    fn collect(&mut self, value: &Value, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::Object(fields) => {
                if is_file_operation(fields) {
                    return;
                }
                let arguments = fields.get("args").or_else(|| fields.get("arguments")).and_then(strings);
                for (key, value) in fields {
                    let explicit = EXPLICIT.contains(&key.as_str());
                    let alone = !fields.contains_key("command") && matches!(key.as_str(), "args" | "argv");
                    if !explicit && !alone && !matches!(key.as_str(), "script" | "code") {
                        match value {
                            Value::Object(_) | Value::Array(_) => self.collect(value, depth),
                            Value::String(text) => self.other(text),
                            _ => {}
                        }
                        continue;
                    }
                    match value {
                        Value::String(program) => match &arguments {
                            Some(arguments) if explicit => {
                                let list = std::iter::once(program).chain(arguments).cloned().collect();
                                self.list(list);
                            }
                            _ => self.text(program),
                        },
                        Value::Array(items) => match strings(value) {
                            Some(list) if key == "commands" => list.iter().for_each(|text| self.text(text)),
                            Some(list) => self.list(list),
                            None => items.iter().for_each(|item| self.collect(item, depth)),
                        },
                        Value::Object(_) => self.collect(value, depth),
                        _ => continue,
                    }
                    self.explicit |= explicit;
                }
            }
            Value::Array(items) => items.iter().take(COMMANDS).for_each(|item| self.collect(item, depth)),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() || self.texts.len() + self.lists.len() >= COMMANDS {
            return;
        }
        let masked = mask::args(vec!["sh".into(), "-c".into(), text.to_owned()]).pop();
        for form in [Some(text.to_owned()), Some(mask::text(text).into_owned()), masked].into_iter().flatten() {
            if !self.texts.contains(&form) {
                self.texts.push(form);
            }
        }
    }

    fn other(&mut self, text: &str) {
        let text = text.trim();
        if text.len() >= OTHER && text.contains(char::is_whitespace) && self.others.len() < COMMANDS {
            self.others.push(text.to_owned());
        }
    }

    fn list(&mut self, list: Vec<String>) {
        if list.is_empty() || self.texts.len() + self.lists.len() >= COMMANDS {
            return;
        }
        if let [shell, flag, script] = list.as_slice()
            && is_shell(base_name(shell))
            && is_code_flag(flag)
        {
            self.text(script);
        }
        let masked = mask::args(list.clone());
        if masked != list {
            self.lists.push(masked);
        }
        self.lists.push(list);
    }

    /// How well this process fits, if it does.
    pub fn fit(&self, info: &ProcessInfo) -> Option<Fit> {
        let texts = self.texts.iter().filter_map(|text| fit_text(text, info));
        let lists = self.lists.iter().filter_map(|list| fit_list(list, info));
        let exact = |fit: &Fit| matches!(fit, Fit::Equal(_) | Fit::Wrapped(_));
        let others = self.others.iter().filter_map(|text| fit_text(text, info)).filter(exact);
        texts.chain(lists).chain(others).max()
    }

    /// True if this process may run the command although its arguments do not show it: a shell or an interpreter
    /// that reads it from its input, or from a file made for it.
    pub fn may_run(&self, info: &ProcessInfo) -> bool {
        if !is_interpreter(called_as(info)) {
            return false;
        }
        if info.args_truncated || info.args.iter().any(|arg| arg.contains("[REDACTED")) {
            return true;
        }
        match program(info) {
            Program::Script(path) => {
                let temporary = ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/"].iter().any(|dir| path.starts_with(dir));
                let name = base_name(path);
                temporary || self.texts.iter().any(|text| words(text).iter().any(|word| base_name(&word.text) == name))
            }
            Program::Module(_) => false,
            Program::Executable => reads_input(info),
        }
    }
}

/// True for a shell or an interpreter that reads from its input what it is to run.
pub fn reads_input(info: &ProcessInfo) -> bool {
    is_interpreter(called_as(info))
        && program(info) == Program::Executable
        && !info.args.iter().skip(1).any(|arg| is_code_flag(arg) || arg == "--eval")
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Editors and memory tools have a `command` that is a verb on a path, run by the agent itself.
fn is_file_operation(fields: &serde_json::Map<String, Value>) -> bool {
    const VERBS: &[&str] = &["view", "create", "str_replace", "insert", "undo_edit", "delete", "rename"];
    let verb = fields.get("command").and_then(Value::as_str).is_some_and(|verb| VERBS.contains(&verb));
    verb && (fields.contains_key("path") || fields.contains_key("old_path"))
}

fn runs_by_name(tool: &str) -> bool {
    let tool = tool.to_ascii_lowercase();
    ["shell", "bash", "exec", "terminal", "command", "python", "run"].iter().any(|word| tool.contains(word))
}

/// `-c`, `-lc`, `-e`…
fn is_code_flag(arg: &str) -> bool {
    let Some(flags) = arg.strip_prefix('-') else { return false };
    (1..=4).contains(&flags.len())
        && flags.bytes().all(|byte| byte.is_ascii_alphabetic())
        && (flags.ends_with('c') || flags.ends_with('e'))
}

fn fit_text(text: &str, info: &ProcessInfo) -> Option<Fit> {
    let length = text.len();
    let mut best: Option<Fit> = None;
    let mut previous = "";
    for (at, arg) in info.args.iter().enumerate().skip(1) {
        let cut = info.args_truncated && at + 1 == info.args.len();
        let is_script = is_code_flag(previous) || arg.contains(char::is_whitespace);
        previous = arg;
        if is_script {
            best = best.max(fit_script(text, arg, cut));
        }
    }
    // Run without a shell: the words of the command are the arguments, perhaps behind a wrapper.
    if best.is_none_or(|best| best < Fit::Equal(length)) {
        let words = words(text);
        if !words.is_empty() && !words.iter().any(is_operator) {
            let list: Vec<String> = words.into_iter().map(|word| word.text).collect();
            // Secrets are masked by the option before them: only in the list can that be done alike.
            let list = if info.args.iter().any(|arg| arg.contains("[REDACTED:")) { mask::args(list) } else { list };
            best = best.max(fit_arguments(&list, info, length));
        }
    }
    best
}

fn fit_script(text: &str, script: &str, cut: bool) -> Option<Fit> {
    let length = text.len();
    let script = script.trim();
    if script == text || (cut && script.len() >= CUT && text.starts_with(script)) {
        return Some(Fit::Equal(length));
    }
    if script.len() <= length && !cut {
        return None;
    }
    let words = words(script);
    let mut after_eval = false;
    for word in &words {
        let whole = word.text.trim() == text;
        let part = cut && !word.closed && word.text.len() >= CUT && text.starts_with(word.text.trim_start());
        if (whole && (after_eval || (word.quoted && text.contains(char::is_whitespace)))) || part {
            return Some(Fit::Wrapped(length));
        }
        after_eval = !word.quoted && (word.text == "eval" || is_code_flag(&word.text));
    }
    contained(text, script, &words).then_some(Fit::Contained(length))
}

/// True if the command stands in the script as whole commands.
fn contained(text: &str, script: &str, words: &[Word]) -> bool {
    if text.len() < CONTAINED {
        // `cd DIR && ls` is how some agents set the directory.
        let only_cd = matches!(words, [cd, _, and, ..] if cd.text == "cd" && and.text == "&&");
        return only_cd && script.split_once("&&").is_some_and(|(_, rest)| rest.trim() == text);
    }
    let open = |before: &str| {
        let before = before.trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with([';', '&', '|', '(', '{', '\n', '\'', '"'])
    };
    let close = |after: &str| {
        let after = after.trim_start_matches([' ', '\t']);
        after.is_empty() || after.starts_with([';', '&', '|', ')', '}', '\n', '<', '>', '\'', '"'])
    };
    script.match_indices(text).any(|(at, _)| open(&script[..at]) && close(&script[at + text.len()..]))
}

fn fit_list(list: &[String], info: &ProcessInfo) -> Option<Fit> {
    let length = list.iter().map(|word| word.len() + 1).sum::<usize>().saturating_sub(1);
    let shell = info.args.get(2).filter(|_| info.args.get(1).is_some_and(|flag| is_code_flag(flag)));
    let by_shell = shell.is_some_and(|script| {
        let words = words(script);
        !words.iter().any(is_operator) && words.iter().map(|word| &word.text).eq(list.iter())
    });
    if by_shell { Some(Fit::Equal(length)) } else { fit_arguments(list, info, length) }
}

fn fit_arguments(list: &[String], info: &ProcessInfo, length: usize) -> Option<Fit> {
    let (program, rest) = list.split_first()?;
    let at = info.args.len().checked_sub(list.len())?;
    let (name, arguments) = info.args.get(at..)?.split_first()?;
    if arguments != rest || base_name(name) != base_name(program) {
        return None;
    }
    // A single word at the end of other arguments is as likely an operand.
    match at {
        0 => Some(Fit::Equal(length)),
        _ if list.len() > 1 => Some(Fit::Wrapped(length)),
        _ => None,
    }
}

/// True if a tool of this name and these arguments starts another agent (a sub-agent).
pub fn starts_agent(tool: &str, arguments: &str) -> bool {
    const NAMES: &[&str] = &[
        "task",
        "agent",
        "dispatch_agent",
        "spawn_agent",
        "delegate",
        "delegate_task",
        "delegate_to_agent",
        "new_task",
        "run_agent",
        "call_agent",
        "invoke_agent",
        "start_agent",
        "codebase_investigator",
    ];
    let name = tool.to_ascii_lowercase().replace('-', "_");
    NAMES.contains(&name.as_str())
        || name.contains("subagent")
        || name.contains("sub_agent")
        || arguments.contains("\"subagent_type\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(arguments: &str, args: &[&str]) -> Option<Fit> {
        let info = ProcessInfo {
            executable: format!("/bin/{}", base_name(args[0])),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..ProcessInfo::default()
        };
        Commands::of("shell", arguments).fit(&info)
    }

    #[test]
    fn commands_are_found_in_the_ways_that_agents_run_them() {
        let ls = r#"{"command":"ls -la /x"}"#;
        assert_eq!(fit(ls, &["sh", "-c", "ls -la /x"]), Some(Fit::Equal(9)));
        assert_eq!(fit(ls, &["/bin/ls", "-la", "/x"]), Some(Fit::Equal(9)));
        assert_eq!(fit(ls, &["timeout", "5", "ls", "-la", "/x"]), Some(Fit::Wrapped(9)));
        let claude = "source /h/snapshot.sh 2>/dev/null || true && eval 'ls -la /x' \\< /dev/null && pwd -P >| /tmp/c";
        assert_eq!(fit(ls, &["/bin/bash", "-c", claude]), Some(Fit::Wrapped(9)));
        assert_eq!(fit(ls, &["bash", "-lc", "cd /w && ls -la /x; echo $?"]), Some(Fit::Contained(9)));
        assert_eq!(fit(ls, &["sandbox", "--ro", "/", "--", "/bin/bash", "-c", "ls -la /x"]), Some(Fit::Equal(9)));
        let list = r#"{"command":["bash","-lc","echo \"it's\" | wc"],"workdir":"/x"}"#;
        assert!(matches!(fit(list, &["/bin/bash", "-lc", "echo \"it's\" | wc"]), Some(Fit::Equal(_))));
        let quoted = r#"{"cmd":"echo 'a b'"}"#;
        assert_eq!(fit(quoted, &["bash", "-c", r#"eval 'echo '"'"'a b'"'"'' < /dev/null"#]), Some(Fit::Wrapped(10)));
        assert_eq!(fit(quoted, &["bash", "-c", r"eval 'echo '\''a b'\'''"]), Some(Fit::Wrapped(10)));
        assert_eq!(fit(quoted, &["echo", "a b"]), Some(Fit::Equal(10)));
        assert_eq!(fit(r#"{"command":"git","args":["status"]}"#, &["git", "status"]), Some(Fit::Equal(10)));
        assert_eq!(fit(r#"{"input":{"script":"make all"}}"#, &["sh", "-c", "make all"]), Some(Fit::Equal(8)));
        assert_eq!(fit(r#"{"argv":["make","all"]}"#, &["make", "all"]), Some(Fit::Equal(8)));
        assert_eq!(fit(r#"{"what":"make all"}"#, &["sh", "-c", "make all"]), Some(Fit::Equal(8)));
        assert!(fit(r#"{"code":"print(1)"}"#, &["python3", "-c", "print(1)"]).is_some());
    }

    #[test]
    fn what_merely_looks_alike_does_not_fit() {
        for (arguments, args) in [
            (r#"{"command":"ls"}"#, vec!["bash", "-c", "git status && ls"]),
            (r#"{"command":"ls"}"#, vec!["ls", "-la"]),
            (r#"{"command":"ls"}"#, vec!["file", "ls"]),
            (r#"{"command":"git status"}"#, vec!["sh", "-c", "git status --porcelain"]),
            (r#"{"command":"git","args":["status"]}"#, vec!["git", "log"]),
            (r#"{"path":"/x"}"#, vec!["cat", "/x"]),
            (r#"{"text":"make all"}"#, vec!["sh", "-c", "cd /x; make all"]),
            (r#"{"command":"view","path":"/x"}"#, vec!["view"]),
            (r#"{"command":"ls -la"#, vec!["ls", "-la"]),
            ("{}", vec!["ls"]),
        ] {
            assert_eq!(fit(arguments, &args), None, "{arguments} {args:?}");
        }
    }

    #[test]
    fn a_short_command_behind_cd_fits() {
        assert_eq!(fit(r#"{"command":"ls"}"#, &["bash", "-c", "cd /x && ls"]), Some(Fit::Contained(2)));
        assert_eq!(fit(r#"{"command":"ls"}"#, &["bash", "-c", "eval 'ls' < /dev/null"]), Some(Fit::Wrapped(2)));
    }

    #[test]
    fn masked_arguments_fit() {
        let command = "deploy --token abcdefgh12345678 --now";
        let arguments = serde_json::json!({ "command": command }).to_string();
        let list = mask::args(command.split(' ').map(str::to_owned).collect());
        assert!(list[2].starts_with("[REDACTED"), "{list:?}");
        let script = mask::args(vec!["sh".into(), "-c".into(), command.into()]);
        let eval = mask::args(vec!["sh".into(), "-c".into(), format!("source x && eval '{command}' < /dev/null")]);
        for args in [list, script, eval] {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            assert!(fit(&arguments, &args).is_some(), "{args:?}");
        }
    }

    #[test]
    fn cut_arguments_fit_by_what_is_left() {
        let text = "echo ".to_owned() + &"word ".repeat(2000);
        let arguments = serde_json::json!({ "command": text }).to_string();
        for script in [text[..4000].to_owned(), format!("source x && eval '{}", &text[..3900])] {
            let info = ProcessInfo {
                executable: "/bin/bash".into(),
                args: vec!["bash".into(), "-c".into(), script],
                args_truncated: true,
                ..ProcessInfo::default()
            };
            assert!(Commands::of("Bash", &arguments).fit(&info).is_some());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(arguments in ".{0,200}", script in ".{0,200}") {
            let info = ProcessInfo {
                executable: "/bin/sh".into(),
                args: vec!["sh".into(), "-c".into(), script],
                args_truncated: true,
                ..ProcessInfo::default()
            };
            let commands = Commands::of("shell", &arguments);
            let _ = (commands.fit(&info), commands.may_run(&info));
        }

        #[test]
        fn a_quoted_command_is_always_found_behind_eval(text in "[a-z '\"$;|&\\\\]{1,60}") {
            proptest::prop_assume!(!text.trim().is_empty());
            let arguments = serde_json::json!({ "command": text }).to_string();
            let script = format!("source s && eval '{}' < /dev/null", text.trim().replace('\'', r"'\''"));
            let info = ProcessInfo {
                executable: "/bin/sh".into(),
                args: vec!["sh".into(), "-c".into(), script],
                ..ProcessInfo::default()
            };
            proptest::prop_assert!(Commands::of("shell", &arguments).fit(&info).is_some());
        }
    }
}
