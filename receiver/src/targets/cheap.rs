//! Chooses functions where a probe costs little.
//!
//! The kernel emulates a few instructions and lets a probed process step through all others, which costs 12 to 27
//! times as much (arch/x86/kernel/uprobes.c: `push_setup_xol_ops`, `branch_setup_xol_ops`). A probe at return is only
//! right on a function's first instruction. So where the exported functions begin with a dear one, the internal
//! function that both variants of each end in is taken, if it begins with a cheap one.

use iced_x86::{Code, Decoder, DecoderOptions, OpKind};

use super::{
    analysis::BY_NAME,
    image::{Image, Source},
    openssl_internal,
    plan::{Found, Plan, Probe, Site, Stack},
};

/// Files that are looked into for cheaper functions while a process waits: shared libraries, not programs.
pub const LARGEST: u64 = 8 << 20;

/// The longest instruction.
const LONGEST: u64 = 15;

/// True if the kernel emulates the instruction at this file offset: `push` of a register, or `nop`.
pub fn is_cheap(file: &impl Source, offset: u64) -> bool {
    let bytes = file.read(offset, LONGEST);
    let instruction = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
    match instruction.code() {
        Code::Push_r64 => instruction.op0_kind() == OpKind::Register,
        Code::Nopd | Code::Nopq | Code::Nopw => instruction.len() == 1,
        _ => false,
    }
}

/// Exchanges OpenSSL's exported functions for its internal ones, if those cost less and are sure; else leaves the plans
/// as they are.
pub fn choose(found: &mut Found, file: &impl Source) {
    for plan in &mut found.plans {
        let dear = plan.sites.iter().any(|site| site.probe != Probe::Free && !is_cheap(file, site.entry));
        if plan.stack == Stack::OpenSsl && plan.method == BY_NAME && dear {
            exchange(plan, file);
        }
    }
}

fn exchange(plan: &mut Plan, file: &impl Source) {
    let calls = |probe| matches!(probe, Probe::Read | Probe::ReadEx | Probe::Write | Probe::WriteEx);
    // Both directions and both variants: only then do the internal functions see the same.
    let whole = [Probe::Read, Probe::ReadEx, Probe::Write, Probe::WriteEx];
    if !whole.iter().all(|probe| plan.sites.iter().any(|site| site.probe == *probe)) {
        return;
    }
    let Ok(image) = Image::read(file) else { return };
    let internal = openssl_internal::find(&image).plans.into_iter().next();
    let Some(internal) = internal.filter(|plan| plan.sites.iter().all(|site| is_cheap(file, site.entry))) else {
        return;
    };
    let others: Vec<Site> = plan.sites.drain(..).filter(|site| !calls(site.probe)).collect();
    plan.sites = internal.sites.into_iter().chain(others).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_emulates_is_known() {
        for (code, cheap) in [
            (&b"\x55\x48\x89\xe5"[..], true),
            (b"\x41\x57\x90", true),
            (b"\x90", true),
            (b"\x48\x83\xec\x08", false),
            (b"\xf3\x0f\x1e\xfa", false),
            (b"\x6a\x01", false),
            (b"\xff\x35\x00\x00\x00\x00", false),
            (b"", false),
        ] {
            assert_eq!(is_cheap(&code, 0), cheap, "{code:02x?}");
        }
    }
}
