//! OpenAI images (`POST …/images/generations`, `/edits`, `/variations`), as xAI, Together, Azure and others speak it too.
//! Facts from OpenAI's API reference, "Images" and "Image streaming": edits and variations are forms; a stream brings
//! unfinished images, then one event `….completed` for each image. The answer names neither a model nor why it ended.

use pipeline::observation::{Api, Message, MessagePart, ModelCall, Operation};

use super::{
    failure,
    format::{Format, Step, Stream},
    json::Object,
    media,
    openai_chat::content::{address, part},
    openai_form,
    openai_responses::counts,
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::Images,
    operation: Operation::GenerateContent,
    provider: "openai",
    shape: |body| body.has("prompt") || (body.has("model") && body.has("image")),
    request,
    plain,
    stream: || Box::<ImageStream>::default(),
};

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    let asked = &mut call.parameters;
    asked.model = body.string("model").or(asked.model.take());
    asked.stream |= body.bool("stream") == Some(true);
    asked.choice_count = body.int("n").filter(|n| *n != 1);
    asked.output_type = Some("image".into());
    if let Some(content) = &mut call.content {
        let mut parts: Vec<MessagePart> = body.string("prompt").map(MessagePart::text).into_iter().collect();
        for key in ["image", "mask"] {
            parts.extend(openai_form::files(body, key, "image"));
        }
        // An edit as JSON refers to its images.
        for image in body.objects("images") {
            let file = |file_id| MessagePart::File { mime_type: None, modality: "image".into(), file_id };
            let url = image.string("image_url").map(|url| address(&url, "image"));
            parts.push(url.or_else(|| image.string("file_id").map(file)).unwrap_or_else(|| part(&image)));
        }
        content.input.push(Message { role: "user".into(), parts, ..Message::default() });
    }
    true
}

/// An image of an answer or an event.
fn image(given: &Object<'_>, format: Option<String>) -> Option<MessagePart> {
    let format = given.string("output_format").or(format).map(|format| format!("image/{format}"));
    match (given.string("b64_json"), given.string("url")) {
        (Some(data), _) => Some(media::blob(format, "image", data)),
        (None, Some(url)) => Some(address(&url, "image")),
        (None, None) => None,
    }
}

fn message(image: MessagePart, prompt: Option<String>) -> Message {
    let revised = |text: String| MessagePart::Other(serde_json::json!({"type": "revised_prompt", "content": text}));
    let parts = std::iter::once(image).chain(prompt.map(revised)).collect();
    media::answer(parts, "stop".into())
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    call.reply.model = body.string("model");
    if let Some(found) = body.object("usage") {
        call.usage = counts(&found);
    }
    if let Some(content) = &mut call.content {
        let drawn = |given: Object<'_>| {
            Some(message(image(&given, body.string("output_format"))?, given.string("revised_prompt")))
        };
        content.output.extend(body.objects("data").filter_map(drawn));
    }
    if body.has("error") && !body.has("data") {
        call.error = Some(failure::of_event(body));
    }
}

#[derive(Default)]
struct ImageStream {
    finished: u64,
}

impl Stream for ImageStream {
    fn event(&mut self, name: Option<&str>, data: &Object<'_>, call: &mut ModelCall) -> Step {
        let kind = data.str("type");
        let kind = kind.as_deref().or(name).unwrap_or_default();
        if kind == "error" || (kind.is_empty() && data.has("error")) {
            call.error = Some(failure::of_event(data));
            return Step::TERMINAL;
        }
        if kind.ends_with(".partial_image") {
            return Step::content(true);
        }
        if !kind.ends_with(".completed") {
            return Step::default();
        }
        self.finished += 1;
        if let Some(found) = data.object("usage") {
            call.usage = counts(&found);
        }
        if let Some(content) = &mut call.content {
            content.output.extend(image(data, None).map(|image| message(image, data.string("revised_prompt"))));
        }
        let wanted = call.parameters.choice_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(1);
        Step { content: true, terminal: self.finished >= wanted }
    }

    fn finish(self: Box<Self>, _: &mut ModelCall) -> bool {
        false
    }
}
