use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::targets::image::Segment;

/// `lea r12, [rsp-0x28]; cmp r12, [r14+16]; jbe +0x40; push rbp`, then two returns.
const FRAMED: &[u8] =
    &[0x4c, 0x8d, 0x64, 0x24, 0xd8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x40, 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0x90, 0xc3];
/// `cmp rsp, [r14+16]; jbe +0x40; push rbp; pop rbp; ret`
const SMALL: &[u8] = &[0x49, 0x3b, 0x66, 0x10, 0x76, 0x40, 0x55, 0x5d, 0xc3];
/// `mov rcx, fs:[-8]; cmp rsp, [rcx+16]; jbe +0x40; ret`: Go 1.16 and older.
const ABI_0: &[u8] = &[0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x3b, 0x61, 0x10, 0x76, 0x40, 0xc3];

const CODE_AT: u64 = 0x40_1000;
const TABLE_AT: u64 = 0x60_0000;
const MODULE_AT: u64 = 0x80_0000;

/// How an invented program is built.
#[derive(Clone)]
struct Program {
    magic: u32,
    /// True: the header has the beginning of the code, as until Go 1.25.
    told: bool,
    /// True: `moduledata` is there.
    module: bool,
    /// True: pointers are relocations only.
    relocated: bool,
    /// Bytes before Go's own code, as with cgo.
    before: u64,
    functions: Vec<(&'static str, &'static [u8])>,
}

impl Default for Program {
    fn default() -> Self {
        let functions =
            vec![("runtime.main", SMALL), (READ, FRAMED), (WRITE, FRAMED), (CLOSE, SMALL), ("main.main", SMALL)];
        Self { magic: 0xffff_fff1, told: true, module: true, relocated: false, before: 0, functions }
    }
}

impl Program {
    fn segments(&self) -> Vec<(u64, bool, Vec<u8>)> {
        let size = 0x100u32;
        let text = CODE_AT + self.before;
        let mut code = vec![0xcc; usize::try_from(self.before).unwrap()];
        let mut names = b"\0".to_vec();
        let count = u32::try_from(self.functions.len()).unwrap();
        let mut functab = Vec::new();
        let mut details = Vec::new();
        for (index, (name, body)) in (0u32..).zip(&self.functions) {
            functab.extend((index * size).to_le_bytes());
            functab.extend(((count * 2 + 1) * 4 + index * 8).to_le_bytes());
            details.extend((index * size).to_le_bytes());
            details.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
            code.extend(*body);
            code.resize(code.len().next_multiple_of(usize::try_from(size).unwrap()), 0xcc);
        }
        functab.extend((count * size).to_le_bytes());
        let mut table = self.magic.to_le_bytes().to_vec();
        table.extend([0, 0, 1, 8]);
        let told = if self.told && !self.relocated { text } else { 0 };
        let after = 72 + names.len() as u64;
        for word in [u64::from(count), 1, told, 72, after, after, after, after + 8] {
            table.extend(word.to_le_bytes());
        }
        table.extend(&names);
        table.extend([0; 8]);
        table.extend(&functab);
        table.extend(&details);
        let mut module = vec![0u64; 40];
        let (end, place) = (text + u64::from(count * size), 20);
        module[0] = TABLE_AT;
        module[place..place + 4].copy_from_slice(&[text, end, text, end]);
        let mut relocations: Vec<u64> = Vec::new();
        if self.relocated {
            for (index, word) in module.iter_mut().enumerate().filter(|(_, word)| **word != 0) {
                relocations.extend([MODULE_AT + index as u64 * 8, 8, *word]);
                *word = 0;
            }
            if self.told {
                relocations.extend([TABLE_AT + 24, 8, text]);
            }
        }
        let bytes = |words: Vec<u64>| words.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>();
        let dynamic = bytes(vec![7, 0xa0_0000, 8, relocations.len() as u64 * 8, 0, 0]);
        let module = if self.module { bytes(module) } else { Vec::new() };
        vec![
            (CODE_AT, true, code),
            (TABLE_AT, false, table),
            (MODULE_AT, false, module),
            (0xa0_0000, false, bytes(relocations)),
            (0xb0_0000, false, dynamic),
        ]
    }

    fn image(&self) -> Image {
        image(self.segments())
    }
}

fn image(segments: Vec<(u64, bool, Vec<u8>)>) -> Image {
    let segment = |(address, executable, bytes): (u64, bool, Vec<u8>)| Segment {
        address,
        offset: address - 0x40_0000,
        executable,
        bytes,
    };
    Image {
        segments: segments.into_iter().map(segment).collect(),
        sections: Vec::new(),
        build_id: None,
        eh_frame_header: None,
        dynamic: Some(0xb0_0000),
    }
}

fn sites(program: &Program) -> Vec<(Probe, u64, Vec<u64>)> {
    let found = find(&program.image());
    assert_eq!(found.doubts, [""; 0]);
    let [plan] = found.plans.as_slice() else { panic!("{found:?}") };
    plan.sites.iter().map(|site| (site.probe, site.entry, site.returns.clone())).collect()
}

fn expected(before: u64) -> Vec<(Probe, u64, Vec<u64>)> {
    let at = |offset: u64| 0x1000 + before + offset;
    vec![
        (Probe::GoRead, at(0x10b), vec![at(0x110), at(0x112)]),
        (Probe::GoWrite, at(0x20b), vec![]),
        (Probe::GoClose, at(0x306), vec![]),
    ]
}

#[test]
fn functions_are_probed_behind_their_stack_check() {
    assert_eq!(sites(&Program::default()), expected(0));
    assert_eq!(sites(&Program { magic: 0xffff_fff0, ..Program::default() }), expected(0));
}

#[test]
fn the_beginning_of_the_code_is_told_by_moduledata_where_the_header_lacks_it() {
    assert_eq!(sites(&Program { told: false, ..Program::default() }), expected(0));
    assert_eq!(sites(&Program { told: false, before: 0x200, ..Program::default() }), expected(0x200));
    assert_eq!(sites(&Program { module: false, ..Program::default() }), expected(0));
}

#[test]
fn pointers_that_only_the_loader_fills_in_are_followed() {
    for told in [true, false] {
        let program = Program { relocated: true, told, before: 0x300, ..Program::default() };
        assert_eq!(sites(&program), expected(0x300));
    }
}

#[test]
fn what_is_not_sure_is_a_doubt() {
    let doubt = |program: Program| {
        let found = find(&program.image());
        assert!(found.plans.is_empty(), "{found:?}");
        found.doubts.join(" ")
    };
    let nowhere = Program { told: false, module: false, ..Program::default() };
    assert!(doubt(nowhere).contains("where its code begins"));
    let old = vec![("runtime.main", SMALL), (READ, ABI_0), (WRITE, ABI_0)];
    assert!(doubt(Program { functions: old, ..Program::default() }).contains("stack check"));
    let lacking = vec![("runtime.main", SMALL), (READ, FRAMED)];
    assert!(doubt(Program { functions: lacking, ..Program::default() }).contains("not both"));
    assert!(doubt(Program { magic: 0xffff_fffa, ..Program::default() }).contains("1.17 or older"));
    let wrong = vec![("runtime.main", SMALL), (READ, FRAMED), (WRITE, FRAMED), (WRITE, FRAMED)];
    assert!(doubt(Program { functions: wrong, ..Program::default() }).contains("not both"));
}

#[test]
fn no_tls_is_no_doubt() {
    let plain = vec![("runtime.main", SMALL), ("net/http.Get", FRAMED)];
    assert_eq!(find(&Program { functions: plain, ..Program::default() }.image()), Found::default());
    assert_eq!(find(&image(Vec::new())), Found::default());
}

#[test]
fn jumps_before_the_check_are_known() {
    // mov r12, rsp; sub r12, 0x20000; jb; cmp r12, [r14+16]; jbe
    let large: &[u8] =
        &[0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0, 0, 2, 0, 0x72, 0x40, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x40, 0xc3];
    let decode = |code: &[u8]| {
        behind_stack_check(&Decoder::with_ip(64, code, 0, DecoderOptions::NONE).into_iter().collect::<Vec<_>>())
    };
    assert_eq!(decode(large), Some(18));
    assert_eq!(decode(FRAMED), Some(11));
    assert_eq!(decode(SMALL), Some(6));
    assert_eq!(decode(ABI_0), None);
    assert_eq!(decode(&SMALL[..4]), None);
}

proptest! {
    #[test]
    fn hostile_tables_are_no_trouble(
        changes in proptest::collection::vec((0usize..5, any::<prop::sample::Index>(), any::<u8>()), 1..24),
        cut in proptest::option::of((0usize..5, any::<prop::sample::Index>())),
        relocated: bool,
    ) {
        let mut segments = Program { relocated, ..Program::default() }.segments();
        for (segment, at, byte) in changes {
            let bytes = &mut segments[segment].2;
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Some((segment, at)) = cut {
            let bytes = &mut segments[segment].2;
            bytes.truncate(at.index(bytes.len() + 1));
        }
        let image = image(segments);
        for site in find(&image).plans.iter().flat_map(|plan| &plan.sites) {
            let code = 0x1000..0x1000 + 0x500;
            prop_assert!(code.contains(&site.entry) && site.returns.iter().all(|at| code.contains(at)));
        }
    }
}

#[test]
#[ignore = "needs real programs: ONLOOKER_GO_BINARIES=path:path…"]
#[allow(clippy::print_stdout, reason = "its output is what it is for")]
fn real_programs() {
    for path in std::env::var("ONLOOKER_GO_BINARIES").unwrap().split(':') {
        let start = std::time::Instant::now();
        let image = Image::read(&File::open(path).unwrap()).unwrap();
        let read = start.elapsed();
        let found = find(&image);
        println!("{path}\n  read {read:?}, searched {:?}", start.elapsed().saturating_sub(read));
        for site in found.plans.iter().flat_map(|plan| &plan.sites) {
            let returns: Vec<String> = site.returns.iter().map(|offset| format!("{offset:x}")).collect();
            println!("  {} {:#x} {}", site.name, site.entry, returns.join(" "));
        }
        println!("  {:?}", found.doubts);
    }
}
