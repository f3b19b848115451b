//! Passwords in URLs.

use super::{kinds::Kind, scan::Scan, values};

/// Schemes of stores and queues: there the whole address is masked.
const STORES: &[(&str, Kind)] = &[
    ("postgres", Kind::PostgresUrl),
    ("postgresql", Kind::PostgresUrl),
    ("mysql", Kind::MysqlUrl),
    ("mariadb", Kind::MysqlUrl),
    ("mongodb", Kind::MongodbUrl),
    ("redis", Kind::DatabaseUrl),
    ("rediss", Kind::DatabaseUrl),
    ("valkey", Kind::DatabaseUrl),
    ("amqp", Kind::DatabaseUrl),
    ("amqps", Kind::DatabaseUrl),
    ("nats", Kind::DatabaseUrl),
    ("clickhouse", Kind::DatabaseUrl),
    ("mssql", Kind::DatabaseUrl),
    ("sqlserver", Kind::DatabaseUrl),
    ("oracle", Kind::DatabaseUrl),
    ("kafka", Kind::DatabaseUrl),
    ("ldap", Kind::DatabaseUrl),
    ("ldaps", Kind::DatabaseUrl),
    ("cockroachdb", Kind::DatabaseUrl),
    ("neo4j", Kind::DatabaseUrl),
    ("bolt", Kind::DatabaseUrl),
    ("cassandra", Kind::DatabaseUrl),
    ("snowflake", Kind::DatabaseUrl),
    ("smtp", Kind::DatabaseUrl),
    ("smtps", Kind::DatabaseUrl),
];

/// Longest user name and password of a store.
const LONGEST: usize = 2048;

/// Longest scheme.
const SCHEME: usize = 32;

fn ends(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\')
}

/// `://` was found.
pub(super) fn url(scan: &mut Scan<'_>, start: usize, end: usize) {
    if start < scan.value_end() || start < scan.form_end() {
        return;
    }
    let at = scan.next_at(end);
    if at >= scan.len() {
        return;
    }
    let head = scan.slice(start.saturating_sub(SCHEME), start);
    let scheme = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-');
    let begin = scan.skip_escape(start - head.iter().rev().take_while(scheme).count(), start);
    let name = scan.slice(begin, start).to_ascii_lowercase();
    // `postgresql+asyncpg`
    let base = name.split(|byte| *byte == b'+').next().unwrap_or_default();
    let store = STORES.iter().find(|(scheme, _)| {
        base.strip_suffix(scheme.as_bytes())
            .is_some_and(|before| before.is_empty() || before.ends_with(b".") || before.ends_with(b"-"))
    });
    if let Some((_, kind)) = store {
        let user = scan.slice(end, at);
        if user.len() <= LONGEST && user.contains(&b':') && !user.iter().any(|byte| ends(*byte)) {
            let stop = scan.run(at, |byte| !ends(byte));
            scan.form(begin, stop, *kind);
        }
        return;
    }
    let stop = scan.run(end, |byte| !ends(byte) && !matches!(byte, b'/' | b'?' | b'#'));
    let Some(at) = memchr::memrchr(b'@', scan.slice(end, stop)).map(|found| end + found) else { return };
    let user = scan.slice(end, at);
    if scan.marker(end) == Some(at - end) {
        return;
    }
    match memchr::memchr(b':', user).map(|found| end + found + 1) {
        Some(from) => {
            if from < at && scan.marker(from) != Some(at - from) && !values::is_reference(scan.slice(from, at)) {
                scan.value(from, at, Kind::UrlPassword, None);
            }
        }
        // A token alone.
        None => {
            let digit = user.iter().any(u8::is_ascii_digit) && user.iter().any(u8::is_ascii_alphabetic);
            if user.len() >= 16 && digit {
                scan.value(end, at, Kind::UrlPassword, None);
            }
        }
    }
}
