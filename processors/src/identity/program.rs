//! What a command line runs: a script, a module, code in the arguments, or the executable itself.

use pipeline::observation::ProcessInfo;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program<'a> {
    /// An interpreter with a script file: its path as given.
    Script(&'a str),
    /// `-m module`.
    Module(&'a str),
    /// The executable: no interpreter, or one with code in its arguments or on its input.
    Executable,
}

/// How an interpreter reads its arguments.
struct Interpreter {
    /// Options after which comes code, not a script.
    code: &'static [&'static str],
    /// Options that take the next argument.
    valued: &'static [&'static str],
    /// Words before the script (`bun run x.ts`).
    verbs: &'static [&'static str],
    /// The option before a module.
    module: Option<&'static str>,
    /// Short options may be joined, as `-lc`.
    joined: bool,
}

const PYTHON: Interpreter = Interpreter {
    code: &["-c"],
    valued: &["-W", "-X", "--check-hash-based-pycs"],
    verbs: &[],
    module: Some("-m"),
    joined: true,
};
const NODE: Interpreter = Interpreter {
    code: &["-e", "--eval", "-p", "--print", "-pe"],
    valued: &[
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "-C",
        "--conditions",
        "--env-file",
        "--preload",
        "--cwd",
        "--config",
    ],
    verbs: &["run", "x"],
    module: None,
    joined: false,
};
const SHELL: Interpreter = Interpreter {
    code: &["-c"],
    valued: &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"],
    verbs: &[],
    module: None,
    joined: true,
};
const SCRIPTING: Interpreter =
    Interpreter { code: &["-e", "-E"], valued: &["-I", "-r", "-C"], verbs: &[], module: None, joined: false };

/// True for shells: they take a command as `-c`.
pub fn is_shell(name: &str) -> bool {
    matches!(name, "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" | "mksh" | "fish")
}

fn interpreter(name: &str) -> Option<&'static Interpreter> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    match stem {
        "python" | "pypy" | "python-dbg" => Some(&PYTHON),
        "node" | "nodejs" | "bun" | "deno" => Some(&NODE),
        "ruby" | "perl" | "php" => Some(&SCRIPTING),
        _ if is_shell(stem) => Some(&SHELL),
        _ => None,
    }
}

/// True if this is the name of an interpreter or a shell.
pub fn is_interpreter(name: &str) -> bool {
    interpreter(name).is_some()
}

/// The last part of a path.
pub fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The base name of a script without the extension of its language.
pub fn stem(path: &str) -> &str {
    const EXTENSIONS: &[&str] =
        &["py", "pyc", "pyz", "js", "mjs", "cjs", "ts", "mts", "tsx", "jsx", "rb", "pl", "php", "sh", "bash", "zsh"];
    let base = base_name(path);
    match base.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && EXTENSIONS.contains(&extension) => stem,
        _ => base,
    }
}

/// The name by which a process runs: of a multi-call binary the name it was called by.
pub fn called_as(info: &ProcessInfo) -> &str {
    let name = info.executable_name();
    if matches!(name, "busybox" | "toybox" | "coreutils") {
        let called = info.args.first().map(|arg| base_name(arg).trim_start_matches('-')).unwrap_or_default();
        return if called.is_empty() { name } else { called };
    }
    name
}

/// What a process runs.
pub fn program(info: &ProcessInfo) -> Program<'_> {
    let Some(interpreter) = interpreter(called_as(info)) else { return Program::Executable };
    let mut args = info.args.iter().skip(1).map(String::as_str);
    let mut verbs = interpreter.verbs;
    while let Some(arg) = args.next() {
        if arg == "--" {
            return args.next().map_or(Program::Executable, Program::Script);
        }
        if interpreter.module == Some(arg) {
            return args.next().map_or(Program::Executable, Program::Module);
        }
        let joined_code = interpreter.joined
            && arg.starts_with('-')
            && !arg.starts_with("--")
            && arg.len() > 2
            && arg.ends_with('c')
            && arg.bytes().skip(1).all(|byte| byte.is_ascii_alphabetic());
        if interpreter.code.contains(&arg) || joined_code || arg == "-" {
            return Program::Executable;
        }
        if interpreter.valued.contains(&arg) {
            args.next();
        } else if arg.starts_with('-') || arg.starts_with('+') || arg.is_empty() {
            // An option without a value, or with it in the same word.
        } else if verbs.contains(&arg) {
            verbs = &[];
        } else {
            return Program::Script(arg);
        }
    }
    Program::Executable
}
