use proptest::prelude::*;

use super::*;

#[test]
fn kinds_are_masked() {
    for (plain, masked) in [
        ("sk-ant-api03-AbC_dEf-1", "[REDACTED:AnthropicKey]"),
        ("key sk-proj-abcdefghijkl.", "key [REDACTED:OpenAiKey]."),
        ("x=AKIAIOSFODNN7EXAMPLE", "x=[REDACTED:AwsAccessKey]"),
        ("ghp_0123456789abcdef", "[REDACTED:GitHubPat]"),
        ("says-ghp_16C7e42F292c6912E7710c838347Ae178B4a.", "says-[REDACTED:GitHubPat]."),
        ("my_sk-Abcdefghijklmnopqrst0123", "my_[REDACTED:OpenAiKey]"),
        ("a-task-ghp_name_of_a_thing", "a-task-ghp_name_of_a_thing"),
        ("github_pat_11ABC_defghi", "[REDACTED:GitHubPat]"),
        ("xoxb-123-abc-def", "[REDACTED:SlackBotToken]"),
        ("postgres://u:p%40ss@db/x", "[REDACTED:PostgresUrl]"),
        ("https://user:hunter2@host/p", "https://user:[REDACTED:UrlPassword]@host/p"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a [REDACTED:RsaPrivateKey] b"),
        ("-----BEGIN PRIVATE KEY-----\nMIIcut", "[REDACTED:PrivateKey]"),
        ("eyJhbGciOiJI.eyJzdWIi.c2ln-_x", "[REDACTED:Jwt]"),
        ("Bearer abc123def", "Bearer [REDACTED:BearerToken]"),
        ("Basic dXNlcjpwYXNz=", "Basic [REDACTED:BasicAuth]"),
        ("Authorization: Bearer x", "Authorization: [REDACTED:Authorization]"),
        ("OPENAI_API_KEY=abc ls", "OPENAI_API_KEY=[REDACTED:SecretValue] ls"),
        ("run --token abc -v", "run --token [REDACTED:SecretValue] -v"),
        ("run --api-key=abc", "run --api-key=[REDACTED:SecretValue]"),
        (r#"{"client_secret": "abc"}"#, r#"{"client_secret": "[REDACTED:SecretValue]"}"#),
        ("X-Api-Key: abc", "X-Api-Key: [REDACTED:SecretValue]"),
        ("curl -s -u me:pw https://h", "curl -s -u me:[REDACTED:Password] https://h"),
        (
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9v==;X=y",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=[REDACTED:AzureConnectionString];X=y",
        ),
    ] {
        assert_eq!(text(plain), masked, "{plain}");
        assert_eq!(text(masked), masked, "{masked}");
    }
}

#[test]
fn targets_lose_their_keys() {
    for (plain, masked) in [
        ("/v1beta/models/m?key=abc&alt=sse", "/v1beta/models/m?key=[REDACTED:QueryKey]&alt=sse"),
        ("/x?a=1&sig=ab%3D#f", "/x?a=1&sig=[REDACTED:QueryKey]#f"),
        ("https://u:p@h/x?token=t", "https://u:[REDACTED:UrlPassword]@h/x?token=[REDACTED:QueryKey]"),
        ("/v1/chat/completions?beta=true", "/v1/chat/completions?beta=true"),
    ] {
        assert_eq!(target(plain), masked);
    }
}

#[test]
fn ordinary_commands_are_left_alone() {
    for plain in [
        "ls -la /tmp/sk",
        "git commit -m \"task-list\"",
        "python3 agent.py",
        "pip install scikit-learn sk-learn",
        "run --max-tokens 100 max_tokens=100 TOKENIZERS_PARALLELISM=false",
        "PWD=/home/me OLDPWD=/ cd src",
        "export TOKEN=$TOKEN && x --token $TOKEN --password ${PASSWORD}",
        "docker run -u 1000:1000 img",
        "http://localhost:8080/v1?x=1",
        "a basic instruction for the bearer of this",
        "grep -rn 'tokens' src | sort -k 2",
        "2026-11-21T10:11:12Z user@host:/path",
        "unexpected tokens: 3",
    ] {
        assert_eq!(text(plain), plain);
        let args: Vec<String> = plain.split(' ').map(str::to_owned).collect();
        assert_eq!(super::args(args.clone()), args);
    }
}

#[test]
fn arguments_are_masked_by_their_option() {
    let masked = |line: &[&str]| args(line.iter().map(|arg| (*arg).to_owned()).collect()).join(" ");
    assert_eq!(masked(&["x", "--api-key", "hunter2", "-v"]), "x --api-key [REDACTED:SecretValue] -v");
    assert_eq!(masked(&["x", "--token", "--verbose"]), "x --token --verbose");
    assert_eq!(masked(&["/usr/bin/curl", "-u", "me:pw"]), "/usr/bin/curl -u me:[REDACTED:Password]");
    assert_eq!(masked(&["id", "-u", "me:pw"]), "id -u me:pw");
    assert_eq!(masked(&["env", "DB_PASSWORD=a;b)c&d"]), "env DB_PASSWORD=[REDACTED:SecretValue]");
    assert_eq!(
        masked(&["curl", "-H", "Authorization: Bearer abc", "https://h/?key=k"]),
        "curl -H Authorization: [REDACTED:Authorization] https://h/?key=[REDACTED:QueryKey]"
    );
    assert_eq!(
        masked(&["sh", "-c", "OPENAI_API_KEY=abc python3 agent.py"]),
        "sh -c OPENAI_API_KEY=[REDACTED:SecretValue] python3 agent.py"
    );
}

#[test]
fn kinds_are_counted() {
    let (masked, kinds) = text_counted("a sk-ant-abc1 b ghp_0123456789 c");
    assert_eq!(masked, "a [REDACTED:AnthropicKey] b [REDACTED:GitHubPat] c");
    assert_eq!(kinds, ["AnthropicKey", "GitHubPat"]);
    assert_eq!(text_counted("plain"), (Cow::Borrowed("plain"), vec![]));
}

/// Steps of all passes over a text.
fn steps(text: &str) -> u64 {
    scan::steps::take();
    let _ = super::text_with(text, &all());
    scan::steps::take()
}

/// Every kind that there is.
fn all() -> Rules {
    let extra = KINDS.iter().filter_map(|kind| Extra::named(kind.name)).fold(Extra::NONE, Extra::with);
    Rules { extra, names: vec!["Own".into()] }
}

/// A fixed number of steps for each byte, whatever the text.
fn assert_linear(unit: &str) {
    let repeated = |length: usize| unit.repeat(length / unit.len().max(1));
    let (once, twice) = (steps(&repeated(20_000)), steps(&repeated(40_000)));
    assert!(twice <= once * 5 / 2 + 10_000, "{unit:?}: {once} and then {twice} steps");
}

#[test]
fn hostile_input_takes_linear_time() {
    for unit in [
        "sk-",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY--- END ",
        "-----BEGIN PRIVATE KEY-----END x-----",
        "a_token=\"",
        "a_token='\"",
        "token=$token=",
        "token=[",
        "token=a.",
        "curl -u ",
        "curl -u a:",
        "curl -u -u -u",
        "Bearer ",
        "basic aaaaaaaa+basic ",
        "basic+aaaaaaaa",
        "x://a:",
        "redis://",
        "redis://@",
        "eyJa.",
        "eyJaaaaaaa-",
        "[REDACTED:",
        "[REDACTED:Jwt]",
        "password=[REDACTED:Jwt]",
        "{\"type\":",
        "\"type\": \"service_account\"",
        "service_account",
        "cookie: the ",
        "cookie: [REDACTED:Cookie] ",
        "authorization: $A ",
        "a@",
        "a@b.",
        "4242 ",
        "1-",
        "1",
        "000-",
        "SK",
        "AKIA",
        "AKIAIOSFODNN7EXAMPLE ",
        ":AA",
        "12345678:AA",
        ".atlasv1.",
        "token ",
        "token     ",
        "token\\",
        "--token ",
        "login a password ",
        "password: \\\"",
        "?code=",
        "&sig=a",
    ] {
        assert_linear(unit);
    }
    // Quotes behind more and more backslashes.
    let nested =
        |count: usize| (0..count).map(|depth| format!("token:{}\"", "\\".repeat(depth % 12))).collect::<String>();
    assert!(steps(&nested(4000)) <= steps(&nested(2000)) * 5 / 2 + 10_000);
}

/// Pieces that patterns look for, and delimiters between them.
const PIECES: &[&str] = &[
    "sk-",
    "sk-ant-",
    "AKIA",
    "ABCDEFGHIJKLMNOP",
    "abc123def456ghi789",
    "ghp_",
    "Bearer ",
    "Basic ",
    "API_KEY=",
    "--token ",
    "Authorization: ",
    "://",
    "u:p@",
    "\"",
    "'",
    " ",
    "\n",
    "&",
    "?key=",
    "=",
    ":",
    ";",
    ",",
    "-",
    "_",
    ".",
    "eyJabcdef",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "[REDACTED:",
    "[REDACTED:Jwt]",
    "]",
    "password",
    "é",
    "\\",
    "{",
    "}",
    "\"type\": \"service_account\"",
    "curl -u ",
    "postgres://",
    "AccountKey=",
    "$",
    "(",
];

#[test]
fn every_kind_is_masked_wherever_it_stands() {
    let rules = all();
    let mut missing = Vec::new();
    for kind in KINDS {
        let Example { name, text, secret } = kind.example();
        for place in [
            "{}",
            "see {} there",
            "\"{}\"",
            "x='{}'",
            "line\\n{}",
            "a\n{}\nb",
            "({})",
            "say: {}.",
            "\u{1b}[32m{}\u{1b}[0m",
            "\u{e9}{}\u{e9}",
        ] {
            let plain = place.replace("{}", &text);
            let (masked, kinds) = text_with(&plain, &rules);
            if masked.contains(&secret) || !kinds.contains(&name) {
                missing.push(format!("{name}: {plain} -> {masked}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn what_is_no_secret_is_left_alone() {
    let rules = Rules { extra: Extra::PERSONAL, names: vec![] };
    let mut wrong = Vec::new();
    for plain in include_str!("harmless.txt").lines() {
        let (masked, _) = text_with(plain, &rules);
        if masked != plain {
            wrong.push(format!("{plain}\n -> {masked}"));
        }
    }
    // Base64 of all bytes, as of an image.
    let image: String = (0_u32..200_000)
        .map(|at| {
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            char::from(alphabet[(at.wrapping_mul(2_654_435_761) >> 13) as usize % 64])
        })
        .collect();
    assert_eq!(text_with(&image, &rules).0, image);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_only_looks_like_a_mask_hides_nothing() {
    for plain in [
        "password=[REDACTED:Jwt]hunter22",
        "password=[REDACTED:hunter22]",
        "password=\"[REDACTED:Jwt]hunter22\"",
        "[REDACTED:AKIAHUNTER22EXAMPLE1]",
        "[REDACTED: password=hunter22",
        "--token [REDACTED:Unknown]hunter22",
        "https://u:[REDACTED:Jwt]hunter22@h/",
    ] {
        let masked = text(plain);
        assert!(!masked.to_lowercase().contains("hunter22"), "{plain} -> {masked}");
        let masked = args(plain.split(' ').map(str::to_owned).collect()).join(" ");
        assert!(!masked.to_lowercase().contains("hunter22"), "{plain} -> {masked}");
    }
    let own = Rules { extra: Extra::NONE, names: vec!["Own".into()] };
    assert_eq!(text_with("token=[REDACTED:Own]", &own).0, "token=[REDACTED:Own]");
}

#[test]
fn values_end_where_they_end() {
    for (plain, masked) in [
        (r#"{"password":"correct horse, battery","n":1}"#, r#"{"password":"[REDACTED:SecretValue]","n":1}"#),
        (
            r#"{"a":"{\"api_key\": \"x\\\"y z\", \"b\": 1}"}"#,
            r#"{"a":"{\"api_key\": \"[REDACTED:SecretValue]\", \"b\": 1}"}"#,
        ),
        (r#"{"password": 12345678, "n": 2}"#, r#"{"password": "[REDACTED:SecretValue]", "n": 2}"#),
        ("api_key = 'a b'  # x", "api_key = '[REDACTED:SecretValue]'  # x"),
        ("aws_secret_access_key = abc/def+1", "aws_secret_access_key = [REDACTED:AwsSecretKey]"),
        ("machine h login me password pw1 port", "machine h login me password [REDACTED:Password] port"),
        ("x-auth-token: Bearer abc1", "x-auth-token: [REDACTED:SecretValue]"),
        ("Cookie: a=b; c=d\r\nHost: h", "Cookie: [REDACTED:Cookie]\r\nHost: h"),
        (r#"-H "Authorization: Bearer a.b" https://h"#, r#"-H "Authorization: [REDACTED:Authorization]" https://h"#),
        (
            r#"{"c":"curl -H \"Authorization: Bearer a1\" h"}"#,
            r#"{"c":"curl -H \"Authorization: [REDACTED:Authorization]\" h"}"#,
        ),
        (
            "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "[REDACTED:AwsAccessKey] [REDACTED:AwsSecretKey]",
        ),
        (r#"{"auths":{"r.io":{"auth":"dXNlcjpwYXNzMQ=="}}}"#, r#"{"auths":{"r.io":{"auth":"[REDACTED:BasicAuth]"}}}"#),
        ("https://ghtoken0123456789abc@host/x", "https://[REDACTED:UrlPassword]@host/x"),
        ("redis://:p/w@h:6379/0 x", "[REDACTED:DatabaseUrl] x"),
        ("token = \"$TOKEN\" key", "token = \"$TOKEN\" key"),
        ("curl -X POST \\\n  -u me:pw https://h", "curl -X POST \\\n  -u me:[REDACTED:Password] https://h"),
    ] {
        assert_eq!(text(plain), masked, "{plain}");
        assert_eq!(text(masked), masked, "{masked}");
    }
}

#[test]
fn numbers_of_cards_and_persons_are_checked() {
    let rules = Rules { extra: Extra::PERSONAL, names: vec![] };
    let masked = |plain: &str| text_with(plain, &rules).0.into_owned();
    for card in ["4111111111111111", "4111-1111-1111-1111", "3782 822463 10005", "5555555555554444", "6011111111111117"]
    {
        assert_eq!(masked(&format!("card {card}, ok")), "card [REDACTED:CreditCardLuhn], ok");
        assert_eq!(text(card), card);
    }
    assert_eq!(masked("ssn 536-22-8714."), "ssn [REDACTED:SsnPattern].");
    assert_eq!(masked("mail a.b+c@example.co.uk, d"), "mail [REDACTED:EmailAddress], d");
    let without = Rules { extra: Extra::PERSONAL.without(Extra::EMAIL), names: vec![] };
    assert_eq!(text_with("a@example.com", &without).0, "a@example.com");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_repetition_takes_linear_time(at in prop::collection::vec(0..PIECES.len(), 1..5)) {
        assert_linear(&at.into_iter().map(|at| PIECES[at]).collect::<String>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_twice_is_masking_once(at in prop::collection::vec(0..PIECES.len(), 0..14)) {
        let plain: String = at.into_iter().map(|at| PIECES[at]).collect();
        let once = text(&plain).into_owned();
        prop_assert_eq!(text(&once).into_owned(), once);
        let rules = all();
        let once = text_with(&plain, &rules).0.into_owned();
        let (twice, kinds) = text_with(&once, &rules);
        prop_assert_eq!((twice.as_ref(), kinds.len()), (once.as_str(), 0));
    }

    #[test]
    fn any_text_is_survived(plain in ".{0,200}") {
        let once = text(&plain).into_owned();
        prop_assert_eq!(text(&once).into_owned(), once);
        let once = args(plain.split(' ').map(str::to_owned).collect());
        prop_assert_eq!(args(once.clone()), once);
    }

    #[test]
    fn canaries_vanish(secret in "[A-Za-z0-9]{12}[0-9][A-Za-z0-9]{10}", place in 0usize..14, before in "[ -~]{0,20}") {
        // A marker or an open PEM in what stands before is not the subject.
        prop_assume!(!before.contains('['));
        let plain = match place {
            0 => format!("sk-{secret}"),
            1 => format!("sk-ant-{secret}"),
            2 => format!("Authorization: Bearer {secret}"),
            3 => format!("OPENAI_API_KEY={secret}"),
            4 => format!("--token {secret}"),
            5 => format!("--api-key={secret}"),
            6 => format!("https://user:{secret}@host/"),
            7 => format!("https://host/?api_key={secret}&x=1"),
            8 => format!("ghp_{secret}"),
            9 => format!("{{\"password\":\"{secret}\"}}"),
            10 => format!("-----BEGIN EC PRIVATE KEY-----\n{secret}"),
            11 => format!("x-api-key: {secret}"),
            12 => format!("eyJ{secret}.{secret}.{secret}"),
            _ => format!("postgres://u:{secret}@db"),
        };
        let masked = text(&format!("{before}\n{plain}")).into_owned();
        prop_assert!(!masked.contains(&secret), "{}", masked);
        let masked = args(vec!["x".into(), plain]).join(" ");
        prop_assert!(!masked.contains(&secret), "{}", masked);
    }
}
