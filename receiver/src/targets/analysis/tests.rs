use std::{fs, io::Write};

use proptest::prelude::*;

use super::*;
use crate::targets::testing;

/// A file that says that it has every stack, and has none.
fn liar() -> Vec<u8> {
    let mut bytes = testing::elf(&[("main", 0x40_1010)]);
    let mut at = 0x1100;
    for telling in TELLING {
        bytes[at..at + telling.len()].copy_from_slice(telling);
        at += 64;
    }
    // Behind the tables, so that it is large enough to be searched.
    bytes.resize(bytes.len() + usize::try_from(SMALLEST).unwrap(), 0);
    bytes
}

fn ask(bytes: &[u8]) -> Found {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    super::file(&file)
}

#[test]
fn nothing_is_found_where_nothing_is() {
    assert_eq!(ask(&[]), Found::default());
    assert_eq!(ask(&vec![0; 1 << 20]), Found::default());
    assert_eq!(ask(b"\x7fELF\x02\x01"), Found::default());
    // Names alone are no functions.
    assert_eq!(ask(&liar()).plans, []);
    let own = fs::read("/proc/self/exe").unwrap();
    for cut in [100, 5000, own.len() / 3] {
        assert_eq!(ask(&own[..cut.min(own.len())]).plans, [], "cut at {cut}");
    }
}

#[test]
fn hostile_headers_are_survived() {
    let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let sections = usize::try_from(u64::from_le_bytes(liar()[40..48].try_into().unwrap())).unwrap();
    for value in [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, 1 << 40] {
        let value = u64::to_le_bytes(value);
        // Tables: segments, sections. The segment: offset, addresses, sizes. A section: address, offset, size.
        for at in [32, 40, 64 + 8, 64 + 16, 64 + 24, 64 + 32, 64 + 40, sections + 16, sections + 24, sections + 32]
            .into_iter()
            .chain((1..3).flat_map(|n| [sections + n * 64 + 16, sections + n * 64 + 24, sections + n * 64 + 32]))
        {
            let mut bytes = liar();
            put(&mut bytes, at, &value);
            assert_eq!(ask(&bytes).plans, [], "at {at}");
        }
    }
    // Counts of entries, their sizes, the place of the names.
    for at in [54, 56, 58, 60, 62] {
        for value in [0u16, 1, 64, u16::MAX] {
            let mut bytes = liar();
            put(&mut bytes, at, &value.to_le_bytes());
            assert_eq!(ask(&bytes).plans, [], "at {at}");
        }
    }
}

#[test]
fn overlapping_segments_take_no_more_room_than_they_may() {
    // 65,535 headers that each claim the whole file.
    let mut bytes = liar();
    let header = bytes[64..120].to_vec();
    let table = bytes.len();
    for _ in 0..u16::MAX {
        bytes.extend(&header);
    }
    bytes[32..40].copy_from_slice(&(table as u64).to_le_bytes());
    bytes[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
    let begun = std::time::Instant::now();
    let found = ask(&bytes);
    assert_eq!(found.plans, []);
    assert_eq!(found.doubts.len(), 1, "{found:?}");
    assert!(begun.elapsed().as_secs() < 10);
}

#[test]
fn a_string_across_a_border_tells() {
    for shift in [1, 5, 20] {
        let mut bytes = vec![0; PIECE + PIECE / 2];
        let at = PIECE - shift;
        bytes[at..at + openssl_internal::WRITE.len()].copy_from_slice(openssl_internal::WRITE);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        assert!(tells(&file).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_files_never_panic(changes in proptest::collection::vec((0usize..128, any::<u8>()), 1..12)) {
        let mut bytes = liar();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        prop_assert_eq!(ask(&bytes).plans, []);
    }
}
