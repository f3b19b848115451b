//! Files that a command is likely to map, so that they are looked at before it runs.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// Words of a command that are looked at.
const WORDS: usize = 64;

/// libssl in the folders of the dynamic loader (ld.so(8), `/etc/ld.so.conf`): real paths, each once.
pub fn system_libraries() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from).to_vec();
    for part in ["x86_64-linux-gnu", "aarch64-linux-gnu"] {
        folders.push(Path::new("/usr/lib").join(part));
        folders.push(Path::new("/lib").join(part));
    }
    let mut configurations = vec![PathBuf::from("/etc/ld.so.conf")];
    configurations.extend(entries(Path::new("/etc/ld.so.conf.d"), |name| name.ends_with(".conf")));
    for configuration in configurations {
        let text = std::fs::read_to_string(configuration).unwrap_or_default();
        folders.extend(text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from));
    }
    let found = folders.iter().flat_map(|folder| libraries(folder)).filter_map(|path| path.canonicalize().ok());
    let mut found: Vec<PathBuf> = found.collect();
    found.sort();
    found.dedup();
    found
}

/// libssl in one folder, also under a name that a wheel gave it. (`libssl3.so` is NSS.)
fn libraries(folder: &Path) -> Vec<PathBuf> {
    entries(folder, |name| (name.starts_with("libssl.so") || name.starts_with("libssl-")) && name.contains(".so"))
}

/// Entries of a folder whose name fits, sorted.
fn entries(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = found
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(&fits))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// Files that a command is likely to map: of every word of it that is a program (`timeout 5 python3 x.py`,
/// `sh -c "node x.js"`), and libssl on the loader's own search path (`LD_LIBRARY_PATH`).
pub fn files_of_command(command: &[String], search: &str, loader: &str) -> Vec<PathBuf> {
    let words = command.iter().flat_map(|argument| argument.split_ascii_whitespace()).take(WORDS);
    let mut files: Vec<PathBuf> = words.flat_map(|word| files_of_program(word, search)).collect();
    let folders = loader.split([':', ';']).filter(|folder| !folder.is_empty());
    files.extend(folders.flat_map(|folder| libraries(Path::new(folder))));
    files.sort();
    files.dedup();
    files
}

/// Files that a program is likely to map: itself, what interprets it, and their own copies of libssl.
fn files_of_program(program: &str, search: &str) -> Vec<PathBuf> {
    let mut programs = resolve(program, search);
    // A script's interpreter, and what `env` starts. One level: an interpreter is no script.
    for path in programs.clone() {
        for word in shebang(&path) {
            programs.extend(resolve(&word, search));
        }
    }
    let mut files = Vec::new();
    for program in &programs {
        let real = program.canonicalize().unwrap_or_else(|_| program.clone());
        // A virtual environment has its own packages beside the real interpreter's.
        for path in [program, &real] {
            let Some(root) = path.parent().and_then(Path::parent) else { continue };
            // The system's own folders are large, and looked at by name already.
            if root == Path::new("/") || root == Path::new("/usr") {
                continue;
            }
            files.extend(libraries(&root.join("lib")));
            for python in entries(&root.join("lib"), |name| name.starts_with("python")) {
                for packages in ["site-packages", "dist-packages"] {
                    for bundle in entries(&python.join(packages), |name| name.ends_with(".libs")) {
                        files.extend(libraries(&bundle));
                    }
                }
            }
        }
        files.extend(natives_of_package(&real));
        files.push(real);
    }
    files
}

/// Least size of a native program or library that may have TLS of its own.
const NATIVE: u64 = 1 << 20;

/// Folder entries that are looked at in one package, and how deep.
const ENTRIES: usize = 4096;
const DEPTH: usize = 8;

/// Native programs and libraries in the npm package of a script, and in its packages for this platform: what a command
/// that is only a wrapper starts (`codex` is a script, and the program is in `@openai/codex-linux-x64`).
fn natives_of_package(script: &Path) -> Vec<PathBuf> {
    let is_modules = |folder: &Path| folder.file_name().is_some_and(|name| name == "node_modules");
    // node_modules/name/… or node_modules/@scope/name/…
    let package = script.ancestors().skip(1).find(|folder| {
        let above = folder.parent();
        let scope = above.and_then(Path::parent);
        folder.join("package.json").is_file() && (above.is_some_and(is_modules) || scope.is_some_and(is_modules))
    });
    let Some(package) = package else { return Vec::new() };
    let mut folders = vec![package.to_owned()];
    let manifest = std::fs::read(package.join("package.json")).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
    let arch = if cfg!(target_arch = "aarch64") { ["arm64", "aarch64"] } else { ["x64", "x86_64"] };
    let optional = manifest.get("optionalDependencies").and_then(serde_json::Value::as_object);
    for name in optional.into_iter().flat_map(serde_json::Map::keys) {
        if !name.contains("linux") || !arch.iter().any(|arch| name.contains(arch)) || name.contains("..") {
            continue;
        }
        let beside = package.ancestors().skip(1).filter(|folder| is_modules(folder)).map(|folder| folder.join(name));
        folders.extend(beside.chain([package.join("node_modules").join(name)]).filter(|folder| folder.is_dir()));
    }
    let mut files = Vec::new();
    for folder in folders {
        let mut left = ENTRIES;
        natives(&folder, DEPTH, &mut left, &mut files);
    }
    files
}

fn natives(folder: &Path, depth: usize, left: &mut usize, files: &mut Vec<PathBuf>) {
    for path in entries(folder, |name| name != "node_modules") {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let Ok(stat) = path.symlink_metadata() else { continue };
        if stat.is_dir() && depth > 0 {
            natives(&path, depth - 1, left, files);
        } else if stat.is_file() && stat.len() >= NATIVE && is_elf(&path) {
            files.push(path);
        }
    }
}

fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// Where a program is: by its path or on the search path; behind a version manager's shim all that it may start.
fn resolve(program: &str, search: &str) -> Vec<PathBuf> {
    let Some(path) = (if program.contains('/') {
        Some(PathBuf::from(program)).filter(|path| path.is_file())
    } else {
        search.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
    }) else {
        return Vec::new();
    };
    let mut found = vec![path.clone()];
    if let (Some(name), Some(shims)) = (path.file_name(), path.parent())
        && shims.ends_with("shims")
        && let Some(root) = shims.parent()
    {
        // pyenv: versions/<version>/bin; asdf: installs/<tool>/<version>/bin
        for version in entries(&root.join("versions"), |_| true) {
            found.push(version.join("bin").join(name));
        }
        for tool in entries(&root.join("installs"), |_| true) {
            found.extend(entries(&tool, |_| true).iter().map(|version| version.join("bin").join(name)));
        }
        found.retain(|path| path.is_file());
    }
    found
}

/// The words of a `#!` line.
fn shebang(path: &Path) -> Vec<String> {
    use std::io::Read;
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut start));
    if read.is_err() || !start.starts_with(b"#!") {
        return Vec::new();
    }
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.get(2..).unwrap_or_default()).into_owned();
    line.split_ascii_whitespace().filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_wrapper_leads_to_the_program_of_its_platform() {
        let root = tempfile::tempdir().unwrap();
        let modules = root.path().join("node_modules");
        let (package, native) = (modules.join("@o/codex"), modules.join("@o/codex-linux-x64/vendor/bin"));
        fs::create_dir_all(package.join("bin")).unwrap();
        fs::create_dir_all(&native).unwrap();
        fs::create_dir_all(modules.join(".bin")).unwrap();
        let manifest = r#"{"optionalDependencies": {"@o/codex-linux-x64": "1", "@o/codex-darwin-x64": "1"}}"#;
        fs::write(package.join("package.json"), manifest).unwrap();
        fs::write(package.join("bin/codex.js"), "#!/usr/bin/env node\n").unwrap();
        let mut program = b"\x7fELF".to_vec();
        program.resize(2 << 20, 0);
        fs::write(native.join("codex"), program).unwrap();
        std::os::unix::fs::symlink("../@o/codex/bin/codex.js", modules.join(".bin/codex")).unwrap();
        let command = [modules.join(".bin/codex").display().to_string()];
        let files = files_of_command(&command, "", "");
        if cfg!(target_arch = "x86_64") {
            assert!(files.iter().any(|file| file.ends_with("codex-linux-x64/vendor/bin/codex")), "{files:?}");
        }
    }

    #[test]
    fn a_command_leads_to_its_interpreter_and_its_libraries() {
        let root = tempfile::tempdir().unwrap();
        let (bin, packages) = (root.path().join("bin"), root.path().join("lib/python3.11/site-packages/x.libs"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&packages).unwrap();
        fs::write(bin.join("python3"), "").unwrap();
        fs::write(bin.join("tool"), "#!/usr/bin/env python3\n").unwrap();
        fs::write(packages.join("libssl-8b66dd34.so.3"), "").unwrap();
        let command = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let files = files_of_command(&command("sh|-c|exec tool -x"), bin.to_str().unwrap(), "");
        assert!(files.iter().any(|file| file.ends_with("bin/python3")), "{files:?}");
        assert!(files.iter().any(|file| file.ends_with("libssl-8b66dd34.so.3")), "{files:?}");
        assert!(files_of_command(&command("no-such-program"), "", "").is_empty());
        assert_eq!(files_of_command(&[], "", packages.to_str().unwrap()).len(), 1);
    }
}
