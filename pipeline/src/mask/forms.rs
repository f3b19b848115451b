//! Secrets that are known by their own form: a prefix, and what may follow it.

use super::{
    kinds::Kind,
    scan::{Scan, steps},
};

/// A prefix and what follows it.
pub(super) struct Form {
    pub(super) prefix: &'static str,
    pub(super) kind: Kind,
    /// The prefix is written just so. Else any case will do.
    pub(super) exact: bool,
    /// What the rest consists of.
    rest: fn(u8) -> bool,
    /// Shortest rest.
    shortest: usize,
    /// Longest rest.
    longest: usize,
    /// The prefix is part of an address, and stays.
    address: bool,
}

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}
pub(super) fn word(byte: u8) -> bool {
    alnum(byte) || matches!(byte, b'_' | b'-')
}
fn under(byte: u8) -> bool {
    alnum(byte) || byte == b'_'
}
fn dotted(byte: u8) -> bool {
    word(byte) || byte == b'.'
}
fn base64(byte: u8) -> bool {
    word(byte) || matches!(byte, b'+' | b'/' | b'=')
}
fn path(byte: u8) -> bool {
    word(byte) || byte == b'/'
}
fn hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

const ANY: usize = usize::MAX;

const fn form(prefix: &'static str, kind: Kind, rest: fn(u8) -> bool, shortest: usize) -> Form {
    Form { prefix, kind, exact: true, rest, shortest, longest: ANY, address: false }
}

const fn any_case(prefix: &'static str, kind: Kind, rest: fn(u8) -> bool, shortest: usize) -> Form {
    Form { prefix, kind, exact: false, rest, shortest, longest: ANY, address: false }
}

const fn sized(prefix: &'static str, kind: Kind, rest: fn(u8) -> bool, length: usize) -> Form {
    Form { prefix, kind, exact: true, rest, shortest: length, longest: length, address: false }
}

const fn address(prefix: &'static str, kind: Kind, rest: fn(u8) -> bool, shortest: usize) -> Form {
    Form { prefix, kind, exact: false, rest, shortest, longest: ANY, address: true }
}

/// One row per prefix. `sk-…` is looked at by [`sk`], keys of AWS by [`aws`].
pub(super) const FORMS: &[Form] = &[
    any_case("sk-ant-", Kind::AnthropicKey, word, 1),
    any_case("ghp_", Kind::GitHubPat, under, 6),
    any_case("github_pat_", Kind::GitHubPat, under, 6),
    any_case("ghs_", Kind::GitHubAppToken, under, 6),
    any_case("gho_", Kind::GitHubAppToken, under, 6),
    any_case("ghu_", Kind::GitHubAppToken, under, 6),
    any_case("ghr_", Kind::GitHubAppToken, under, 6),
    any_case("xoxb-", Kind::SlackBotToken, word, 6),
    any_case("xapp-", Kind::SlackBotToken, word, 6),
    any_case("xoxp-", Kind::SlackUserToken, word, 6),
    any_case("xoxs-", Kind::SlackUserToken, word, 6),
    any_case("xoxc-", Kind::SlackUserToken, word, 6),
    any_case("xoxd-", Kind::SlackUserToken, base64, 6),
    any_case("xoxa-", Kind::SlackOAuthToken, word, 6),
    any_case("xoxr-", Kind::SlackOAuthToken, word, 6),
    any_case("xoxe-", Kind::SlackOAuthToken, word, 6),
    any_case("xoxe.xox", Kind::SlackOAuthToken, word, 6),
    address("hooks.slack.com/services/", Kind::SlackWebhook, path, 16),
    address("hooks.slack.com/workflows/", Kind::SlackWebhook, path, 16),
    address("/api/webhooks/", Kind::DiscordWebhook, path, 30),
    form("AIza", Kind::GoogleApiKey, word, 20),
    form("ya29.", Kind::GoogleOAuthToken, dotted, 20),
    form("GOCSPX-", Kind::GoogleOAuthToken, word, 16),
    form("1//0", Kind::GoogleOAuthToken, word, 30),
    form("xai-", Kind::XaiKey, alnum, 16),
    form("gsk_", Kind::GroqKey, alnum, 16),
    form("hf_", Kind::HuggingFaceToken, alnum, 16),
    form("api_org_", Kind::HuggingFaceToken, alnum, 16),
    form("pplx-", Kind::PerplexityKey, alnum, 16),
    form("r8_", Kind::ReplicateToken, alnum, 16),
    form("nvapi-", Kind::ProviderKey, word, 20),
    form("fw_", Kind::ProviderKey, alnum, 20),
    form("csk-", Kind::ProviderKey, alnum, 20),
    form("tgp_v1_", Kind::ProviderKey, word, 20),
    form("tvly-", Kind::ProviderKey, word, 16),
    form("lsv2_pt_", Kind::ProviderKey, under, 16),
    form("lsv2_sk_", Kind::ProviderKey, under, 16),
    form("pcsk_", Kind::ProviderKey, under, 20),
    form("jina_", Kind::ProviderKey, word, 30),
    form("e2b_", Kind::ProviderKey, hex, 20),
    form("crsr_", Kind::ProviderKey, hex, 20),
    form("ak_", Kind::ProviderKey, alnum, 20),
    form("fc-", Kind::ProviderKey, hex, 32),
    form("glpat-", Kind::GitLabToken, dotted, 8),
    form("gldt-", Kind::GitLabToken, word, 16),
    form("glrt-", Kind::GitLabToken, dotted, 16),
    form("glcbt-", Kind::GitLabToken, word, 16),
    form("gloas-", Kind::GitLabToken, word, 16),
    form("sk_live_", Kind::StripeKey, alnum, 10),
    form("sk_test_", Kind::StripeKey, alnum, 10),
    form("rk_live_", Kind::StripeKey, alnum, 10),
    form("rk_test_", Kind::StripeKey, alnum, 10),
    form("whsec_", Kind::StripeKey, base64, 16),
    form("npm_", Kind::NpmToken, alnum, 30),
    form("pypi-AgE", Kind::PypiToken, word, 16),
    form("rubygems_", Kind::RubyGemsToken, hex, 20),
    form("dckr_pat_", Kind::DockerToken, word, 16),
    form("dckr_oat_", Kind::DockerToken, word, 16),
    form("dop_v1_", Kind::DigitalOceanToken, hex, 20),
    form("doo_v1_", Kind::DigitalOceanToken, hex, 20),
    form("dor_v1_", Kind::DigitalOceanToken, hex, 20),
    form("SG.", Kind::SendGridKey, dotted, 40),
    sized("SK", Kind::TwilioKey, hex, 32),
    sized("key-", Kind::MailgunKey, hex, 32),
    form("shpat_", Kind::ShopifyToken, hex, 20),
    form("shpca_", Kind::ShopifyToken, hex, 20),
    form("shppa_", Kind::ShopifyToken, hex, 20),
    form("shpss_", Kind::ShopifyToken, hex, 20),
    sized("dapi", Kind::DatabricksToken, hex, 32),
    form("lin_api_", Kind::LinearKey, alnum, 20),
    form("lin_oauth_", Kind::LinearKey, alnum, 20),
    form("ntn_", Kind::NotionToken, alnum, 30),
    sized("secret_", Kind::NotionToken, alnum, 43),
    form("hvs.", Kind::VaultToken, word, 16),
    form("hvb.", Kind::VaultToken, word, 16),
    form("hvr.", Kind::VaultToken, word, 16),
    form("ATATT3x", Kind::AtlassianToken, base64, 20),
    form("ATCTT3x", Kind::AtlassianToken, base64, 20),
    form("ATBB", Kind::AtlassianToken, alnum, 24),
    form("glsa_", Kind::GrafanaToken, under, 20),
    form("glc_", Kind::GrafanaToken, base64, 30),
    form("sntrys_", Kind::SentryToken, base64, 20),
    form("sntryu_", Kind::SentryToken, hex, 20),
    form("NRAK-", Kind::NewRelicKey, alnum, 20),
    form("PMAK-", Kind::PostmanKey, word, 20),
    form("figd_", Kind::FigmaToken, word, 20),
    form("sbp_", Kind::SupabaseKey, alnum, 20),
    form("sb_secret_", Kind::SupabaseKey, word, 16),
    form("pscale_tkn_", Kind::PlanetScaleToken, word, 20),
    form("pscale_pw_", Kind::PlanetScaleToken, word, 20),
    form("pscale_oauth_", Kind::PlanetScaleToken, word, 20),
    form("dp.pt.", Kind::DopplerToken, alnum, 20),
    form("dp.st.", Kind::DopplerToken, dotted, 20),
    form("dp.ct.", Kind::DopplerToken, alnum, 20),
    form("dp.sa.", Kind::DopplerToken, alnum, 20),
    form("ops_eyJ", Kind::OnePasswordToken, base64, 20),
    any_case("AGE-SECRET-KEY-1", Kind::AgeKey, alnum, 20),
    // "-----BEGIN … PRIVATE KEY" in base64, as kubeconfig files have it.
    form("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS", Kind::PrivateKey, base64, 0),
    form("LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt", Kind::PrivateKey, base64, 0),
    form("LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS", Kind::PrivateKey, base64, 0),
    form("LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZ", Kind::PrivateKey, base64, 0),
];

/// A prefix was found at `start`, and ends at `end`.
pub(super) fn look(scan: &mut Scan<'_>, form: &Form, start: usize, end: usize) {
    if form.exact && scan.slice(start, end) != form.prefix.as_bytes() {
        return;
    }
    if !form.address && !scan.begins_word(start, false) {
        return;
    }
    // A short prefix may also be the end of a name with hyphens or underscores: there only what no name looks like counts.
    if !form.address && form.prefix.len() <= 4 && !scan.begins_word(start, true) && !opaque(near(scan, end, form.rest))
    {
        return;
    }
    let mut stop = scan.run(end, form.rest);
    // The stop at the end of a sentence is not the secret's.
    while stop > end && scan.byte(stop - 1) == Some(b'.') {
        stop -= 1;
    }
    if (form.shortest..=form.longest).contains(&(stop - end)) {
        scan.form(if form.address { end } else { start }, stop, form.kind);
    }
}

/// The beginning of a run, of so few bytes that looking at it again and again costs no more than the text is long.
fn near<'a>(scan: &'a Scan<'_>, from: usize, accept: fn(u8) -> bool) -> &'a [u8] {
    let head = scan.slice(from, from + 64);
    let length = head.iter().position(|byte| !accept(*byte)).unwrap_or(head.len());
    steps::add(length);
    head.get(..length).unwrap_or_default()
}

/// True if no name of a thing looks like this: long, with digits and letters of both cases or many digits.
fn opaque(text: &[u8]) -> bool {
    let count = |of: fn(&u8) -> bool| text.iter().filter(|byte| of(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let mixed = count(u8::is_ascii_uppercase) > 0 && count(u8::is_ascii_lowercase) > 0;
    text.len() >= 20 && digits > 0 && digits < text.len() && (mixed || digits >= 4)
}

/// `sk-…`: keys of OpenAI and of others that took the form. Not `sk-learn-contrib`, nor the class `sk-fading-circle`.
pub(super) fn sk(scan: &mut Scan<'_>, start: usize, end: usize) {
    if !scan.begins_word(start, false) {
        return;
    }
    let parted = |byte: &u8| matches!(byte, b'-' | b'_');
    if !scan.begins_word(start, true) && !near(scan, end, word).split(parted).any(opaque) {
        return;
    }
    let stop = scan.run(end, word);
    let rest = scan.slice(end, stop);
    if rest.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"ant-")) {
        return;
    }
    let known = [b"proj-".as_slice(), b"svcacct-", b"admin-", b"or-v", b"lf-", b"none-"];
    let known = known.iter().any(|word| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)));
    let opaque = |part: &[u8]| {
        let digit = part.iter().any(u8::is_ascii_digit);
        let letter = part.iter().any(u8::is_ascii_alphabetic);
        let upper = part.iter().any(u8::is_ascii_uppercase) && part.iter().any(u8::is_ascii_lowercase);
        (part.len() >= 6 && digit && letter) || (part.len() >= 12 && (digit || upper)) || part.len() >= 24
    };
    if (known && rest.len() >= 10) || rest.split(|byte| matches!(byte, b'-' | b'_')).any(opaque) {
        scan.form(start, stop, Kind::OpenAiKey);
    }
}

/// `AKIA…`, `ASIA…`, and the secret beside it.
pub(super) fn aws(scan: &mut Scan<'_>, start: usize, end: usize) {
    if !scan.begins_word(start, false) {
        return;
    }
    let stop = scan.run(end, alnum);
    let whole = scan.slice(start, stop);
    let upper = whole.iter().all(|byte| !byte.is_ascii_lowercase());
    let lower = whole.iter().all(|byte| !byte.is_ascii_uppercase()) && whole.iter().any(u8::is_ascii_digit);
    if !(upper && whole.len() >= 16 || lower && whole.len() == 20) {
        return;
    }
    scan.form(start, stop, Kind::AwsAccessKey);
    // The secret has no form but its 40 characters; it stands near.
    let mut at = stop;
    let near = scan.len().min(stop.saturating_add(NEAR));
    while at < near {
        let secret = |byte: u8| alnum(byte) || matches!(byte, b'+' | b'/');
        if !scan.byte(at).is_some_and(secret) {
            at += 1;
            continue;
        }
        let mut stop = at;
        while stop - at <= 40 && scan.byte(stop).is_some_and(secret) {
            stop += 1;
        }
        let found = scan.slice(at, stop);
        let mixed = found.iter().any(u8::is_ascii_lowercase) && found.iter().any(u8::is_ascii_uppercase);
        if found.len() == 40 && mixed {
            return scan.form(at, stop, Kind::AwsSecretKey);
        }
        at = if found.len() > 40 { near } else { stop };
    }
}

/// How far behind its id a secret is looked for.
const NEAR: usize = 160;

/// `eyJ….….…`
pub(super) fn jwt(scan: &mut Scan<'_>, start: usize, end: usize) {
    // Weak, so that no part of a long word is gone over again.
    if scan.slice(start, end) != b"eyJ" || !scan.begins_word(start, true) {
        return;
    }
    let header = scan.run(end, word);
    if header - end < 5 || scan.byte(header) != Some(b'.') {
        return;
    }
    let mut stop = scan.run(header + 1, word);
    if stop == header + 1 {
        return;
    }
    // Signed ones have three parts, encrypted ones five, of which some may be empty.
    for _ in 0..3 {
        if scan.byte(stop) != Some(b'.') || !scan.byte(stop + 1).is_some_and(|byte| word(byte) || byte == b'.') {
            break;
        }
        stop = scan.run(stop + 1, word);
    }
    scan.form(start, stop, Kind::Jwt);
}

/// `123456789:AA…`; the anchor is `:AA`.
pub(super) fn telegram(scan: &mut Scan<'_>, start: usize, end: usize) {
    let digits = (1..=12)
        .take_while(|back| start.checked_sub(*back).and_then(|at| scan.byte(at)).is_some_and(|b| b.is_ascii_digit()));
    let digits = digits.count();
    let stop = scan.run(end, word);
    if (8..=11).contains(&digits) && stop - end >= 30 && scan.slice(start, end) == b":AA" {
        scan.form(start - digits, stop, Kind::TelegramToken);
    }
}

/// `….atlasv1.…`; the anchor is what is in the middle.
pub(super) fn terraform(scan: &mut Scan<'_>, start: usize, end: usize) {
    let before =
        (1..=20).take_while(|back| start.checked_sub(*back).and_then(|at| scan.byte(at)).is_some_and(alnum)).count();
    let stop = scan.run(end, word);
    if before >= 10 && stop - end >= 20 {
        scan.form(start - before, stop, Kind::TerraformToken);
    }
}

/// What PEM's header says, by kind; the first that fits.
const PEM: &[(&[u8], Kind)] = &[
    (b"RSA PRIVATE KEY", Kind::RsaPrivateKey),
    (b"EC PRIVATE KEY", Kind::EcPrivateKey),
    (b"OPENSSH PRIVATE KEY", Kind::OpensshPrivateKey),
    (b"PGP PRIVATE KEY", Kind::PgpPrivateKey),
    (b"PRIVATE KEY", Kind::PrivateKey),
];

/// A PEM block from `BEGIN … PRIVATE KEY` to its end, or to the text's (RFC 7468; RFC 4716 has four hyphens and a blank).
pub(super) fn pem(scan: &mut Scan<'_>, start: usize, end: usize) {
    if start < scan.form_end() {
        return;
    }
    let head = scan.slice(end, scan.len().min(end + 64));
    let line = head.iter().position(|byte| matches!(byte, b'\n' | b'\r' | b'\\')).unwrap_or(head.len());
    let head = head.get(..line).unwrap_or(head).to_ascii_uppercase();
    let contains = |word: &[u8]| memchr::memmem::find(&head, word).is_some();
    let Some((_, kind)) = PEM.iter().find(|(word, _)| contains(word)) else { return };
    // Hyphens before BEGIN belong to it.
    let before = (1..=8).take_while(|back| {
        start.checked_sub(*back).and_then(|at| scan.byte(at)).is_some_and(|b| matches!(b, b'-' | b' '))
    });
    let before =
        before.collect::<Vec<_>>().into_iter().rev().find(|back| scan.byte(start - back) == Some(b'-')).unwrap_or(0);
    let rest = scan.slice(end, scan.len());
    let last = memchr::memmem::find_iter(rest, b"END").find(|at| {
        let before = rest.get(..*at).unwrap_or_default();
        before.strip_suffix(b" ").unwrap_or(before).ends_with(b"--")
    });
    steps::add(last.unwrap_or(rest.len()));
    let stop = match last {
        None => scan.len(),
        Some(at) => {
            let label = end + at + 3;
            let line = scan.slice(label, scan.len().min(label + 64));
            // A label is ASCII; where it has no end, the word END is.
            let close =
                memchr::memmem::find(line, b"--").filter(|close| line.get(..*close).is_some_and(<[u8]>::is_ascii));
            close.map_or(label, |close| scan.run(label + close, |byte| byte == b'-'))
        }
    };
    scan.form(start - before, stop, *kind);
}

/// The object around `"type": "service_account"`; the anchor is the value.
pub(super) fn service_account(scan: &mut Scan<'_>, start: usize, end: usize) {
    let mut at = start;
    let mut back = |accept: fn(u8) -> bool, limit: usize| {
        let floor = at.saturating_sub(limit);
        while at > floor && at.checked_sub(1).and_then(|before| scan.byte(before)).is_some_and(accept) {
            at -= 1;
        }
    };
    let quote = |byte: u8| matches!(byte, b'"' | b'\'' | b'\\');
    back(quote, 16);
    back(|byte| byte.is_ascii_whitespace(), 16);
    back(|byte| byte == b':', 1);
    back(|byte| byte.is_ascii_whitespace(), 16);
    back(quote, 16);
    let name = at.saturating_sub(4);
    if !scan.slice(name, at).eq_ignore_ascii_case(b"type") {
        return;
    }
    let from = scan.take_braces(name);
    let stop = memchr::memchr(b'}', scan.slice(end, scan.len())).map_or(scan.len(), |found| end + found + 1);
    steps::add(stop - end);
    scan.form(from, stop, Kind::GcpServiceAccount);
}
