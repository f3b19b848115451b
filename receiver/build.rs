//! Compiles the kernel side (`bpf/`) into one object that the crate embeds.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    version_of_searches();
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../bpf");
    let object = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("onlooker.bpf.o");
    for folder in [root.clone(), root.join("include")] {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    println!("cargo::rerun-if-env-changed=CLANG");
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => ("x86", "x86_64-linux-gnu"),
        Ok(other) => return fail(&format!("the probes know x86_64 only so far, not {other}")),
        Err(_) => return fail("no target architecture"),
    };
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".into());
    if !["/usr/include", "/usr/local/include"].iter().any(|folder| Path::new(folder).join("bpf/bpf_helpers.h").exists())
    {
        println!("cargo::warning=bpf/bpf_helpers.h was not found: install clang and libbpf-dev (`make deps`)");
    }
    let status = Command::new(&clang)
        .args(["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Werror"])
        .arg(format!("-D__TARGET_ARCH_{}", arch.0))
        .arg(format!("-I/usr/include/{}", arch.1))
        // No path of the build machine in the object.
        .arg(format!("-ffile-prefix-map={}=bpf", root.display()))
        .arg("-c")
        .arg(root.join("onlooker.bpf.c"))
        .arg("-o")
        .arg(&object)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(_) => fail("the kernel side does not compile (see above); it needs clang and libbpf-dev: `make deps`"),
        Err(error) => fail(&format!("cannot run {clang}: {error}; install clang and libbpf-dev: `make deps`")),
    }
    // Smaller by the line tables that nobody reads; BTF stays. Without llvm-strip the object is merely bigger.
    for strip in ["llvm-strip", "llvm-strip-14", "llvm-strip-19"] {
        if Command::new(strip).arg("-g").arg(&object).status().is_ok_and(|status| status.success()) {
            break;
        }
    }
}

/// A digest of the searches' source (FNV-1a): the cache of their answers is another one's after any change.
fn version_of_searches() {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("src/targets");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                println!("cargo::rerun-if-changed={}", path.display());
                files.push(path);
            }
        }
    }
    files.sort();
    let contents = files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default());
    let digest = contents.fold(0x811c_9dc5_u32, |digest, byte| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    println!("cargo::rustc-env=ONLOOKER_SEARCHES={digest}");
}

fn fail(message: &str) {
    println!("cargo::error={message}");
}
