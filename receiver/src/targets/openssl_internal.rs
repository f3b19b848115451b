//! OpenSSL 3 linked into a program and stripped (native-tls in Rust programs, copilot's `runtime.node`).
//!
//! `ERR_raise` keeps the name of the function that it stands in (`__func__`, include/openssl/err.h). `SSL_write` and
//! `SSL_write_ex` both end in `ssl_write_internal`, `SSL_read` and `SSL_read_ex` in `ssl_read_internal` (ssl/ssl_lib.c);
//! each reports errors, so each is the one function that mentions its name.
//!
//! From 3.2 on `ssl_write_internal` has one argument more, `uint64_t flags` before the last. Which it is, its callers
//! show: `SSL_write` gives it no flags, or the address of a variable of its own there.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::{
    functions::Functions,
    image::Image,
    plan::{Found, Plan, Probe, Site, Stack},
    xrefs::{self, Body},
};

/// Names with their ends.
pub const WRITE: &[u8] = b"ssl_write_internal\0";
const READ: &[u8] = b"ssl_read_internal\0";

/// References to a name that are followed, and callers of a function.
const MOST: usize = 256;

/// Instructions before a call that prepare its arguments.
const PREPARATION: usize = 48;

/// Finds `ssl_read_internal` and `ssl_write_internal`.
pub fn find(image: &Image) -> Found {
    let (write, read) = (image.find(WRITE), image.find(READ));
    if write.is_empty() || read.is_empty() {
        return Found::default();
    }
    let functions = Functions::of(image);
    match sites(image, &functions, &write, &read) {
        Ok(sites) => {
            let plan = Plan { stack: Stack::OpenSsl, method: "names in errors".to_owned(), sites };
            Found { plans: vec![plan], doubts: Vec::new() }
        }
        Err(None) => Found::default(),
        Err(Some(doubt)) => Found { plans: Vec::new(), doubts: vec![format!("OpenSSL is in it, but {doubt}")] },
    }
}

/// The functions, or why they cannot be told; no reason if no code mentions the names at all.
fn sites(image: &Image, functions: &Functions, write: &[u64], read: &[u64]) -> Result<Vec<Site>, Option<String>> {
    let (write, read) = (mentions(image, functions, write), mentions(image, functions, read));
    if write.is_empty() && read.is_empty() {
        return Err(None);
    }
    let one = |found: &[u64], name: &str| match found {
        [one] => Ok(*one),
        _ => Err(Some(format!("{} functions look like {name}", found.len()))),
    };
    let (write, read) = (one(&write, "ssl_write_internal")?, one(&read, "ssl_read_internal")?);
    let probe = kind_of_write(image, functions, write).ok_or_else(|| {
        Some("whether ssl_write_internal has four arguments or five cannot be told from its callers".to_owned())
    })?;
    let site = |probe, name, address| -> Result<Site, Option<String>> {
        let entry = image.code_offset(address).ok_or(None)?;
        Ok(Site::new(probe, name, entry))
    };
    Ok(vec![site(probe, "ssl_write_internal", write)?, site(Probe::ReadEx, "ssl_read_internal", read)?])
}

/// The functions that mention one of these addresses.
fn mentions(image: &Image, functions: &Functions, names: &[u64]) -> Vec<u64> {
    let ranges: Vec<_> = names.iter().take(16).map(|address| *address..address.saturating_add(1)).collect();
    let mut found = Vec::new();
    for reference in xrefs::references(image, &ranges).into_iter().take(MOST) {
        let Some(start) = functions.start_of(reference.at) else { continue };
        // Bytes that only look like a reference are no instruction of the function.
        if Body::of(image, functions, start).instruction(reference.at).is_none() {
            continue;
        }
        found.extend(whole(image, functions, start));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The function that a part belongs to: compilers put the parts that handle errors elsewhere, with an entry of their
/// own in the exception tables; they are jumped to and never called.
fn whole(image: &Image, functions: &Functions, start: u64) -> Option<u64> {
    if !xrefs::callers(image, start).is_empty() {
        return Some(start);
    }
    let end = functions.end_of(start)?;
    let mut from: Vec<u64> = jumps(image, start..end)
        .into_iter()
        .filter(|at| !(start..end).contains(at))
        .take(MOST)
        .filter_map(|at| {
            let function = functions.start_of(at)?;
            let body = Body::of(image, functions, function);
            body.instruction(at).is_some().then_some(function)
        })
        .collect();
    from.sort_unstable();
    from.dedup();
    match from.as_slice() {
        // Reached by a table, or by nobody: it stays what it seems.
        [] => Some(start),
        [one] => Some(*one),
        _ => None,
    }
}

/// Addresses of `jcc rel32` and `jmp rel32` into a range.
fn jumps(image: &Image, into: std::ops::Range<u64>) -> Vec<u64> {
    let mut found = Vec::new();
    for segment in image.code() {
        let code = segment.bytes.as_slice();
        let target = |at: usize| {
            let distance = code.get(at..).and_then(|rest| rest.first_chunk::<4>())?;
            let next = segment.address.wrapping_add(at as u64 + 4);
            Some(next.wrapping_add_signed(i64::from(i32::from_le_bytes(*distance))))
        };
        for at in memchr::memchr2_iter(0x0f, 0xe9, code) {
            let long = code.get(at) == Some(&0x0f);
            if long && !matches!(code.get(at + 1), Some(0x80..=0x8f)) {
                continue;
            }
            if target(at + 1 + usize::from(long)).is_some_and(|target| into.contains(&target)) {
                found.push(segment.address.wrapping_add(at as u64));
            }
        }
    }
    found
}

/// Which arguments `ssl_write_internal` has.
fn kind_of_write(image: &Image, functions: &Functions, write: u64) -> Option<Probe> {
    let (mut four, mut five) = (0, 0);
    for at in xrefs::callers(image, write).into_iter().take(MOST) {
        let Some(start) = functions.start_of(at) else { continue };
        let body = Body::of(image, functions, start);
        if body.instruction(at).is_none() {
            continue;
        }
        let before = body.instructions().iter().rev().skip_while(|instruction| instruction.ip() >= at);
        let before: Vec<&Instruction> = before.take(PREPARATION).collect();
        // Where `written` is: a variable of the caller's, or what the caller was given.
        let (fourth, fifth) = (latest(&before, Register::RCX), latest(&before, Register::R8));
        match (fourth, fifth) {
            // Flags of 0: an address that is written to in any case is none.
            (Some(Value::Zero), Some(Value::Local)) => five += 1,
            (Some(Value::Local), _) => four += 1,
            _ => {}
        }
    }
    match (four, five) {
        (1.., 0) => Some(Probe::WriteEx),
        (0, 1..) => Some(Probe::WriteFlags),
        _ => None,
    }
}

/// What was put into a register last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Zero,
    /// The address of a variable on the stack.
    Local,
    Other,
}

/// What the latest of these instructions that writes a register (the latest comes first) puts there.
fn latest(before: &[&Instruction], register: Register) -> Option<Value> {
    let writes = |instruction: &&&Instruction| {
        instruction.op0_kind() == OpKind::Register
            && instruction.op0_register().full_register() == register
            && !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push)
    };
    let found = before.iter().find(writes)?;
    Some(match found.code() {
        Code::Xor_r32_rm32 | Code::Xor_rm32_r32 | Code::Xor_r64_rm64 | Code::Xor_rm64_r64
            if found.op0_register() == found.op1_register() =>
        {
            Value::Zero
        }
        Code::Mov_r32_imm32 | Code::Mov_rm32_imm32 if found.immediate32() == 0 => Value::Zero,
        Code::Lea_r64_m if matches!(found.memory_base(), Register::RSP | Register::RBP) => Value::Local,
        Code::Mov_r64_rm64 | Code::Mov_rm64_r64 if found.op1_register() == Register::RSP => Value::Local,
        _ => Value::Other,
    })
}
