use pipeline::Processor;
use proptest::prelude::*;

use super::*;
use crate::signing::{
    Signing,
    tests::{CANARY, close, config, context, exec, run},
};

pub(in crate::signing) fn check(text: &str) -> Report {
    check_with(text, &Options::default())
}

fn check_with(text: &str, options: &Options) -> Report {
    let mut keys = Keys::default();
    keys.add(None, Key::new(CANARY.as_bytes()).unwrap());
    verify([("f".to_owned(), text.as_bytes())], &keys, options).unwrap()
}

/// `count` records and the closing one.
fn chain(host: &str, count: u64) -> Vec<String> {
    let mut signing = Signing::new(&config(Some("node-1"), None), &context("signing")).unwrap();
    let mut lines = run(&mut signing, host, count);
    lines.push(close(&mut signing));
    lines
}

fn found(report: &Report) -> Vec<(u64, Option<u64>, What)> {
    report.problems.iter().map(|problem| (problem.line, problem.sequence, problem.what.clone())).collect()
}

#[test]
fn a_whole_chain_is_good() {
    let report = check(&chain("host", 4).join("\n"));
    assert!(report.is_ok() && report.warnings.is_empty(), "{report}");
    assert_eq!((report.counts.verified, report.chains.len()), (5, 1));
    assert!(report.to_string().ends_with("OK: 5 records in 1 chain, all signatures good, none missing"), "{report}");
}

#[test]
fn a_changed_member_is_found_whichever_it_is() {
    let lines = chain("host", 3);
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(&lines[1]) else { panic!("no object") };
    for name in object.keys() {
        let mut changed = object.clone();
        match changed.get_mut(name) {
            Some(Value::String(text)) => {
                let last = text.pop().unwrap();
                text.push(if last == '2' { '3' } else { '2' });
            }
            Some(Value::Object(data)) => drop(data.insert("process.pid".into(), 4712.into())),
            other => panic!("{other:?}"),
        }
        for changed in [changed.clone(), {
            let mut gone = object.clone();
            gone.remove(name);
            gone
        }] {
            let mut lines = lines.clone();
            lines[1] = canonical::to_string(&Value::Object(changed));
            let report = check(&lines.join("\n"));
            assert!(!report.is_ok(), "{name}");
            assert!(report.problems.iter().any(|problem| problem.line == 2), "{name}: {report}");
        }
    }
    // An added member is no part of what was signed.
    let mut added = object.clone();
    added.insert("verified".into(), true.into());
    let mut lines = lines.clone();
    lines[1] = canonical::to_string(&Value::Object(added));
    assert_eq!(found(&check(&lines.join("\n"))), [(2, Some(2), What::Changed)]);
}

#[test]
fn a_changed_record_is_told_once() {
    for at in 0..4 {
        let mut lines = chain("host", 3);
        lines[at] = lines[at].replace("2023-11-14", "2023-11-15");
        let expected = [(at as u64 + 1, Some(at as u64 + 1), What::Changed)];
        assert_eq!(found(&check(&lines.join("\n"))), expected, "{at}");
    }
}

#[test]
fn removed_records_are_found() {
    let lines = chain("host", 5);
    let without = |gone: &[usize]| {
        let kept = lines.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, line)| line.as_str());
        check(&kept.collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(found(&without(&[0])), [(1, Some(2), What::StartMissing)]);
    assert_eq!(found(&without(&[2])), [(3, Some(4), What::Removed { first: 3, last: 3 })]);
    assert_eq!(found(&without(&[1, 2, 3])), [(2, Some(5), What::Removed { first: 2, last: 4 })]);
    let cut = without(&[5]);
    assert!(cut.is_ok(), "{cut}");
    assert_eq!(cut.warnings.iter().map(|w| w.what.clone()).collect::<Vec<_>>(), [What::NotClosed]);
    let strict = check_with(&lines[..4].join("\n"), &Options { require_closed: true, ..Options::default() });
    assert_eq!(found(&strict), [(4, Some(4), What::NotClosed)]);
    let partial = check_with(&lines[3..].join("\n"), &Options { allow_partial: true, ..Options::default() });
    assert!(partial.is_ok() && partial.warnings.len() == 1, "{partial}");
}

#[test]
fn doubled_and_reordered_records_are_found() {
    let lines = chain("host", 4);
    let mut doubled = lines.clone();
    doubled.insert(3, lines[1].clone());
    assert_eq!(found(&check(&doubled.join("\n"))), [(4, Some(2), What::Doubled)]);
    for at in 0..4 {
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        let expected = [(at as u64 + 2, Some(at as u64 + 1), What::Reordered)];
        assert_eq!(found(&check(&swapped.join("\n"))), expected, "{at}");
    }
}

#[test]
fn chains_may_be_interleaved_and_keys_may_differ() {
    let (first, second) = (chain("a", 3), chain("b", 3));
    let mixed: Vec<&str> = first.iter().zip(&second).flat_map(|(a, b)| [a.as_str(), b.as_str()]).collect();
    let report = check(&mixed.join("\n"));
    assert!(report.is_ok() && report.chains.len() == 2, "{report}");
    let mut cut = mixed.clone();
    cut.remove(2);
    assert_eq!(found(&check(&cut.join("\n"))), [(4, Some(3), What::Removed { first: 2, last: 2 })]);

    let mut keys = Keys::default();
    keys.add(None, Key::new(&[7; 32]).unwrap());
    let wrong = verify([("f".to_owned(), mixed.join("\n").as_bytes())], &keys, &Options::default()).unwrap();
    assert_eq!((wrong.counts.problems, wrong.counts.verified), (8, 0));
    assert!(wrong.problems.iter().all(|problem| problem.what == What::Changed));
    let mut keys = Keys::default();
    keys.add(Some("other".into()), Key::new(CANARY.as_bytes()).unwrap());
    let unknown = verify([("f".to_owned(), first[0].as_bytes())], &keys, &Options::default()).unwrap();
    assert_eq!(found(&unknown), [(1, Some(1), What::UnknownKey("node-1".into()))]);
}

#[test]
fn two_histories_under_one_number_are_found() {
    // A state that was set back: the chain goes on from an older record, with the same key.
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("chain.json");
    let start = || Signing::new(&config(None, Some(state.clone())), &context("signing")).unwrap();
    let mut lines = run(&mut start(), "host", 2);
    let old = std::fs::read(&state).unwrap();
    let (mut signing, mut lost) = (start(), Vec::new());
    signing.process(exec("host", 50), &mut lost);
    drop(signing);
    std::fs::write(&state, old).unwrap();
    let mut signing = start();
    lines.extend(run(&mut signing, "host", 2));
    lines.push(close(&mut signing));
    assert!(check(&lines.join("\n")).is_ok());
    lines[2] = super::super::tests::lines(&lost).remove(0);
    assert_eq!(found(&check(&lines.join("\n"))), [(4, Some(4), What::Broken)]);
}

#[test]
fn cut_unsigned_and_foreign_lines_are_found() {
    let lines = chain("host", 2);
    let cut = format!("{}\n{}\n{}", lines[0], lines[1], &lines[2][..lines[2].len() / 2]);
    let report = check(&cut);
    assert_eq!(found(&report), [(3, None, What::Unparsable("the line is cut".into()))]);
    assert!(matches!(report.warnings[..], [Problem { what: What::NotClosed, .. }]));
    let unsigned = format!("{}\n{{\"specversion\":\"1.0\",\"type\":\"io.onlooker.process.exec\"}}\n", lines.join("\n"));
    assert_eq!(found(&check(&unsigned)), [(4, None, What::Unsigned)]);
    assert!(check_with(&unsigned, &Options { allow_unsigned: true, ..Options::default() }).is_ok());
    assert_eq!(found(&check("")), [(0, None, What::Empty)]);
    assert!(matches!(&found(&check("[1]"))[..], [(1, None, What::Unparsable(_))]));
    assert!(matches!(&found(&check("{\"a\":1}"))[..], [(1, None, What::Unparsable(_))]));
    let twice = lines[0].replacen('{', "{\"subject\":\"forged\",", 1);
    assert!(matches!(&found(&check(&twice))[..], [(1, None, What::Unparsable(_)), ..]), "{:?}", check(&twice));
}

#[test]
fn envelopes_in_otlp_lines_are_read() {
    let lines = chain("host", 3);
    let export = |bodies: &[&str]| {
        let records: Vec<Value> =
            bodies.iter().map(|body| serde_json::json!({"timeUnixNano": "1", "body": {"stringValue": body}})).collect();
        serde_json::json!({"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]})
            .to_string()
    };
    let spans = "{\"resourceSpans\":[]}";
    let text = format!("{}\n{spans}\n{}\n{}", export(&[&lines[0], &lines[1]]), export(&[&lines[2]]), lines[3]);
    let report = check(&text);
    assert!(report.is_ok() && report.warnings.is_empty(), "{report}");
    assert_eq!((report.counts.verified, report.counts.skipped), (4, 1));
    let removed = format!("{}\n{}", export(&[&lines[0]]), export(&[&lines[2], &lines[3]]));
    assert_eq!(found(&check(&removed)), [(2, Some(3), What::Removed { first: 2, last: 2 })]);
    assert_eq!(found(&check(&export(&["plain text"]))), [(1, None, What::Unsigned)]);
}

#[test]
fn files_are_one_sequence() {
    let lines = chain("host", 3);
    let folder = tempfile::tempdir().unwrap();
    let files = [folder.path().join("1.jsonl"), folder.path().join("2.jsonl")];
    std::fs::write(&files[0], lines[..2].join("\n")).unwrap();
    std::fs::write(&files[1], lines[2..].join("\n") + "\n\n").unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, format!("{CANARY}\n")).unwrap();
    let mut keys = Keys::default();
    keys.add_file(&format!("node-1={}", key.display())).unwrap();
    assert!(verify_files(&files, &keys, &Options::default()).unwrap().is_ok());
    let turned = [&files[1], &files[0]];
    let report = verify_files(&turned, &keys, &Options::default()).unwrap();
    assert!(report.problems.iter().all(|problem| problem.what == What::Reordered), "{report}");
    assert!(report.to_string().contains("1.jsonl:1: record 1 reordered"), "{report}");
    assert!(verify_files(&[folder.path().join("none")], &keys, &Options::default()).is_err());
    assert!(keys.add_file("none=nowhere").is_err());
}

#[test]
fn rewritten_text_is_told_from_changed_content() {
    let mut lines = chain("host", 2);
    let value: Value = serde_json::from_str(&lines[1]).unwrap();
    lines[1] = serde_json::to_string(&value).unwrap().replacen(':', ": ", 1);
    assert_eq!(found(&check(&lines.join("\n"))), [(2, Some(2), What::Reformatted)]);
    let report = check_with(&lines.join("\n"), &Options { allow_reformatted: true, ..Options::default() });
    assert!(report.is_ok() && report.warnings.len() == 1, "{report}");
}

#[test]
fn many_problems_are_counted_and_not_all_kept() {
    let text = "{}\n".repeat(50);
    let report = check_with(&text, &Options { max_problems: 3, ..Options::default() });
    assert_eq!((report.problems.len(), report.counts.problems), (3, 50));
    assert!(report.to_string().contains("and 47 more"), "{report}");
}

proptest! {
    #[test]
    fn any_changed_byte_of_a_signed_line_is_found(at in 0usize..10_000, byte in any::<u8>(), line in 0usize..4) {
        let mut lines: Vec<Vec<u8>> = chain("host", 3).into_iter().map(String::into_bytes).collect();
        let at = at % lines[line].len();
        prop_assume!(lines[line][at] != byte);
        lines[line][at] = byte;
        let text = lines.join(&b'\n');
        let mut keys = Keys::default();
        keys.add(None, Key::new(CANARY.as_bytes()).unwrap());
        let report = verify([("f".to_owned(), &text[..])], &keys, &Options::default()).unwrap();
        prop_assert!(!report.is_ok(), "{}", String::from_utf8_lossy(&text));
        prop_assert!(!report.to_string().contains("canary"));
    }

    #[test]
    fn any_subset_in_order_is_checked_right(kept in prop::collection::vec(any::<bool>(), 8)) {
        let lines = chain("host", 7);
        let text: Vec<&str> = lines.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(line, _)| line.as_str()).collect();
        let report = check_with(&text.join("\n"), &Options { require_closed: true, ..Options::default() });
        prop_assert_eq!(report.is_ok(), kept.iter().all(|kept| *kept), "{}", report);
    }

    #[test]
    fn nothing_makes_it_fail(text in any::<Vec<u8>>()) {
        let _ = verify([("f".to_owned(), &text[..])], &Keys::default(), &Options::default()).unwrap();
    }
}
