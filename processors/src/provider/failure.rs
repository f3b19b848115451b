//! Why a call failed, from an error's JSON.

use std::borrow::Cow;

use pipeline::{
    mask,
    observation::{CallError, Headers},
};

use super::json::{self, Object};

/// The response's event stream ended before its terminal event.
pub const STREAM_INTERRUPTED: &str = "stream_interrupted";
/// The connection ended before a response, or before the end of one that is no event stream.
pub const CONNECTION_CLOSED: &str = "connection_closed";
/// The convention's fallback.
pub const OTHER: &str = "_OTHER";
/// A provider's message is cut here (characters).
const MESSAGE_MAX: usize = 512;

/// An error of this kind without a message.
pub fn plain(kind: &str) -> CallError {
    CallError { kind: kind.to_owned(), message: None }
}

/// The error of an answer with this status, header fields and body: what the body says, else what the fields say, else the
/// status.
pub fn of_status(status: u16, headers: &Headers, body: Option<&Object<'_>>) -> CallError {
    let (kind, message) = body.map(of_body).unwrap_or_default();
    let field = |names: &[&str]| names.iter().find_map(|name| headers.get(name)).map(str::trim);
    // Azure's, Hugging Face's.
    let kind = kind.or_else(|| field(&["x-ms-error-code", "x-error-code"]).and_then(|code| word(code.to_owned())));
    let message = message.or_else(|| field(&["x-error-message"]).filter(|text| !text.is_empty()).map(clean));
    CallError { kind: kind.unwrap_or_else(|| status.to_string()), message }
}

/// The error in a body or an event of a successful answer.
pub fn of_event(body: &Object<'_>) -> CallError {
    let (kind, message) = of_body(body);
    CallError { kind: kind.unwrap_or_else(|| OTHER.to_owned()), message }
}

/// The error in a whole answer whose status says that there is none: MiniMax's `base_resp`, Baidu's `error_code`.
pub fn within(body: &Object<'_>) -> Option<CallError> {
    let told = body.object("base_resp");
    let (code, message) = match &told {
        Some(told) => (told.int("status_code")?, told.string("status_msg")),
        None => (body.int("error_code")?, body.string("error_msg")),
    };
    (code != 0).then(|| CallError { kind: code.to_string(), message: message.map(|text| clean(&text)) })
}

/// Kind and message of what an error's body says.
fn of_body(body: &Object<'_>) -> (Option<String>, Option<String>) {
    let wrapped = body.raw("error");
    if let Some(text) = wrapped.and_then(json::string) {
        // Some servers: {"error": "model not found"}; others: {"error": "not_found", "message": "…"}; Hugging Face's:
        // {"error": "…", "error_type": "validation"}.
        let message = body.str("message");
        let kind = body
            .string("code")
            .or_else(|| body.string("error_type"))
            .and_then(word)
            .or_else(|| word(text.clone().into_owned()).filter(|_| message.is_some()));
        return (kind, Some(clean(message.as_deref().unwrap_or(&text))));
    }
    // watsonx and Cloudflare have a list, of which the first is the cause.
    let listed = || body.objects("errors").next();
    let inner = wrapped.and_then(Object::parse).or_else(listed);
    let error = inner.as_ref().unwrap_or(body);
    let code = error.string("code").or_else(|| error.string("error_code")).and_then(word);
    let kind = code.or_else(|| {
        let kind = error.string("type").and_then(word);
        // The type of a bare event says only that it is one.
        kind.filter(|kind| inner.is_some() || kind != "error")
    });
    // Google's canonical code beside the number; Amazon's shape, with or without its namespace.
    let constant = |word: &String| word.bytes().all(|b| b == b'_' || b.is_ascii_uppercase());
    let status = || error.string("status").and_then(word).filter(constant);
    let shape = || error.string("__type").and_then(|shape| word(shape.rsplit('#').next()?.to_owned()));
    let kind = kind.or_else(status).or_else(shape);
    let said = error.str("message").or_else(|| body.str("message")).or_else(|| body.str("detail"));
    // {"error": ["…"]}, {"message": {"detail": [{"msg": "…"}]}} and {"detail": [{"msg": "…"}]} of programs that check their
    // input.
    let first = || body.strings("error").into_iter().next();
    let checked = || {
        let detail = body.object("message").and_then(|of| of.objects("detail").next());
        detail.or_else(|| body.objects("detail").next())?.string("msg")
    };
    let message = said.map(Cow::into_owned).or_else(first).or_else(checked);
    (kind, message.filter(|text| !text.is_empty()).map(|text| clean(&text)))
}

/// A code as a word of low cardinality, or nothing.
pub fn word(text: String) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    (!text.is_empty() && text.len() <= 80 && text.chars().all(fine)).then_some(text)
}

fn clean(text: &str) -> String {
    let cut = text.char_indices().nth(4 * MESSAGE_MAX).map_or(text, |(at, _)| text.get(..at).unwrap_or(text));
    mask::text(cut).chars().take(MESSAGE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_wins_over_type_and_type_over_status() {
        for (body, status, kind, message) in [
            (r#"{"error":{"message":"no","type":"t_error","code":"c"}}"#, 400, "c", Some("no")),
            (r#"{"error":{"message":"no","type":"t_error","code":null}}"#, 400, "t_error", Some("no")),
            (r#"{"error":{"message":"no","code":429}}"#, 429, "429", Some("no")),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                529,
                "overloaded_error",
                Some("Overloaded"),
            ),
            (r#"{"error":"model not found"}"#, 404, "404", Some("model not found")),
            (
                r#"{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}"#,
                429,
                "RESOURCE_EXHAUSTED",
                Some("no"),
            ),
            (r#"{"__type":"com.amazon#AccessDenied","message":"no"}"#, 403, "AccessDenied", Some("no")),
            (r#"{"detail":"nope"}"#, 422, "422", Some("nope")),
            (r#"{}"#, 500, "500", None),
            (r#"{"error":{"code":"has spaces and prose"}}"#, 500, "500", None),
        ] {
            let error = of_status(status, &Headers::default(), Object::parse(body).as_ref());
            assert_eq!((error.kind.as_str(), error.message.as_deref()), (kind, message), "{body}");
        }
        assert_eq!(of_status(502, &Headers::default(), None), plain("502"));
    }

    #[test]
    fn each_provider_has_its_own_shape() {
        for (who, body, status, kind, message) in [
            (
                "FastAPI",
                r#"{"detail":[{"loc":["body"],"msg":"Field required","type":"missing"}]}"#,
                422,
                "422",
                Some("Field required"),
            ),
            (
                "vLLM",
                r#"{"object":"error","message":"no","type":"BadRequestError","param":null,"code":400}"#,
                400,
                "BadRequestError",
                Some("no"),
            ),
            (
                "Mistral",
                r#"{"object":"error","message":{"detail":[{"msg":"bad"}]},"type":"invalid_request_error","code":"3051"}"#,
                422,
                "3051",
                Some("bad"),
            ),
            ("Cohere", r#"{"id":"1","message":"invalid api token"}"#, 401, "401", Some("invalid api token")),
            (
                "DashScope",
                r#"{"code":"Throttling.RateQuota","message":"slow down","request_id":"1"}"#,
                429,
                "Throttling.RateQuota",
                Some("slow down"),
            ),
            (
                "watsonx",
                r#"{"errors":[{"code":"model_not_supported","message":"no such model","more_info":""}],"trace":"1","status_code":404}"#,
                404,
                "model_not_supported",
                Some("no such model"),
            ),
            (
                "Cloudflare",
                r#"{"errors":[{"code":10000,"message":"Authentication error"}],"success":false,"result":null}"#,
                401,
                "401",
                Some("Authentication error"),
            ),
            (
                "Hugging Face",
                r#"{"error":"Input validation error","error_type":"validation"}"#,
                422,
                "validation",
                Some("Input validation error"),
            ),
            ("Hugging Face, older", r#"{"error":["Error in inputs"]}"#, 400, "400", Some("Error in inputs")),
            (
                "Databricks",
                r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no endpoint"}"#,
                404,
                "RESOURCE_DOES_NOT_EXIST",
                Some("no endpoint"),
            ),
            (
                "Replicate",
                r#"{"title":"Unauthenticated","detail":"no token","status":401}"#,
                401,
                "401",
                Some("no token"),
            ),
            (
                "OpenRouter",
                r#"{"error":{"code":402,"message":"no credits","metadata":{}},"user_id":"u"}"#,
                402,
                "402",
                Some("no credits"),
            ),
            (
                "llama.cpp",
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                503,
                "unavailable_error",
                Some("Loading model"),
            ),
            ("Zhipu", r#"{"error":{"code":"1214","message":"no"}}"#, 400, "1214", Some("no")),
        ] {
            let error = of_status(status, &Headers::default(), Object::parse(body).as_ref());
            assert_eq!((error.kind.as_str(), error.message.as_deref()), (kind, message), "{who}");
        }
    }

    #[test]
    fn header_fields_tell_where_a_body_does_not() {
        let fields = |list: &[(&str, &str)]| {
            Headers(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let azure = fields(&[("x-ms-error-code", "DeploymentNotFound")]);
        assert_eq!(of_status(404, &azure, None), plain("DeploymentNotFound"));
        let gated = fields(&[("x-error-code", "GatedRepo"), ("x-error-message", "Access is restricted")]);
        let error = of_status(403, &gated, None);
        assert_eq!((error.kind.as_str(), error.message.as_deref()), ("GatedRepo", Some("Access is restricted")));
        let body = Object::parse(r#"{"error":{"code":"quota","message":"m"}}"#);
        assert_eq!(of_status(403, &gated, body.as_ref()).kind, "quota");
    }

    #[test]
    fn errors_hide_in_good_answers() {
        let of = |body: &str| within(&Object::parse(body).unwrap());
        let error = of(r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#).unwrap();
        assert_eq!((error.kind.as_str(), error.message.as_deref()), ("1008", Some("insufficient balance")));
        assert_eq!(of(r#"{"error_code":17,"error_msg":"limit"}"#).unwrap().kind, "17");
        assert!(of(r#"{"base_resp":{"status_code":0,"status_msg":""},"choices":[]}"#).is_none());
        assert!(of(r#"{"id":"1"}"#).is_none());
    }
}
