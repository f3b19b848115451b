//! How fast text is masked, and that twice the text takes twice the time. `cargo bench -p onlooker-pipeline --bench mask`
#![allow(clippy::print_stdout, reason = "a bench prints its results")]

use std::time::{Duration, Instant};

use pipeline::mask::{Extra, Rules, text_with};

const SIZE: usize = 8 << 20;

fn main() {
    let rules = Rules { extra: Extra::PERSONAL, names: Vec::new() };
    let image: String = (0_u32..)
        .map(|at| {
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            char::from(alphabet[(at.wrapping_mul(2_654_435_761) >> 13) as usize % alphabet.len()])
        })
        .take(65_536)
        .collect();
    for (name, unit) in [
        ("prose", PROSE),
        ("json", JSON),
        ("code", CODE),
        ("base64", image.as_str()),
        ("prose with a secret in each kilobyte", &format!("{} sk-ant-api03-AbCdEf0123456789 ", PROSE)),
    ] {
        let (speed, _) = measure(unit, &rules);
        println!("{name}: {speed:.0} MB/s");
    }
    for unit in [
        "sk-",
        "token=",
        "password=\"",
        "cookie: the ",
        "://a:",
        "redis://",
        "-----BEGIN PRIVATE KEY-----",
        "4242 ",
        "a@b.",
    ] {
        let (speed, ratio) = measure(unit, &rules);
        println!("{unit:?} repeated: {speed:.0} MB/s, twice the text takes {ratio:.1} times as long");
    }
}

/// MB/s, and the time of twice the text over that of the text; the best of three.
fn measure(unit: &str, rules: &Rules) -> (f64, f64) {
    let time = |size: usize| {
        let text = unit.repeat(size / unit.len());
        let once = || {
            let started = Instant::now();
            std::hint::black_box(text_with(&text, rules));
            started.elapsed()
        };
        (0..3).map(|_| once()).min().unwrap_or(Duration::MAX)
    };
    let (half, whole) = (time(SIZE / 2).as_secs_f64(), time(SIZE).as_secs_f64());
    (SIZE as f64 / 1e6 / whole, whole / half)
}

const PROSE: &str = "The agent was asked to look at the repository and to say which of its tests fail. It reads the list of \
files first, then opens those whose names promise something, and runs the tests with the tool that the project uses. \
Where a test fails, it looks for the reason in the code that the test calls, and not in the test itself; it changes as \
little as it can, runs the tests again, and tells what it did in a few words. A question that it cannot answer from the \
code it asks. The budget of tokens is limited, so it does not read what it does not need: a key point, as tasks like \
these pass through many files. On 2026-11-21 at 10:15 it took 3 minutes and 42 seconds for 128 files (1.7 MB) in total.\n";

const JSON: &str = r#"{"model":"claude-sonnet-4-5-20250929","max_tokens":4096,"stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"Please run the tests and tell me what fails."}]},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_01A09q90qw90lq917835lq9","name":"bash","input":{"command":"cargo test --workspace 2>&1 | tail -40","timeout":120000}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_01A09q90qw90lq917835lq9","is_error":false,"content":"test result: ok. 204 passed; 0 failed; 3 ignored; finished in 1.32s\n"}]}],"usage":{"input_tokens":1234,"output_tokens":56,"cache_read_input_tokens":1024},"id":"msg_01XFDUDYJgAACzvnptvVoYEL","created":1741569952,"system_fingerprint":"fp_44709d6fcb"}"#;

const CODE: &str = r#"fn parse(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        // A key and its value, or a comment.
        let Some((key, value)) = line.split_once('=') else { continue };
        tokens.push(Token { key: key.trim().to_owned(), value: value.trim().to_owned(), line: at + 1 });
    }
    if tokens.is_empty() { return Err(Error::Empty { path: self.path.clone() }) }
    Ok(tokens)
}
"#;
