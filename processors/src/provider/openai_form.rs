//! Requests that are forms (`multipart/form-data`, RFC 7578), as those that upload images and sound are: read as if they
//! were one JSON object, so that a decoder need not care.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use pipeline::observation::{Headers, MessagePart};
use serde_json::{Map, Value as Json, json};

use super::{json::Object, media};

/// More fields than these are not looked at.
const MOST_FIELDS: usize = 256;

/// Text of a field that is longer is left out.
const LONGEST_TEXT: usize = 1 << 20;

/// Fields that are numbers or truth values in JSON.
const TYPED: &[&str] = &["n", "stream", "temperature", "partial_images"];

/// The fields of a form as JSON text; `None` if the body is no form. A file is an object of `filename`, `mime_type` and, with
/// `capture`, its `content` in base64. A form that is cut gives the fields that are whole.
pub fn as_json(headers: &Headers, body: &[u8], capture: bool) -> Option<Vec<u8>> {
    let boundary = boundary(headers.get("content-type")?)?;
    let mut fields: Map<String, Json> = Map::new();
    let parts = Parts { body, delimiter: format!("--{boundary}").into_bytes(), at: 0 };
    for part in parts.take(MOST_FIELDS) {
        let Some((name, value)) = field(part, capture) else { continue };
        let (name, many) = match name.strip_suffix("[]") {
            Some(name) => (name.to_owned(), true),
            None => (name, false),
        };
        match fields.get_mut(&name) {
            Some(Json::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
            None if many => drop(fields.insert(name, json!([value]))),
            None => drop(fields.insert(name, value)),
        }
    }
    serde_json::to_vec(&fields).ok()
}

/// The boundary of a form's content type (RFC 2046, section 5.1.1).
fn boundary(kind: &str) -> Option<&str> {
    let (kind, parameters) = kind.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (!found.is_empty() && found.len() <= 70).then_some(found)
}

/// What stands between two delimiters.
struct Parts<'a> {
    body: &'a [u8],
    delimiter: Vec<u8>,
    at: usize,
}

impl Parts<'_> {
    /// The next delimiter at the beginning of a line: where its line end before it begins, and what follows it.
    fn delimiter(&self, from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        loop {
            let rest = self.body.get(at..)?;
            if (at == 0 || self.body.get(at - 1) == Some(&b'\n')) && rest.starts_with(&self.delimiter) {
                let before = self.body.get(..at).unwrap_or_default();
                let before = before.strip_suffix(b"\r\n").or_else(|| before.strip_suffix(b"\n")).unwrap_or(before);
                return Some((before.len(), at + self.delimiter.len()));
            }
            at += rest.iter().position(|byte| *byte == b'\n')? + 1;
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (_, start) = self.delimiter(self.at)?;
        let rest = self.body.get(start..)?;
        if rest.starts_with(b"--") {
            return None;
        }
        let start = start + rest.iter().position(|byte| *byte == b'\n')? + 1;
        let (end, _) = self.delimiter(start)?;
        self.at = end;
        // The next delimiter's own line end is before it.
        self.at +=
            self.body.get(end..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')).map_or(0, |n| n + 1);
        self.body.get(start..end.max(start))
    }
}

/// Name and value of a field.
fn field(part: &[u8], capture: bool) -> Option<(String, Json)> {
    let end = part.windows(2).position(|pair| pair == b"\n\r" || pair == b"\n\n")?;
    let head = std::str::from_utf8(part.get(..end)?).ok()?;
    let value = part.get(end + 1..)?;
    let value = value.strip_prefix(b"\r\n").or_else(|| value.strip_prefix(b"\n")).unwrap_or(value);
    let header = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let disposition = header("content-disposition")?;
    let name = parameter(disposition, "name")?;
    if let Some(filename) = parameter(disposition, "filename") {
        let mut file = json!({"filename": filename});
        if let Some(mime) = header("content-type").filter(|mime| mime.len() <= 100) {
            file["mime_type"] = mime.into();
        }
        if capture {
            file["content"] = BASE64_STANDARD.encode(value).into();
        }
        return Some((name, file));
    }
    if value.len() > LONGEST_TEXT {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let typed = TYPED.contains(&name.as_str()).then(|| serde_json::from_str(text).ok()).flatten();
    let typed = typed.filter(|value: &Json| value.is_number() || value.is_boolean());
    Some((name, typed.unwrap_or_else(|| text.into())))
}

/// A parameter of a `Content-Disposition`; in quotes, which may hold `\"` and `;`.
fn parameter(disposition: &str, wanted: &str) -> Option<String> {
    let mut rest = disposition;
    while let Some((_, after)) = rest.split_once(';') {
        let (name, value) = after.split_once('=')?;
        let name = name.trim();
        let value = value.trim_start();
        let Some(quoted) = value.strip_prefix('"') else {
            let end = value.find(';').unwrap_or(value.len());
            if name.eq_ignore_ascii_case(wanted) {
                return value.get(..end).map(|value| value.trim().to_owned());
            }
            rest = value.get(end..)?;
            continue;
        };
        let (mut text, mut escaped, mut end) = (String::new(), false, quoted.len());
        for (at, c) in quoted.char_indices() {
            match c {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => {
                    end = at;
                    break;
                }
                c => {
                    escaped = false;
                    text.push(c);
                }
            }
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = quoted.get(end..)?;
    }
    None
}

/// Files of a field: one, or several.
pub fn files(body: &Object<'_>, key: &str, modality: &str) -> Vec<MessagePart> {
    let file = |file: Object<'_>| {
        let mime = file.string("mime_type");
        Some(media::blob(mime, modality, file.string("content")?))
    };
    body.object(key).into_iter().chain(body.objects(key)).filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &str = "preamble\r\n--b-1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-image-1\r\n\
        --b-1\r\ncontent-disposition: form-data; filename=\"a\\\";b.png\"; name=\"image[]\"\r\nContent-Type: image/png\r\n\r\n\
        \u{0}--b-1\r\n\r\n--b-1\r\nContent-Disposition: form-data; name=image[]; filename=c.png\r\n\r\nxyz\r\n\
        --b-1\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n2\r\n--b-1\r\n\
        Content-Disposition: form-data; name=\"prompt\"\r\n\r\n5\r\n--b-1--\r\n";

    fn headers(kind: &str) -> Headers {
        Headers(vec![("content-type".into(), kind.into())])
    }

    fn read(body: &str, capture: bool) -> Json {
        let text =
            as_json(&headers("multipart/form-data; charset=x; boundary=\"b-1\""), body.as_bytes(), capture).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_form_is_an_object() {
        let image = |name: &str, mime: Option<&str>, content: &[u8]| {
            let mut file = json!({"filename": name, "content": BASE64_STANDARD.encode(content)});
            if let Some(mime) = mime {
                file["mime_type"] = mime.into();
            }
            file
        };
        let images = json!([image("a\";b.png", Some("image/png"), b"\0--b-1\r\n"), image("c.png", None, b"xyz")]);
        let whole = json!({"model": "gpt-image-1", "n": 2, "prompt": "5", "image": images});
        assert_eq!(read(FORM, true), whole);
        assert!(!read(FORM, false).to_string().contains("content"));
        // Of a form that is cut, what is whole.
        assert_eq!(read(&FORM[..FORM.find("image[]").unwrap()], true), json!({"model": "gpt-image-1"}));
        // Line ends without CR.
        assert_eq!(read(&FORM.replace('\r', ""), true)["prompt"], "5");
    }

    #[test]
    fn what_is_no_form_is_none() {
        for kind in
            ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=b"]
        {
            assert!(as_json(&headers(kind), b"--b\r\n", true).is_none(), "{kind}");
        }
        assert!(as_json(&Headers::default(), b"", true).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..600) {
            let _ = as_json(&headers("multipart/form-data; boundary=b"), &body, true);
            let _ = read(&FORM[..cut.min(FORM.len())], true);
        }

        #[test]
        fn any_disposition_is_survived(text in "[;=\\\\\" a-z]{0,40}") {
            let _ = parameter(&text, "name");
        }
    }
}
