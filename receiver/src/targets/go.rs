//! `crypto/tls` in programs and libraries written in Go, stripped or not.
//!
//! Functions are found by their names in [`functions::Table`]. Arguments are in registers (Go 1.17 and later, "Go
//! internal ABI specification"): the connection in RAX, the slice in RBX, RCX and RDI, the goroutine in R14; the first
//! result in RAX. Return addresses must not be replaced in Go, whose runtime walks and moves stacks; so each `ret` of
//! `Read` is a site of its own. `Write` needs none, see `bpf/go.bpf.c`.
//!
//! A function begins by comparing the stack pointer with the goroutine's limit, and when it has to grow its stack it
//! begins once more. So the probe is behind that comparison, where arguments and stack pointer still are what they were:
//! each call is seen once, and from Go 1.21 on there is a `push` in that place, which costs little.

pub mod functions;

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use self::functions::Table;
use super::{
    image::Image,
    plan::{Found, Plan, Probe, Site, Stack},
};

/// What is in every Go program with TLS: the beginning of the names that are looked for.
pub const TELLING: &[u8] = b"crypto/tls.(*Conn).Write";

const READ: &str = "crypto/tls.(*Conn).Read";
const WRITE: &str = "crypto/tls.(*Conn).Write";
const CLOSE: &str = "crypto/tls.(*Conn).Close";

/// Code of a function at most.
const CODE: u64 = 1 << 16;

/// Returns of a function at most; `Read` has five or so.
const RETURNS: usize = 64;

/// Instructions that a stack check may take.
const CHECK: usize = 6;

/// Where a goroutine's stack check compares: `stackguard0`, the third word of `runtime.g` (`runtime/runtime2.go`).
const GUARD: u64 = 16;

/// Finds `(*tls.Conn).Read` and `.Write`.
pub fn find(image: &Image) -> Found {
    let tables = functions::tables(image);
    let mut found = Found::default();
    for table in &tables.readable {
        match in_table(image, table) {
            Ok(plan) => found.plans.extend(plan),
            Err(doubt) => found.doubts.push(format!("Go's crypto/tls is in it, but {doubt}")),
        }
    }
    if found == Found::default() && tables.old && !image.find(TELLING).is_empty() {
        found.doubts.push("Go's crypto/tls is in it, but of Go 1.17 or older, which is not supported".to_owned());
    }
    if found == Found::default() && tables.readable.is_empty() && !image.find(TELLING).is_empty() && is_go(image) {
        found.doubts.push("Go's crypto/tls is in it, but no table of functions could be read".to_owned());
    }
    // The same code cannot be attached to twice; another module's can.
    found.plans.dedup();
    found
}

/// Whether the linker's mark is in it (`cmd/link/internal/ld/data.go`, "buildInfo").
fn is_go(image: &Image) -> bool {
    !image.find(b"\xff Go buildinf:").is_empty()
}

/// The plan by one table; none if there is no TLS among its functions.
fn in_table(image: &Image, table: &Table<'_>) -> Result<Option<Plan>, String> {
    let names = [READ, WRITE, CLOSE].map(|name| table.named(name));
    // Names of functions that were inlined everywhere are in the table, too. These two never are: they defer.
    if names[0].is_none() && names[1].is_none() {
        return Ok(None);
    }
    let [read, write, close] = table.spans(names);
    let (Some(read), Some(write)) = (read, write) else {
        return Err("Read and Write are not both among its functions".to_owned());
    };
    let texts = table.texts();
    let sites = |text: u64| -> Result<Vec<Site>, String> {
        let mut sites =
            vec![site(image, text, &read, Probe::GoRead, READ)?, site(image, text, &write, Probe::GoWrite, WRITE)?];
        // Without it, a connection that follows another one at its address is told by its first bytes only.
        sites.extend(close.as_ref().and_then(|close| site(image, text, close, Probe::GoClose, CLOSE).ok()));
        Ok(sites)
    };
    let tried: Vec<Result<Vec<Site>, String>> = texts.into_iter().map(sites).collect();
    let doubt = tried.iter().find_map(|tried| tried.as_ref().err().cloned());
    let mut plans = tried.into_iter().flatten();
    match (plans.next(), plans.next()) {
        (Some(sites), None) => Ok(Some(Plan { stack: Stack::Go, method: "Go's table of functions".to_owned(), sites })),
        (Some(_), Some(_)) => Err("its code could begin at two places".to_owned()),
        (None, _) => Err(doubt.unwrap_or_else(|| "where its code begins could not be told".to_owned())),
    }
}

/// The site of a function.
fn site(image: &Image, text: u64, span: &Range<u64>, probe: Probe, name: &str) -> Result<Site, String> {
    let unlike = |what: &str| format!("{name} {what}");
    let start = text.checked_add(span.start).ok_or_else(|| unlike("is nowhere"))?;
    let size = usize::try_from((span.end - span.start).min(CODE)).unwrap_or_default();
    let code =
        image.bytes(start, size).filter(|code| code.len() == size).ok_or_else(|| unlike("is not in the file"))?;
    if span.end - span.start > CODE {
        return Err(unlike("is too long"));
    }
    let instructions: Vec<Instruction> = Decoder::with_ip(64, code, start, DecoderOptions::NONE).into_iter().collect();
    let entry = behind_stack_check(&instructions)
        .ok_or_else(|| unlike("does not begin with a stack check by Go's register ABI"))?;
    let offset = |address: u64| image.code_offset(address).ok_or_else(|| unlike("is not in code"));
    if instructions.iter().any(Instruction::is_invalid) {
        return Err(unlike("has instructions that cannot be decoded"));
    }
    let mut site = Site::new(probe, name, offset(entry)?);
    if probe == Probe::GoRead {
        let returns = instructions.iter().filter(|one| one.flow_control() == FlowControl::Return);
        site.returns = returns.map(|one| offset(one.ip())).collect::<Result<_, _>>()?;
        if site.returns.is_empty() || site.returns.len() > RETURNS {
            return Err(unlike("has no returns, or too many"));
        }
    }
    Ok(site)
}

/// Address of the first instruction after the check of the stack's size, which until then leaves all arguments and the
/// stack pointer alone. Small frames, larger ones, and the largest (`cmd/internal/obj/x86/obj6.go`, "stacksplit"):
///
/// ```text
/// cmp rsp, [r14+16]     lea r12, [rsp-N]      mov r12, rsp
/// jbe grow              cmp r12, [r14+16]     sub r12, N
///                       jbe grow              jb grow
///                                             cmp r12, [r14+16]
///                                             jbe grow
/// ```
fn behind_stack_check(instructions: &[Instruction]) -> Option<u64> {
    let mut compared = false;
    for one in instructions.iter().take(CHECK) {
        let first = (one.op_count() > 0 && one.op0_kind() == OpKind::Register).then(|| one.op0_register());
        let memory = one.op_count() > 1 && one.op1_kind() == OpKind::Memory;
        match one.mnemonic() {
            Mnemonic::Lea | Mnemonic::Mov | Mnemonic::Sub if !compared && first == Some(Register::R12) => {}
            Mnemonic::Cmp if !compared && memory && matches!(first, Some(Register::RSP | Register::R12)) => {
                let guard = one.memory_base() == Register::R14
                    && one.memory_index() == Register::None
                    && one.memory_displacement64() == GUARD;
                if !guard {
                    return None;
                }
                compared = true;
            }
            Mnemonic::Jb if !compared => {}
            Mnemonic::Jbe if compared => return Some(one.next_ip()),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests;
