//! BoringSSL linked into a program and stripped (bun and what is built with it, gRPC).
//!
//! Its errors name their source file and the reason: `OPENSSL_PUT_ERROR` calls
//! `ERR_put_error(ERR_LIB_SSL, 0, reason, "…/ssl/ssl_lib.cc", line)`. The reasons are numbers that stay the same from
//! version to version (include/openssl/ssl.h, include/openssl/err.h), so that a function of ssl_lib.cc is known by the
//! reasons that it gives:
//!
//! - `SSL_write` is the only one with all of [`SHOULD_NOT_HAVE_BEEN_CALLED`], [`UNINITIALIZED`],
//!   [`HANDSHAKE_FAILURE`] and [`BAD_LENGTH`];
//! - `ssl_read_impl` gives [`UNINITIALIZED`] and [`HANDSHAKE_FAILURE`], and is called by `SSL_peek`, which gives
//!   [`SHOULD_NOT_HAVE_BEEN_CALLED`];
//! - `SSL_read` calls `SSL_peek`, or contains it, and then moves on in the data that is pending: it writes to the
//!   connection's state, which `SSL_peek` leaves alone;
//! - `SSL_new` gives [`NULL_CONTEXT`] and nothing else. It tells that what had the address of its result before is gone.
//!   Some builds lack the error; they do without.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Code, FlowControl, InstructionInfoFactory, OpAccess, Register};

use super::{
    errors::{self, Speaker},
    functions::Functions,
    image::Image,
    plan::{Found, Plan, Probe, Site, Stack},
    xrefs::{self, Body},
};

/// `ERR_LIB_SSL`
const LIBRARY: i64 = 16;

/// `ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED`: plaintext functions of a QUIC connection.
pub const SHOULD_NOT_HAVE_BEEN_CALLED: i64 = 66;
/// `SSL_R_UNINITIALIZED`
pub const UNINITIALIZED: i64 = 226;
/// `SSL_R_SSL_HANDSHAKE_FAILURE`
pub const HANDSHAKE_FAILURE: i64 = 215;
/// `SSL_R_BAD_LENGTH`
pub const BAD_LENGTH: i64 = 111;

/// `SSL_R_NULL_SSL_CTX`
pub const NULL_CONTEXT: i64 = 185;

/// The end of the file's name, whatever was before it where it was built.
pub const FILE: &[u8] = b"ssl/ssl_lib.cc\0";

/// Finds `SSL_read` and `SSL_write`.
pub fn find(image: &Image) -> Found {
    let files = errors::files(image, FILE);
    if files.is_empty() {
        return Found::default();
    }
    let functions = Functions::of(image);
    let bodies = errors::speakers(image, &functions, &files, LIBRARY);
    let chosen = match choose(image, &functions, &bodies) {
        Ok((read, write)) => vec![(Probe::Write, "SSL_write", write), (Probe::Read, "SSL_read", read)],
        Err(doubt) => return Found { plans: Vec::new(), doubts: vec![format!("BoringSSL is in it, but {doubt}")] },
    };
    let new = bodies.iter().filter(|(_, speaker)| speaker.reasons.iter().eq([&NULL_CONTEXT])).map(|(start, _)| *start);
    let new: Vec<u64> = new.collect();
    let new = <[u64; 1]>::try_from(new).into_iter().flatten().map(|new| (Probe::New, "SSL_new", new));
    let site = |(probe, name, address)| Some(Site::new(probe, name, image.code_offset(address)?));
    let sites = chosen.into_iter().chain(new).filter_map(site).collect();
    let plan = Plan { stack: Stack::BoringSsl, method: "reasons of errors".to_owned(), sites };
    Found { plans: vec![plan], doubts: Vec::new() }
}

/// The addresses of `SSL_read` and `SSL_write`, or why they cannot be told.
fn choose(image: &Image, functions: &Functions, all: &BTreeMap<u64, Speaker>) -> Result<(u64, u64), String> {
    let has = |speaker: &Speaker, reasons: &[i64]| reasons.iter().all(|reason| speaker.reasons.contains(reason));
    let with = |reasons: &[i64], without: &[i64]| -> Vec<u64> {
        let fits =
            |speaker: &Speaker| has(speaker, reasons) && !without.iter().any(|one| speaker.reasons.contains(one));
        all.iter().filter(|(_, speaker)| fits(speaker)).map(|(start, _)| *start).collect()
    };
    // Those that call ssl_read_impl, or contain it.
    let impls = with(&[UNINITIALIZED, HANDSHAKE_FAILURE], &[SHOULD_NOT_HAVE_BEEN_CALLED, BAD_LENGTH]);
    // What gives other reasons as well is something else that contains it.
    let exact = |start: &u64, reasons: usize| all.get(start).is_some_and(|speaker| speaker.reasons.len() == reasons);
    let mut write = with(&[SHOULD_NOT_HAVE_BEEN_CALLED, UNINITIALIZED, HANDSHAKE_FAILURE, BAD_LENGTH], &[]);
    if write.is_empty() {
        // Until 2023 the length was looked at in another file.
        write = with(&[SHOULD_NOT_HAVE_BEEN_CALLED, UNINITIALIZED, HANDSHAKE_FAILURE], &[]);
        write.retain(|start| {
            let other = |speaker: &Speaker| moves_on(&speaker.body) || impls.iter().any(|one| speaker.body.calls(*one));
            exact(start, 3) && !all.get(start).is_some_and(other)
        });
    } else {
        write.retain(|start| exact(start, 4));
    }
    // It hands the bytes on by the table of the protocol.
    write.retain(|start| all.get(start).is_some_and(|speaker| speaker.body.calls_by_table()));
    let [write] = write.as_slice() else { return Err(errors::count(write.len(), "SSL_write")) };

    let mut readers: Vec<u64> = with(&[SHOULD_NOT_HAVE_BEEN_CALLED], &[BAD_LENGTH])
        .into_iter()
        .filter(|start| {
            let inside = |speaker: &Speaker| has(speaker, &[UNINITIALIZED, HANDSHAKE_FAILURE]) && exact(start, 3);
            let calls = |speaker: &Speaker| {
                exact(start, 1) && impls.iter().filter(|one| speaker.body.calls(**one)).count() == 1
            };
            start != write && all.get(start).is_some_and(|speaker| inside(speaker) || calls(speaker))
        })
        .collect();
    let advances = |start: &u64| all.get(start).is_some_and(|speaker| moves_on(&speaker.body));
    let whole: Vec<u64> = readers.iter().copied().filter(|start| advances(start)).collect();
    readers.retain(|start| !whole.contains(start));
    match (whole.as_slice(), readers.as_slice()) {
        ([read], [] | [_]) => Ok((*read, *write)),
        ([], [peek]) => {
            let callers: BTreeSet<u64> =
                xrefs::callers(image, *peek).into_iter().filter_map(|site| functions.start_of(site)).collect();
            let reads = |start: &u64| {
                let body = Body::of(image, functions, *start);
                body.calls(*peek) && moves_on(&body) && body.instructions().len() < 200
            };
            let read: Vec<u64> = callers.into_iter().filter(reads).collect();
            match read.as_slice() {
                [read] => Ok((*read, *write)),
                _ => Err(errors::count(read.len(), "SSL_read")),
            }
        }
        _ => Err(errors::count(whole.len(), "SSL_read")),
    }
}

/// True if it moves on in the data that is pending, `pending_app_data = pending_app_data.subspan(n)`: it writes a pointer
/// and the length beside it, in memory that is not its own stack.
fn moves_on(body: &Body) -> bool {
    let frame = body.instructions().iter().any(|instruction| {
        matches!(instruction.code(), Code::Mov_r64_rm64 | Code::Mov_rm64_r64 | Code::Lea_r64_m)
            && instruction.op0_register() == Register::RBP
            && (instruction.op1_register() == Register::RSP || instruction.memory_base() == Register::RSP)
    });
    let mut factory = InstructionInfoFactory::new();
    let mut written = BTreeSet::new();
    for instruction in body.instructions() {
        if !matches!(instruction.flow_control(), FlowControl::Next) {
            continue;
        }
        for memory in factory.info(instruction).used_memory() {
            let (base, at) = (memory.base(), memory.displacement());
            let own = base == Register::RSP || frame && base == Register::RBP;
            let writes = matches!(memory.access(), OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite);
            if own || !writes || base == Register::None || memory.index() != Register::None {
                continue;
            }
            match memory.memory_size().size() {
                8 => written.insert((base as u32, at)),
                16 => return true,
                _ => false,
            };
        }
    }
    written.iter().any(|(base, at)| written.contains(&(*base, at.wrapping_add(8))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::targets::errors::assembly::{CODE, Program, Style};

    const STYLES: [Style; 2] = [Style::Relative, Style::Absolute];

    /// What a test changes.
    #[derive(Clone, Copy, Default)]
    struct Changes {
        /// Where the length is looked at: not in `SSL_write`.
        old: bool,
        /// `SSL_read` calls `SSL_peek` and does not contain it.
        outlined: bool,
        /// `SSL_read` does not move on.
        stays: bool,
        /// There is a second `SSL_write`.
        twice: bool,
        /// The errors are another library's.
        foreign: bool,
        /// `ssl_read_impl` is called by nobody.
        loose: bool,
    }

    /// A program with what of ssl_lib.cc matters here.
    fn program(style: Style, changes: Changes) -> Program {
        let library = if changes.foreign { 20 } else { 16 };
        let mut program = Program::new(b"value../../vendor/boringssl/ssl/ssl_lib.cc\0more\0");
        program.function("ERR_put_error").bytes(&[0xc3]);
        program.function("SSL_do_handshake").bytes(&[0x85, 0xff]).if_equal("unset").give(1);
        program.label("unset").error(style, library, 134);
        program.function("ssl_read_impl").bytes(&[0x53, 0x48, 0x89, 0xfb, 0x85, 0xff]).if_equal("impl 226");
        program.call("SSL_do_handshake").bytes(&[0x85, 0xc0]).if_equal("impl 215").give(1);
        program.label("impl 226").error(style, library, 226);
        program.label("impl 215").error(style, library, 215);
        // mov rbx, rdi; cmp qword [rdi+0x98], 0
        let begin = [0x53, 0x48, 0x89, 0xfb, 0x48, 0x83, 0xbf, 0x98, 0, 0, 0, 0];
        // add [rbx+0x80], rax; mov [rbx+0x88], rcx
        let advance: &[u8] = &[0x48, 0x01, 0x83, 0x80, 0, 0, 0, 0x48, 0x89, 0x8b, 0x88, 0, 0, 0];
        let advance = if changes.stays { &[] } else { advance };
        for (name, advance) in [("SSL_peek", &[][..]), ("SSL_read", advance)] {
            let quic = format!("{name} 66");
            program.function(name);
            if name == "SSL_read" && changes.outlined {
                program.bytes(&begin[..4]).call("SSL_peek").bytes(advance).give(3);
                continue;
            }
            program.bytes(&begin).if_equal(&quic);
            if !changes.loose {
                program.call("ssl_read_impl");
            }
            program.bytes(advance).give(3).label(&quic).error(style, library, 66);
        }
        let writes: &[&str] = if changes.twice { &["SSL_write", "SSL_write again"] } else { &["SSL_write"] };
        for name in writes {
            program.function(name).bytes(&[0x53, 0x85, 0xff]);
            let reasons: &[u32] = if changes.old { &[66, 226, 215] } else { &[66, 226, 215, 111] };
            for reason in reasons {
                program.bytes(&[0x85, 0xd2]).if_equal(&format!("{name} {reason}"));
            }
            // call [rax+0x48]
            program.bytes(&[0xff, 0x50, 0x48]).give(7);
            for reason in reasons {
                program.label(&format!("{name} {reason}")).error(style, library, *reason);
            }
        }
        program.function("SSL_new").bytes(&[0x85, 0xff]).if_equal("new 185").give(9);
        program.label("new 185").error(style, library, 185);
        program.function("main");
        let names = ["SSL_do_handshake", "ssl_read_impl", "SSL_peek", "SSL_read", "SSL_new"];
        for name in names.iter().chain(writes) {
            program.call(name);
        }
        program.bytes(&[0xc3]);
        program
    }

    fn offsets(found: &Found) -> Vec<(&str, u64)> {
        found.plans.iter().flat_map(|plan| &plan.sites).map(|site| (site.name.as_str(), site.entry)).collect()
    }

    fn expected(program: &Program) -> Vec<(&'static str, u64)> {
        ["SSL_write", "SSL_read", "SSL_new"].into_iter().map(|name| (name, program.offset(name))).collect()
    }

    #[test]
    fn functions_are_found_whatever_the_compiler_made_of_them() {
        for style in STYLES {
            for (old, outlined) in [(false, false), (true, false), (false, true), (true, true)] {
                let program = program(style, Changes { old, outlined, ..Changes::default() });
                let found = find(&program.image());
                assert_eq!(found.doubts, Vec::<String>::new(), "{style:?} {old} {outlined}");
                assert_eq!(offsets(&found), expected(&program), "{style:?} {old} {outlined}");
                assert_eq!(found.plans[0].stack, Stack::BoringSsl);
            }
        }
    }

    #[test]
    fn what_is_not_certain_is_a_doubt_and_not_a_plan() {
        let all = [
            (Changes { stays: true, ..Changes::default() }, "no function looks like SSL_read"),
            (Changes { twice: true, ..Changes::default() }, "2 functions look like SSL_write"),
            (Changes { foreign: true, ..Changes::default() }, "no function looks like SSL_write"),
            (Changes { loose: true, ..Changes::default() }, "no function looks like SSL_read"),
        ];
        for style in STYLES {
            for (changes, doubt) in all {
                let found = find(&program(style, changes).image());
                assert_eq!(found.plans, []);
                assert_eq!(found.doubts, [format!("BoringSSL is in it, but {doubt}")]);
            }
        }
    }

    #[test]
    fn without_its_name_it_is_not_looked_for() {
        let mut file = program(Style::Relative, Changes::default()).file();
        let at = memchr::memmem::find(&file, FILE).unwrap();
        file[at] = b'x';
        assert_eq!(find(&Image::read(&file.as_slice()).unwrap()), Found::default());
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(
            absolute in any::<bool>(),
            cut in 0usize..0x1_0100,
            changes in proptest::collection::vec((0usize..0x600, any::<u8>()), 0..24),
        ) {
            let style = if absolute { Style::Absolute } else { Style::Relative };
            let mut file = program(style, Changes::default()).file();
            for (at, byte) in changes {
                // Headers, else code.
                let at = if at < 0xb0 { at } else { CODE.1 as usize + at - 0xb0 };
                if let Some(slot) = file.get_mut(at) {
                    *slot = byte;
                }
            }
            file.truncate(if cut % 2 == 0 { cut } else { file.len() });
            if let Ok(image) = Image::read(&file.as_slice()) {
                let found = find(&image);
                prop_assert!(found.plans.iter().all(|plan| plan.sites.len() >= 2));
            }
        }
    }

    #[test]
    #[ignore = "needs real programs: ONLOOKER_BINARIES=path:path…"]
    #[allow(clippy::print_stdout, reason = "its output is what it is for")]
    fn real_programs() {
        for path in std::env::var("ONLOOKER_BINARIES").unwrap().split(':') {
            let start = std::time::Instant::now();
            let image = Image::read(&std::fs::File::open(path).unwrap()).unwrap();
            let read = start.elapsed();
            let found = find(&image);
            println!("{path}: read in {read:?}, searched in {:?}: {found:?}", start.elapsed().saturating_sub(read));
            assert_eq!(found.doubts, Vec::<String>::new());
        }
    }
}
