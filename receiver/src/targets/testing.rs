//! Invented ELF files and process file systems for tests.

use std::{fs, os::unix::fs::symlink, path::Path};

/// A small 64-bit ELF library that exports these (name, address). Code is mapped at 0x400000 from file offset 0.
pub fn elf(symbols: &[(&str, u64)]) -> Vec<u8> {
    let mut names = vec![0u8];
    let mut table = vec![0u8; 24];
    for (name, address) in symbols {
        table.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
        // Global function in section 1, 16 bytes long.
        table.extend([0x12, 0, 1, 0]);
        table.extend(address.to_le_bytes());
        table.extend(16u64.to_le_bytes());
    }
    // Tables are read in place and must be aligned.
    names.resize(names.len().next_multiple_of(8), 0);
    let table_at = 0x2000u64;
    let names_at = table_at + table.len() as u64;
    let headers_at = names_at + names.len() as u64;
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(3u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(64u64.to_le_bytes());
    file.extend(headers_at.to_le_bytes());
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 3, 0] {
        file.extend(half.to_le_bytes());
    }
    // One segment: PT_LOAD, read and execute.
    file.extend(1u32.to_le_bytes());
    file.extend(5u32.to_le_bytes());
    for word in [0u64, 0x40_0000, 0x40_0000, 0x2000, 0x2000, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.resize(0x2000, 0x90);
    file.extend(&table);
    file.extend(&names);
    let section = |kind: u32, at: u64, size: u64, link: u32, entry: u64| {
        let mut out = Vec::new();
        out.extend(0u32.to_le_bytes());
        out.extend(kind.to_le_bytes());
        for word in [0u64, 0, at, size] {
            out.extend(word.to_le_bytes());
        }
        out.extend(link.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(8u64.to_le_bytes());
        out.extend(entry.to_le_bytes());
        out
    };
    file.extend(section(0, 0, 0, 0, 0));
    file.extend(section(11, table_at, table.len() as u64, 2, 24));
    file.extend(section(3, names_at, names.len() as u64, 0, 0));
    file
}

/// Writes a process into an invented /proc. `ticks` is its start time.
pub fn process(root: &Path, pid: u32, parent: u32, ticks: u64, exe: &str, args: &[&str], environment: &[&str]) {
    let folder = root.join(pid.to_string());
    fs::create_dir_all(&folder).unwrap();
    symlink(exe, folder.join("exe")).unwrap();
    symlink("/work", folder.join("cwd")).unwrap();
    let nul = |words: &[&str]| words.iter().map(|word| format!("{word}\0")).collect::<String>();
    fs::write(folder.join("cmdline"), nul(args)).unwrap();
    fs::write(folder.join("environ"), nul(environment)).unwrap();
    fs::write(folder.join("cgroup"), "1:name=systemd:/v1\n0::/user.slice/x.scope\n").unwrap();
    fs::write(folder.join("status"), "Name:\tx\nUid:\t0\t1000\t0\t0\nGid:\t0\t1001\t0\t0\n").unwrap();
    let stat = format!("{pid} (a b) c) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0 0 0");
    fs::write(folder.join("stat"), stat).unwrap();
}
