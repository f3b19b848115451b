//! AWS-LC under rustls: the functions that protect and open a record (codex, deno).
//!
//! `crypto/fipsmodule/cipher/aead.c` of AWS-LC: `EVP_AEAD_CTX_seal` and `EVP_AEAD_CTX_open` report errors of their own
//! ([`errors`]), with reasons of include/openssl/cipher.h:
//!
//! - `EVP_AEAD_CTX_seal` alone finds its input [`TOO_LARGE`] and its output's room [`BUFFER_TOO_SMALL`];
//! - `EVP_AEAD_CTX_seal_scatter` finds bytes that it has no room for [`NO_ROOM_FOR_MORE`];
//! - `EVP_AEAD_CTX_open` gives [`BAD_DECRYPT`] and [`BUFFER_TOO_SMALL`];
//! - what makes a context reports a key of a wrong size: `EVP_AEAD_CTX_init` and its kin.
//!
//! All that encrypts in the process goes through them, so the probes look at what is authenticated besides: it is the
//! record's header in TLS 1.3 and its pseudo-header in TLS 1.2, and QUIC's is neither.

use std::collections::BTreeMap;

use super::{
    errors::{self, Speaker},
    functions::Functions,
    image::Image,
    plan::{Found, Plan, Probe, Site, Stack},
    rustls,
};

/// `ERR_LIB_CIPHER`
const LIBRARY: i64 = 30;

/// `CIPHER_R_BAD_DECRYPT`
const BAD_DECRYPT: i64 = 101;
/// `CIPHER_R_BUFFER_TOO_SMALL`
const BUFFER_TOO_SMALL: i64 = 103;
/// `CIPHER_R_INVALID_OPERATION`
const NO_ROOM_FOR_MORE: i64 = 112;
/// `CIPHER_R_OUTPUT_ALIASES_INPUT`
const OUTPUT_ALIASES_INPUT: i64 = 115;
/// `CIPHER_R_TOO_LARGE`
const TOO_LARGE: i64 = 117;
/// `CIPHER_R_UNSUPPORTED_KEY_SIZE`
const UNSUPPORTED_KEY_SIZE: i64 = 120;

/// The end of the file's name, whatever was before it where it was built.
pub const FILE: &[u8] = b"aws-lc/crypto/fipsmodule/cipher/aead.c\0";

/// Finds `EVP_AEAD_CTX_seal` and `EVP_AEAD_CTX_open` where rustls is in the file. To be asked only if rustls's own
/// functions were not found: those see the same records.
pub fn find(image: &Image) -> Found {
    let files = errors::files(image, FILE);
    if files.is_empty() || !rustls::is_in(image) {
        return Found::default();
    }
    let functions = Functions::of(image);
    let all = errors::speakers(image, &functions, &files, LIBRARY);
    match choose(&all) {
        Ok(chosen) => {
            let site = |(probe, name, address)| Some(Site::new(probe, name, image.code_offset(address)?));
            let sites = chosen.into_iter().filter_map(site).collect();
            let plan = Plan { stack: Stack::AwsLc, method: "reasons of errors".to_owned(), sites };
            Found { plans: vec![plan], doubts: Vec::new() }
        }
        Err(doubt) => Found { plans: Vec::new(), doubts: vec![format!("AWS-LC is in it, but {doubt}")] },
    }
}

/// The functions, or why they cannot be told.
fn choose(all: &BTreeMap<u64, Speaker>) -> Result<Vec<(Probe, &'static str, u64)>, String> {
    let every = |with: &[i64], without: &[i64]| -> Vec<u64> {
        let fits = |speaker: &Speaker| {
            let reasons = &speaker.reasons;
            with.iter().all(|one| reasons.contains(one)) && !without.iter().any(|one| reasons.contains(one))
        };
        all.iter().filter(|(_, speaker)| fits(speaker)).map(|(start, _)| *start).collect()
    };
    let only = |name: &str, with: &[i64], without: &[i64]| match every(with, without)[..] {
        [one] => Ok(one),
        ref found => Err(errors::count(found.len(), name)),
    };
    let seal = only("EVP_AEAD_CTX_seal", &[TOO_LARGE, BUFFER_TOO_SMALL], &[BAD_DECRYPT])?;
    let open = only("EVP_AEAD_CTX_open", &[BAD_DECRYPT, BUFFER_TOO_SMALL], &[TOO_LARGE])?;
    // AES-GCM in TLS 1.2 alone is written by it.
    let scatter = only(
        "EVP_AEAD_CTX_seal_scatter",
        &[NO_ROOM_FOR_MORE, OUTPUT_ALIASES_INPUT],
        &[TOO_LARGE, BAD_DECRYPT, BUFFER_TOO_SMALL],
    )?;
    let mut sites = vec![(Probe::AeadScatter, "EVP_AEAD_CTX_seal_scatter", scatter)];
    // One that calls the other would be seen twice.
    if !all.get(&seal).is_some_and(|speaker| speaker.body.calls(scatter)) {
        sites.push((Probe::AeadSeal, "EVP_AEAD_CTX_seal", seal));
    }
    sites.push((Probe::AeadOpen, "EVP_AEAD_CTX_open", open));
    // A context that is made: what had its address before is gone.
    let made = every(&[UNSUPPORTED_KEY_SIZE], &[TOO_LARGE, BAD_DECRYPT, BUFFER_TOO_SMALL]);
    sites.extend(made.into_iter().map(|init| (Probe::Free, "EVP_AEAD_CTX_init", init)));
    Ok(sites)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::targets::errors::assembly::{Program, Style};

    /// A program with what of aead.c matters here. `calls`: `EVP_AEAD_CTX_seal` calls `EVP_AEAD_CTX_seal_scatter`.
    fn program(style: Style, strings: &[u8], calls: bool) -> Program {
        let mut program = Program::new(strings);
        program.function("ERR_put_error").bytes(&[0xc3]);
        let functions: [(&str, &[u32]); 5] = [
            ("EVP_AEAD_CTX_init", &[120]),
            ("EVP_AEAD_CTX_seal", &[117, 103, 115]),
            ("EVP_AEAD_CTX_seal_scatter", &[115, 112]),
            ("EVP_AEAD_CTX_open", &[115, 101, 103]),
            ("EVP_AEAD_CTX_open_gather", &[115, 104]),
        ];
        for (name, reasons) in functions {
            program.function(name);
            for reason in reasons {
                program.bytes(&[0x85, 0xd2]).if_equal(&format!("{name} {reason}"));
            }
            if calls && name == "EVP_AEAD_CTX_seal" {
                program.call("EVP_AEAD_CTX_seal_scatter");
            }
            program.give(1);
            for reason in reasons {
                program.label(&format!("{name} {reason}")).error(style, 30, *reason);
            }
        }
        program.function("main");
        for (name, _) in functions {
            program.call(name);
        }
        program.bytes(&[0xc3]);
        program
    }

    const STRINGS: &[u8] = b"/aws-lc/crypto/fipsmodule/cipher/aead.c\0cannot decrypt peer's message\0";

    fn offsets(found: &Found) -> Vec<(&str, u64)> {
        found.plans.iter().flat_map(|plan| &plan.sites).map(|site| (site.name.as_str(), site.entry)).collect()
    }

    #[test]
    fn functions_are_found_whatever_the_compiler_made_of_them() {
        for style in [Style::Relative, Style::Small] {
            let program = program(style, STRINGS, false);
            let found = find(&program.image());
            assert_eq!(found.doubts, Vec::<String>::new(), "{style:?}");
            let names = ["EVP_AEAD_CTX_seal_scatter", "EVP_AEAD_CTX_seal", "EVP_AEAD_CTX_open", "EVP_AEAD_CTX_init"];
            assert_eq!(offsets(&found), names.map(|name| (name, program.offset(name))), "{style:?}");
        }
    }

    #[test]
    fn a_record_is_not_seen_twice() {
        let found = find(&program(Style::Relative, STRINGS, true).image());
        assert!(offsets(&found).iter().all(|(name, _)| *name != "EVP_AEAD_CTX_seal"));
        assert_eq!(offsets(&found).len(), 3);
    }

    #[test]
    fn without_rustls_it_is_not_looked_for() {
        let strings = b"/aws-lc/crypto/fipsmodule/cipher/aead.c\0";
        assert_eq!(find(&program(Style::Relative, strings, false).image()), Found::default());
    }

    proptest! {
        #[test]
        fn damaged_code_never_panics(changes in proptest::collection::vec((0usize..0x400, any::<u8>()), 0..24)) {
            let mut image = program(Style::Small, STRINGS, false).image();
            for (at, byte) in changes {
                if let Some(slot) = image.segments[0].bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            for plan in find(&image).plans {
                prop_assert!(plan.sites.len() >= 3);
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
