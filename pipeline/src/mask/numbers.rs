//! What says something about a person (e-mail addresses, numbers of cards and of persons), and words that are only
//! known by their letters.

use super::{
    Extra,
    kinds::Kind,
    scan::{Scan, steps},
};

/// Names before `@` that are no person's.
const SERVICES: &[&[u8]] = &[b"git", b"hg", b"svn"];

/// Last parts of names that are no domains: units of systemd, files.
const NO_DOMAINS: &[&[u8]] = &[
    b"service",
    b"socket",
    b"target",
    b"timer",
    b"mount",
    b"automount",
    b"scope",
    b"slice",
    b"device",
    b"path",
    b"swap",
    b"png",
    b"jpg",
    b"jpeg",
    b"gif",
    b"webp",
    b"svg",
    b"ico",
    b"js",
    b"ts",
    b"tsx",
    b"jsx",
    b"mjs",
    b"cjs",
    b"json",
    b"css",
    b"html",
    b"md",
    b"py",
    b"rs",
    b"so",
    b"yaml",
    b"yml",
    b"toml",
    b"lock",
    b"txt",
    b"tgz",
    b"gz",
    b"zip",
    b"whl",
];

/// `@` was found.
pub(super) fn email(scan: &mut Scan<'_>, at: usize) {
    if !scan.wants(Extra::EMAIL) {
        return;
    }
    let local = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-');
    let head = scan.slice(at.saturating_sub(64), at);
    let mut start = at - head.iter().rev().take_while(|byte| local(**byte)).count();
    start = scan.skip_escape(start, at);
    while start < at && scan.byte(start).is_some_and(|byte| !byte.is_ascii_alphanumeric() && byte != b'_') {
        start += 1;
    }
    if start == at || scan.slice(start.saturating_sub(3), start) == b"://" {
        return;
    }
    let tail = scan.slice(at + 1, scan.len().min(at + 254));
    let length = tail.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')).count();
    let mut domain = tail.get(..length).unwrap_or_default();
    while let Some(shorter) = domain.strip_suffix(b".").or_else(|| domain.strip_suffix(b"-")) {
        domain = shorter;
    }
    let mut labels = domain.rsplit(|byte| *byte == b'.');
    let top = labels.next().unwrap_or_default();
    let mut others = labels.peekable();
    if others.peek().is_none()
        || others.any(|label| label.is_empty() || label.starts_with(b"-"))
        || !(2..=24).contains(&top.len())
        || !top.iter().all(u8::is_ascii_alphabetic)
        || NO_DOMAINS.iter().any(|word| top.eq_ignore_ascii_case(word))
    {
        return;
    }
    let end = at + 1 + domain.len();
    // `git@host:path`, `me@host:/path`
    let name = scan.slice(start, at);
    let path = scan.byte(end) == Some(b':') && matches!(scan.byte(end + 1), Some(b'/' | b'~' | b'.'));
    if path || SERVICES.contains(&name) {
        return;
    }
    scan.other(start, end, Kind::EmailAddress);
}

/// Looks at runs of certain bytes, without an anchor: only every so many bytes, which no run of interest can evade.
pub(super) fn runs(scan: &mut Scan<'_>) {
    discord(scan);
    if scan.wants(Extra::CARD) || scan.wants(Extra::SSN) {
        digits(scan);
    }
    if scan.wants(Extra::ENTROPY) || scan.wants(Extra::HEX) {
        words(scan);
    }
}

/// Calls `look` with each run of accepted bytes that has this length or more. In such a run one of any two bytes next to
/// each other is a `sure` one.
fn each(
    scan: &mut Scan<'_>,
    shortest: usize,
    sure: impl Fn(u8) -> bool,
    accept: impl Fn(u8) -> bool,
    mut look: impl FnMut(&mut Scan<'_>, usize, usize),
) {
    let mut floor = 0;
    let mut at = 0;
    let step = shortest.saturating_sub(1).max(1);
    while at < scan.len() {
        let hit = scan.byte(at).is_some_and(&sure) || scan.byte(at + 1).is_some_and(&sure);
        if !hit || !scan.byte(at).is_some_and(&accept) {
            at += step;
            continue;
        }
        let before = scan.slice(floor, at).iter().rev().take_while(|byte| accept(**byte)).count();
        steps::add(before);
        let (start, end) = (at - before, scan.run(at, &accept));
        if end - start >= shortest {
            look(scan, start, end);
        }
        floor = end;
        at = (at + step).max(end + 1);
    }
}

/// `MTIz….Gabcde.…`: the first part is the base64 of a number, the second a time.
fn discord(scan: &mut Scan<'_>) {
    let accept = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    each(scan, 58, accept, accept, |scan, start, end| {
        let start = scan.skip_escape(start, end);
        if end - start > 100 {
            return;
        }
        let text = scan.slice(start, end);
        let mut parts = text.split(|byte| *byte == b'.').map(<[u8]>::len);
        let fits = matches!(text.first(), Some(b'M' | b'N' | b'O'))
            && parts.next().is_some_and(|length| (23..=28).contains(&length))
            && parts.next().is_some_and(|length| (6..=7).contains(&length))
            && parts.next().is_some_and(|length| (27..=45).contains(&length))
            && parts.next().is_none_or(|length| length == 0);
        if fits && start >= scan.form_end() {
            scan.form(start, end, Kind::DiscordToken);
        } else if fits {
            scan.other(start, end, Kind::DiscordToken);
        }
    });
}

/// Numbers of cards and persons.
fn digits(scan: &mut Scan<'_>) {
    let accept = |byte: u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'-');
    let digit = |byte: u8| byte.is_ascii_digit();
    each(scan, 11, digit, accept, |scan, start, end| {
        // Groups of digits, and what stands between them.
        let mut at = start;
        while at < end {
            if !scan.byte(at).is_some_and(digit) {
                at += 1;
                continue;
            }
            at = number(scan, at, end).unwrap_or_else(|| scan.run(at, digit));
        }
    });
}

/// The number that begins here, if it is one of a card or a person; its end.
fn number(scan: &mut Scan<'_>, start: usize, end: usize) -> Option<usize> {
    let before = start.checked_sub(1).and_then(|at| scan.byte(at));
    if matches!(before, Some(b'_' | b'.')) || !scan.begins_word(start, false) {
        return None;
    }
    let after_digit =
        start.checked_sub(2).and_then(|at| scan.byte(at)).is_some_and(|byte| byte.is_ascii_alphanumeric());
    let mut groups = [(0_usize, 0_usize); 5];
    let mut count = 0;
    let mut separator = None;
    let mut at = start;
    let mut digits = Vec::with_capacity(20);
    while at < end && count < groups.len() {
        let stop = scan.run(at, |byte| byte.is_ascii_digit()).min(end);
        digits.extend_from_slice(scan.slice(at, stop.min(at + 20)));
        if let Some(group) = groups.get_mut(count) {
            *group = (at, stop);
        }
        count += 1;
        // The same sign between all groups, and a digit after it.
        let sign = scan.byte(stop);
        let more = matches!(sign, Some(b' ' | b'-')) && separator.is_none_or(|known| Some(known) == sign);
        if !more || !scan.byte(stop + 1).is_some_and(|byte| byte.is_ascii_digit()) {
            break;
        }
        separator = sign;
        at = stop + 1;
    }
    let groups = groups.get(..count)?;
    let sizes: Vec<usize> = groups.iter().map(|(from, to)| to - from).collect();
    let free = |to: usize| {
        let next = scan.byte(to);
        let fraction = next == Some(b'.') && scan.byte(to + 1).is_some_and(|byte| byte.is_ascii_digit());
        let joined = next == Some(b'-') && scan.byte(to + 1).is_some_and(|byte| byte.is_ascii_alphanumeric());
        !fraction && !joined && !next.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let stop = |groups_taken: usize| groups.get(groups_taken - 1).map_or(start, |(_, to)| *to);
    if scan.wants(Extra::SSN)
        && sizes.get(..3) == Some(&[3, 2, 4])
        && separator == Some(b'-')
        && !(before == Some(b'-') && after_digit)
        && free(stop(3))
        && is_person(&digits)
    {
        let to = stop(3);
        scan.other(start, to, Kind::SsnPattern);
        return Some(to);
    }
    if !scan.wants(Extra::CARD) || (before == Some(b'-') && after_digit) {
        return None;
    }
    let taken = match sizes.as_slice() {
        [4, 4, 4, 4, 1..=3] => 5,
        [4, 4, 4, 4, ..] => 4,
        [4, 6, 4 | 5, ..] => 3,
        [13..=19, ..] => 1,
        _ => return None,
    };
    let length: usize = sizes.iter().take(taken).sum();
    let number = digits.get(..length)?;
    let to = stop(taken);
    if !(free(to) && is_card(number)) {
        return None;
    }
    scan.other(start, to, Kind::CreditCardLuhn);
    Some(to)
}

/// Numbers that the Social Security Administration gives out.
fn is_person(digits: &[u8]) -> bool {
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    let area = part(0, 3);
    area != b"000" && area != b"666" && !area.starts_with(b"9") && part(3, 5) != b"00" && part(5, 9) != b"0000"
}

/// True if an issuer gives out numbers like this, and the check digit is right (ISO/IEC 7812-1).
pub(super) fn is_card(digits: &[u8]) -> bool {
    let head = digits.iter().take(4).fold(0_u32, |number, digit| number * 10 + u32::from(digit.wrapping_sub(b'0')));
    let issued = match digits.len() {
        13 => head / 1000 == 4,
        14 => matches!(head / 100, 36 | 38 | 39) || matches!(head / 10, 300..=305),
        15 => matches!(head / 100, 34 | 37),
        16 => {
            head / 1000 == 4
                || matches!(head / 100, 51..=55 | 62 | 64 | 65)
                || matches!(head, 2221..=2720 | 3528..=3589 | 6011)
        }
        17 | 18 => head / 100 == 62,
        19 => head / 1000 == 4 || head / 100 == 62,
        _ => false,
    };
    issued && is_checked(digits)
}

/// Luhn's check.
fn is_checked(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit.wrapping_sub(b'0'));
            let twice = digit * 2;
            if at % 2 == 0 { digit } else { twice - if twice > 9 { 9 } else { 0 } }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != b'0')
}

/// Words with many different letters, and long hexadecimal numbers.
fn words(scan: &mut Scan<'_>) {
    let accept = |byte: u8| {
        byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'"' | b'\'' | b',' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'`'
            )
    };
    each(scan, 20, accept, accept, |scan, start, end| {
        let text = scan.slice(start, end);
        if scan.wants(Extra::ENTROPY) && text.len() <= 64 && entropy(text) > 4.5 {
            return scan.other(start, end, Kind::GenericHighEntropy);
        }
        if !scan.wants(Extra::HEX) {
            return;
        }
        let mut at = start;
        while at < end {
            let stop = scan.run(at, |byte| byte.is_ascii_hexdigit()).min(end);
            if stop - at >= 64 {
                scan.other(at, stop, Kind::GenericHex);
            }
            at = stop + 1;
        }
    });
}

/// Bits per byte (Shannon).
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let all = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let share = |count: &u32| f64::from(*count) / all;
    counts.iter().filter(|count| **count > 0).map(|count| -share(count) * share(count).log2()).sum()
}
