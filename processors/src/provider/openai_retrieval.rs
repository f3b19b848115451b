//! A search in a vector store (`POST …/vector_stores/{id}/search`): the conventions' `retrieval`. Facts from OpenAI's API
//! reference, "Search vector store".

use pipeline::{
    observation::{Api, Document, ModelCall, Operation},
    providers,
};

use super::{
    failure,
    format::{Format, NoStream},
    json::Object,
};

/// This format.
pub const FORMAT: Format = Format {
    api: Api::VectorStoreSearch,
    operation: Operation::Retrieval,
    provider: "openai",
    shape: |body| body.has("query"),
    request,
    plain,
    stream: || Box::new(NoStream),
};

/// Takes the store from the target.
pub fn asked(target: &str, call: &mut ModelCall) {
    call.parameters.data_source_id = providers::normal_path(target).rsplit('/').nth(1).map(str::to_owned);
}

fn request(body: &Object<'_>, call: &mut ModelCall) -> bool {
    call.parameters.retrieval_top_k = body.int("max_num_results");
    if let Some(content) = &mut call.content {
        content.query = Some(body.strings("query").join("\n")).filter(|query| !query.is_empty());
    }
    true
}

fn plain(body: &Object<'_>, call: &mut ModelCall) {
    if let Some(content) = &mut call.content {
        let document = |found: Object<'_>| Document { id: found.string("file_id"), score: found.float("score") };
        content.documents = body.objects("data").map(document).collect();
    }
    if body.has("error") && !body.has("data") {
        call.error = Some(failure::of_event(body));
    }
}
