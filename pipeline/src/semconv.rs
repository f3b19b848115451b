//! The names that onlooker emits, in one table with profiles.
//!
//! `gen_ai.*` follow open-telemetry/semantic-conventions-genai as of 2026-08 (commit fe5608e), the others the core
//! conventions 1.44.0; names of our own begin with `onlooker.` and are in `pipeline/registry/onlooker.yaml`.

/// Schema URL of scopes whose spans follow the GenAI conventions.
pub const GEN_AI_SCHEMA_URL: &str = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev";
/// Schema URL of the other scopes.
pub const CORE_SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Which state of the moving GenAI conventions is emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Profile {
    /// As instrumentations and backends read them today.
    #[default]
    #[serde(rename = "2026-08")]
    V2026_08,
    /// With the renames that are on the conventions' main branch.
    #[serde(rename = "next")]
    Next,
}

impl Profile {
    /// The name of an attribute in this profile, given its name in the default one.
    pub fn attribute(self, name: &'static str) -> &'static str {
        match (self, name) {
            (Profile::Next, GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS) => GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
            _ => name,
        }
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $id:ident = $name:literal;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $id: &str = $name;)*
        /// Every attribute name above.
        pub const ATTRIBUTES: &[&str] = &[$($name),*];
    };
}

names! {
    AWS_BEDROCK_GUARDRAIL_ID = "aws.bedrock.guardrail.id";
    AWS_BEDROCK_KNOWLEDGE_BASE_ID = "aws.bedrock.knowledge_base.id";
    AZURE_RESOURCE_PROVIDER_NAMESPACE = "azure.resource_provider.namespace";
    CLIENT_ADDRESS = "client.address";
    CLIENT_PORT = "client.port";
    DNS_ANSWERS = "dns.answers";
    DNS_QUESTION_NAME = "dns.question.name";
    ERROR_TYPE = "error.type";
    EXCEPTION_MESSAGE = "exception.message";
    EXCEPTION_TYPE = "exception.type";
    FILE_DIRECTORY = "file.directory";
    FILE_GROUP_ID = "file.group.id";
    FILE_MODE = "file.mode";
    FILE_NAME = "file.name";
    FILE_OWNER_ID = "file.owner.id";
    FILE_PATH = "file.path";
    FILE_SIZE = "file.size";
    FILE_SYMBOLIC_LINK_TARGET_PATH = "file.symbolic_link.target_path";
    GEN_AI_AGENT_NAME = "gen_ai.agent.name";
    GEN_AI_CONVERSATION_COMPACTED = "gen_ai.conversation.compacted";
    GEN_AI_CONVERSATION_ID = "gen_ai.conversation.id";
    GEN_AI_DATA_SOURCE_ID = "gen_ai.data_source.id";
    GEN_AI_EMBEDDINGS_DIMENSION_COUNT = "gen_ai.embeddings.dimension.count";
    GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages";
    GEN_AI_OPERATION_NAME = "gen_ai.operation.name";
    GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages";
    GEN_AI_OUTPUT_TYPE = "gen_ai.output.type";
    GEN_AI_PROMPT_NAME = "gen_ai.prompt.name";
    GEN_AI_PROMPT_VERSION = "gen_ai.prompt.version";
    GEN_AI_PROVIDER_NAME = "gen_ai.provider.name";
    GEN_AI_REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count";
    GEN_AI_REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats";
    GEN_AI_REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty";
    GEN_AI_REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens";
    GEN_AI_REQUEST_MODEL = "gen_ai.request.model";
    GEN_AI_REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty";
    GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID = "gen_ai.request.previous_response.id";
    GEN_AI_REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level";
    GEN_AI_REQUEST_SEED = "gen_ai.request.seed";
    GEN_AI_REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences";
    GEN_AI_REQUEST_STREAM = "gen_ai.request.stream";
    GEN_AI_REQUEST_STREAM_CURSOR = "gen_ai.request.stream_cursor";
    GEN_AI_REQUEST_TEMPERATURE = "gen_ai.request.temperature";
    GEN_AI_REQUEST_TOP_K = "gen_ai.request.top_k";
    GEN_AI_REQUEST_TOP_P = "gen_ai.request.top_p";
    GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons";
    GEN_AI_RESPONSE_ID = "gen_ai.response.id";
    GEN_AI_RESPONSE_MODEL = "gen_ai.response.model";
    GEN_AI_RESPONSE_STATUS = "gen_ai.response.status";
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk";
    GEN_AI_RETRIEVAL_DOCUMENTS = "gen_ai.retrieval.documents";
    GEN_AI_RETRIEVAL_QUERY_TEXT = "gen_ai.retrieval.query.text";
    GEN_AI_RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k";
    GEN_AI_SYSTEM = "gen_ai.system";
    GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions";
    GEN_AI_TOKEN_MODALITY = "gen_ai.token.modality";
    GEN_AI_TOKEN_TYPE = "gen_ai.token.type";
    GEN_AI_TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments";
    GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id";
    GEN_AI_TOOL_CALL_RESULT = "gen_ai.tool.call.result";
    GEN_AI_TOOL_DEFINITIONS = "gen_ai.tool.definitions";
    GEN_AI_TOOL_NAME = "gen_ai.tool.name";
    GEN_AI_TOOL_TYPE = "gen_ai.tool.type";
    GEN_AI_USAGE_AUDIO_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.audio.cache_read.input_tokens";
    GEN_AI_USAGE_AUDIO_INPUT_TOKENS = "gen_ai.usage.audio.input_tokens";
    GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS = "gen_ai.usage.audio.output_tokens";
    GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS = "gen_ai.usage.cache_creation.input_tokens";
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens";
    GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.usage.cache_write.input_tokens";
    GEN_AI_USAGE_IMAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.image.cache_read.input_tokens";
    GEN_AI_USAGE_IMAGE_INPUT_TOKENS = "gen_ai.usage.image.input_tokens";
    GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS = "gen_ai.usage.image.output_tokens";
    GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens";
    GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
    GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens";
    GEN_AI_USAGE_TEXT_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.text.cache_read.input_tokens";
    GEN_AI_USAGE_TEXT_INPUT_TOKENS = "gen_ai.usage.text.input_tokens";
    GEN_AI_USAGE_TEXT_OUTPUT_TOKENS = "gen_ai.usage.text.output_tokens";
    HTTP_REQUEST_RESEND_COUNT = "http.request.resend_count";
    HTTP_RESPONSE_STATUS_CODE = "http.response.status_code";
    JSONRPC_PROTOCOL_VERSION = "jsonrpc.protocol.version";
    JSONRPC_REQUEST_ID = "jsonrpc.request.id";
    MCP_METHOD_NAME = "mcp.method.name";
    MCP_PROTOCOL_VERSION = "mcp.protocol.version";
    MCP_RESOURCE_URI = "mcp.resource.uri";
    MCP_SESSION_ID = "mcp.session.id";
    NETWORK_LOCAL_ADDRESS = "network.local.address";
    NETWORK_LOCAL_PORT = "network.local.port";
    NETWORK_PEER_ADDRESS = "network.peer.address";
    NETWORK_PEER_PORT = "network.peer.port";
    NETWORK_PROTOCOL_NAME = "network.protocol.name";
    NETWORK_PROTOCOL_VERSION = "network.protocol.version";
    NETWORK_TRANSPORT = "network.transport";
    NETWORK_TYPE = "network.type";
    OPENAI_API_TYPE = "openai.api.type";
    OPENAI_REQUEST_SERVICE_TIER = "openai.request.service_tier";
    OPENAI_RESPONSE_SERVICE_TIER = "openai.response.service_tier";
    OPENAI_RESPONSE_SYSTEM_FINGERPRINT = "openai.response.system_fingerprint";
    OPENINFERENCE_SPAN_KIND = "openinference.span.kind";
    OTEL_METRIC_OVERFLOW = "otel.metric.overflow";
    PROCESS_COMMAND_ARGS = "process.command_args";
    PROCESS_CREATION_TIME = "process.creation.time";
    PROCESS_EXECUTABLE_BUILD_ID_GNU = "process.executable.build_id.gnu";
    PROCESS_EXECUTABLE_BUILD_ID_HTLHASH = "process.executable.build_id.htlhash";
    PROCESS_EXECUTABLE_NAME = "process.executable.name";
    PROCESS_EXECUTABLE_PATH = "process.executable.path";
    PROCESS_EXIT_CODE = "process.exit.code";
    PROCESS_OWNER = "process.owner";
    PROCESS_PARENT_PID = "process.parent_pid";
    PROCESS_PID = "process.pid";
    PROCESS_USER_ID = "process.user.id";
    PROCESS_USER_NAME = "process.user.name";
    PROCESS_WORKING_DIRECTORY = "process.working_directory";
    RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code";
    SERVER_ADDRESS = "server.address";
    SERVER_PORT = "server.port";
    SERVICE_INSTANCE_ID = "service.instance.id";
    SERVICE_NAME = "service.name";
    CONTAINER_ID = "container.id";
    CONTAINER_IMAGE_NAME = "container.image.name";
    CONTAINER_IMAGE_TAGS = "container.image.tags";
    CONTAINER_NAME = "container.name";
    CONTAINER_RUNTIME_NAME = "container.runtime.name";
    K8S_CONTAINER_NAME = "k8s.container.name";
    K8S_CRONJOB_NAME = "k8s.cronjob.name";
    K8S_DAEMONSET_NAME = "k8s.daemonset.name";
    K8S_DEPLOYMENT_NAME = "k8s.deployment.name";
    K8S_JOB_NAME = "k8s.job.name";
    K8S_NAMESPACE_NAME = "k8s.namespace.name";
    K8S_NODE_NAME = "k8s.node.name";
    K8S_POD_LABEL = "k8s.pod.label";
    K8S_POD_NAME = "k8s.pod.name";
    K8S_POD_UID = "k8s.pod.uid";
    K8S_REPLICASET_NAME = "k8s.replicaset.name";
    K8S_STATEFULSET_NAME = "k8s.statefulset.name";
    HOST_ARCH = "host.arch";
    HOST_ID = "host.id";
    HOST_NAME = "host.name";
    OS_TYPE = "os.type";
    TELEMETRY_DISTRO_NAME = "telemetry.distro.name";
    TELEMETRY_DISTRO_VERSION = "telemetry.distro.version";
    ONLOOKER_AGENT_KNOWN = "onlooker.agent.known";
    ONLOOKER_AGENT_VERSION = "onlooker.agent.version";
    ONLOOKER_CAPTURE_COMPLETE = "onlooker.capture.complete";
    ONLOOKER_CAPTURE_LOST_BYTES = "onlooker.capture.lost.bytes";
    ONLOOKER_CAPTURE_LOST_PART = "onlooker.capture.lost.part";
    ONLOOKER_CAPTURE_LOST_REASON = "onlooker.capture.lost.reason";
    ONLOOKER_CONTENT_LOST_BYTES = "onlooker.content.lost.bytes";
    ONLOOKER_CONTENT_LOST_MESSAGES = "onlooker.content.lost.messages";
    ONLOOKER_CONTENT_TRUNCATED = "onlooker.content.truncated";
    ONLOOKER_DNS_ALIASES = "onlooker.dns.aliases";
    ONLOOKER_DNS_ATTEMPTS = "onlooker.dns.attempts";
    ONLOOKER_DNS_DURATION = "onlooker.dns.duration";
    ONLOOKER_DNS_QUESTION_TYPE = "onlooker.dns.question.type";
    ONLOOKER_DNS_RESPONSE_CODE = "onlooker.dns.response.code";
    ONLOOKER_DNS_TRUNCATED = "onlooker.dns.truncated";
    ONLOOKER_FILE_ATTRIBUTE = "onlooker.file.attribute";
    ONLOOKER_FILE_CREATED = "onlooker.file.created";
    ONLOOKER_FILE_DURATION = "onlooker.file.duration";
    ONLOOKER_FILE_FLAGS = "onlooker.file.flags";
    ONLOOKER_FILE_FOLDED = "onlooker.file.folded";
    ONLOOKER_FILE_MAPPED = "onlooker.file.mapped";
    ONLOOKER_FILE_NEW_PATH = "onlooker.file.new_path";
    ONLOOKER_FILE_OPERATIONS = "onlooker.file.operations";
    ONLOOKER_FILE_PATH_RESOLVED = "onlooker.file.path.resolved";
    ONLOOKER_FILE_READ_BYTES = "onlooker.file.read.bytes";
    ONLOOKER_FILE_SENSITIVE = "onlooker.file.sensitive";
    ONLOOKER_FILE_WRITTEN_BYTES = "onlooker.file.written.bytes";
    ONLOOKER_FINDING_MESSAGE = "onlooker.finding.message";
    ONLOOKER_HEARTBEAT_COUNTS = "onlooker.heartbeat.counts";
    ONLOOKER_HEARTBEAT_DELTAS = "onlooker.heartbeat.deltas";
    ONLOOKER_HEARTBEAT_FAILED_PROBES = "onlooker.heartbeat.failed_probes";
    ONLOOKER_HEARTBEAT_LAST = "onlooker.heartbeat.last";
    ONLOOKER_HEARTBEAT_SEQUENCE = "onlooker.heartbeat.sequence";
    ONLOOKER_HEARTBEAT_WORKING_PROBES = "onlooker.heartbeat.working_probes";
    ONLOOKER_LINK = "onlooker.link";
    ONLOOKER_LLM_CONNECTION_ALPN = "onlooker.llm.connection.alpn";
    ONLOOKER_LLM_CONNECTION_DURATION = "onlooker.llm.connection.duration";
    ONLOOKER_LLM_CONNECTION_NAME_SOURCE = "onlooker.llm.connection.name_source";
    ONLOOKER_LLM_CONNECTION_RECEIVED_BYTES = "onlooker.llm.connection.received.bytes";
    ONLOOKER_LLM_CONNECTION_SENT_BYTES = "onlooker.llm.connection.sent.bytes";
    ONLOOKER_LLM_CONNECTION_TIME_TO_FIRST_BYTE = "onlooker.llm.connection.time_to_first_byte";
    ONLOOKER_MCP_CLIENT_NAME = "onlooker.mcp.client.name";
    ONLOOKER_MCP_CLIENT_VERSION = "onlooker.mcp.client.version";
    ONLOOKER_MCP_MATCH = "onlooker.mcp.match";
    ONLOOKER_MCP_PEER_PID = "onlooker.mcp.peer.pid";
    ONLOOKER_MCP_REQUEST_SIZE = "onlooker.mcp.request.size";
    ONLOOKER_MCP_RESPONSE_SIZE = "onlooker.mcp.response.size";
    ONLOOKER_MCP_SERVER_NAME = "onlooker.mcp.server.name";
    ONLOOKER_MCP_SERVER_VERSION = "onlooker.mcp.server.version";
    ONLOOKER_NETWORK_BACKLOG = "onlooker.network.backlog";
    ONLOOKER_NETWORK_CONNECT_DURATION = "onlooker.network.connect.duration";
    ONLOOKER_NETWORK_COUNT = "onlooker.network.count";
    ONLOOKER_NETWORK_DURATION = "onlooker.network.duration";
    ONLOOKER_NETWORK_ENDED = "onlooker.network.ended";
    ONLOOKER_NETWORK_NAME_SOURCE = "onlooker.network.name_source";
    ONLOOKER_NETWORK_PROTOCOL = "onlooker.network.protocol";
    ONLOOKER_NETWORK_RECEIVED_BYTES = "onlooker.network.received.bytes";
    ONLOOKER_NETWORK_SENT_BYTES = "onlooker.network.sent.bytes";
    ONLOOKER_PROCESS_ARGS_TRUNCATED = "onlooker.process.args_truncated";
    ONLOOKER_PROCESS_EXIT_SIGNAL = "onlooker.process.exit.signal";
    ONLOOKER_PROCESS_REPLACED = "onlooker.process.replaced";
    ONLOOKER_RESPONSE_LAST_CHUNK_TIME = "onlooker.response.time_to_last_chunk";
    ONLOOKER_RESPONSE_CHUNKS = "onlooker.response.chunks";
    ONLOOKER_SECURITY_BYTES = "onlooker.security.bytes";
    ONLOOKER_SECURITY_CALL = "onlooker.security.call";
    ONLOOKER_SECURITY_CAPABILITIES_NEW = "onlooker.security.capabilities.new";
    ONLOOKER_SECURITY_CAPABILITIES_OLD = "onlooker.security.capabilities.old";
    ONLOOKER_SECURITY_FILE_SYSTEM = "onlooker.security.file_system";
    ONLOOKER_SECURITY_FLAGS = "onlooker.security.flags";
    ONLOOKER_SECURITY_IDS_NEW = "onlooker.security.ids.new";
    ONLOOKER_SECURITY_IDS_OLD = "onlooker.security.ids.old";
    ONLOOKER_SECURITY_NAME = "onlooker.security.name";
    ONLOOKER_SECURITY_OPERATIONS = "onlooker.security.operations";
    ONLOOKER_SECURITY_REQUEST = "onlooker.security.request";
    ONLOOKER_SECURITY_SOURCE = "onlooker.security.source";
    ONLOOKER_SECURITY_TARGET_INNER_PID = "onlooker.security.target.inner_pid";
    ONLOOKER_SECURITY_TARGET_PID = "onlooker.security.target.pid";
    ONLOOKER_SIGNATURE_KEY_ID = "onlooker.signature.key_id";
    ONLOOKER_SIGNATURE_SEQUENCE = "onlooker.signature.sequence";
    ONLOOKER_SYSTEMD_UNIT = "onlooker.systemd.unit";
    ONLOOKER_TLS_SERVER_NAME = "onlooker.tls.server_name";
    ONLOOKER_TOOL_EVIDENCE = "onlooker.tool.evidence";
    ONLOOKER_TOOL_EXIT_CODE = "onlooker.tool.exit.code";
    ONLOOKER_TOOL_MATCH = "onlooker.tool.match";
    ONLOOKER_TOOL_PROCESS_PID = "onlooker.tool.process.pid";
    ONLOOKER_TOOL_RESULT_SEEN = "onlooker.tool.result_seen";
    ONLOOKER_TURN_END = "onlooker.turn.end";
    ONLOOKER_TURN_MODEL_CALLS = "onlooker.turn.model_calls";
    ONLOOKER_TURN_NUMBER = "onlooker.turn.number";
    ONLOOKER_TURN_TOOL_CALLS = "onlooker.turn.tool_calls";
}

/// Names of events. Findings carry their own (`onlooker.finding.*`).
pub mod event {
    /// A turn ended.
    pub const AGENT_TURN: &str = "onlooker.agent_turn";
    /// The permissions of a file were changed.
    pub const FILE_CHMOD: &str = "onlooker.file.chmod";
    /// The owner of a file was changed.
    pub const FILE_CHOWN: &str = "onlooker.file.chown";
    /// A file was created by mknod.
    pub const FILE_CREATE: &str = "onlooker.file.create";
    /// A name of a file was removed.
    pub const FILE_DELETE: &str = "onlooker.file.delete";
    /// A file got one more name.
    pub const FILE_LINK: &str = "onlooker.file.link";
    /// A directory was made.
    pub const FILE_MKDIR: &str = "onlooker.file.mkdir";
    /// A file was opened for reading, and perhaps read.
    pub const FILE_READ: &str = "onlooker.file.read";
    /// An extended attribute that gives rights was removed from a file.
    pub const FILE_REMOVEXATTR: &str = "onlooker.file.removexattr";
    /// A file got another name.
    pub const FILE_RENAME: &str = "onlooker.file.rename";
    /// A directory was removed.
    pub const FILE_RMDIR: &str = "onlooker.file.rmdir";
    /// An extended attribute of a file that gives rights was set.
    pub const FILE_SETXATTR: &str = "onlooker.file.setxattr";
    /// A symbolic link was made.
    pub const FILE_SYMLINK: &str = "onlooker.file.symlink";
    /// The length of a file was set.
    pub const FILE_TRUNCATE: &str = "onlooker.file.truncate";
    /// A file was opened for writing, and perhaps created and written.
    pub const FILE_WRITE: &str = "onlooker.file.write";
    /// A port was bound on an address that others can reach.
    pub const SECURITY_BIND: &str = "onlooker.security.bind";
    /// The kernel was given or asked about a BPF program or map.
    pub const SECURITY_BPF: &str = "onlooker.security.bpf";
    /// Capabilities were set.
    pub const SECURITY_CAPABILITIES: &str = "onlooker.security.capabilities";
    /// A descriptor of another process was taken.
    pub const SECURITY_DESCRIPTOR: &str = "onlooker.security.descriptor";
    /// A process works through an io_uring.
    pub const SECURITY_IO_URING: &str = "onlooker.security.io_uring";
    /// A file without a place in any directory was made.
    pub const SECURITY_MEMFD: &str = "onlooker.security.memfd";
    /// A file without a place in any directory was executed.
    pub const SECURITY_MEMFD_EXEC: &str = "onlooker.security.memfd_exec";
    /// The memory of another process was read or written.
    pub const SECURITY_MEMORY: &str = "onlooker.security.memory";
    /// A kernel module was loaded or removed.
    pub const SECURITY_MODULE: &str = "onlooker.security.module";
    /// A file system was mounted, remounted or moved.
    pub const SECURITY_MOUNT: &str = "onlooker.security.mount";
    /// Namespaces were made or entered.
    pub const SECURITY_NAMESPACES: &str = "onlooker.security.namespaces";
    /// The root directory was changed.
    pub const SECURITY_ROOT: &str = "onlooker.security.root";
    /// A file on which the security of the host or of an account rests was changed.
    pub const SECURITY_SENSITIVE_FILE: &str = "onlooker.security.sensitive_file";
    /// Group ids were set.
    pub const SECURITY_SET_GROUP: &str = "onlooker.security.set_group";
    /// User ids were set.
    pub const SECURITY_SET_USER: &str = "onlooker.security.set_user";
    /// A process outside the own tree was sent a signal.
    pub const SECURITY_SIGNAL: &str = "onlooker.security.signal";
    /// Something that is the whole host's was changed or asked for.
    pub const SECURITY_SYSTEM: &str = "onlooker.security.system";
    /// Another process was attached to, or asked to be traced.
    pub const SECURITY_TRACE: &str = "onlooker.security.trace";
    /// A file system was unmounted.
    pub const SECURITY_UNMOUNT: &str = "onlooker.security.unmount";
    /// What was said in an inference, apart from its span (GenAI conventions, events).
    pub const INFERENCE_DETAILS: &str = "gen_ai.client.inference.operation.details";
    /// A call to a provider failed (GenAI conventions, events).
    pub const OPERATION_EXCEPTION: &str = "gen_ai.client.operation.exception";
    /// onlooker is alive.
    pub const HEARTBEAT: &str = "onlooker.heartbeat";
    /// A connection to a provider whose plaintext was not seen.
    pub const LLM_CONNECTION: &str = "onlooker.llm.connection";
    /// A request of the Model Context Protocol was answered.
    pub const MCP_CALL: &str = "onlooker.mcp_call";
    /// A model was called.
    pub const MODEL_CALL: &str = "onlooker.model_call";
    /// A process executed a program.
    pub const PROCESS_EXEC: &str = "onlooker.process.exec";
    /// A process ended.
    pub const PROCESS_EXIT: &str = "onlooker.process.exit";
    /// A process forked.
    pub const PROCESS_FORK: &str = "onlooker.process.fork";
    /// A process was running when the watch began.
    pub const PROCESS_FOUND: &str = "onlooker.process.found";
    /// A tool was run.
    pub const TOOL_CALL: &str = "onlooker.tool_call";
    /// A name was looked up.
    pub const DNS_LOOKUP: &str = "onlooker.dns.lookup";
    /// Connections were accepted.
    pub const NETWORK_ACCEPT: &str = "onlooker.network.accept";
    /// A connection is over.
    pub const NETWORK_CLOSE: &str = "onlooker.network.close";
    /// A process connected, or tried to.
    pub const NETWORK_CONNECT: &str = "onlooker.network.connect";
    /// A process waits for connections.
    pub const NETWORK_LISTEN: &str = "onlooker.network.listen";
    /// Every event name above.
    pub const ALL: &[&str] = &[
        DNS_LOOKUP,
        NETWORK_ACCEPT,
        NETWORK_CLOSE,
        NETWORK_CONNECT,
        NETWORK_LISTEN,
        AGENT_TURN,
        FILE_CHMOD,
        FILE_CHOWN,
        FILE_CREATE,
        FILE_DELETE,
        FILE_LINK,
        FILE_MKDIR,
        FILE_READ,
        FILE_REMOVEXATTR,
        FILE_RENAME,
        FILE_RMDIR,
        FILE_SETXATTR,
        FILE_SYMLINK,
        FILE_TRUNCATE,
        FILE_WRITE,
        SECURITY_BIND,
        SECURITY_BPF,
        SECURITY_CAPABILITIES,
        SECURITY_DESCRIPTOR,
        SECURITY_IO_URING,
        SECURITY_MEMFD,
        SECURITY_MEMFD_EXEC,
        SECURITY_MEMORY,
        SECURITY_MODULE,
        SECURITY_MOUNT,
        SECURITY_NAMESPACES,
        SECURITY_ROOT,
        SECURITY_SENSITIVE_FILE,
        SECURITY_SET_GROUP,
        SECURITY_SET_USER,
        SECURITY_SIGNAL,
        SECURITY_SYSTEM,
        SECURITY_TRACE,
        SECURITY_UNMOUNT,
        HEARTBEAT,
        INFERENCE_DETAILS,
        OPERATION_EXCEPTION,
        LLM_CONNECTION,
        MCP_CALL,
        MODEL_CALL,
        PROCESS_EXEC,
        PROCESS_EXIT,
        PROCESS_FORK,
        PROCESS_FOUND,
        TOOL_CALL,
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Every name of the table is the conventions' or is registered as our own, and nothing is registered in vain.
    #[test]
    fn every_name_is_registered() {
        let conventions: BTreeSet<&str> = include_str!("../registry/semconv.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let registry: serde_yaml::Value = serde_yaml::from_str(include_str!("../registry/onlooker.yaml")).unwrap();
        let groups = registry["groups"].as_sequence().unwrap();
        let of = |kind: &'static str| groups.iter().filter(move |group| group["type"] == kind);
        let text = |value: &serde_yaml::Value| value.as_str().unwrap().to_owned();
        let attributes: BTreeSet<String> = of("attribute_group")
            .flat_map(|group| group["attributes"].as_sequence().unwrap())
            .map(|attribute| text(&attribute["id"]))
            .collect();
        let events: BTreeSet<String> = of("event").map(|group| text(&group["name"])).collect();
        for name in super::ATTRIBUTES {
            assert!(conventions.contains(name) != attributes.contains(*name), "{name}");
        }
        for name in super::event::ALL {
            assert!(events.contains(*name) || name.starts_with("gen_ai."), "{name}");
        }
        for name in attributes.iter().chain(&events) {
            assert!(name.starts_with("onlooker."), "{name}");
            // A namespace must not be an attribute itself (Weaver, "illegal_namespace").
            assert!(name.match_indices('.').all(|(at, _)| !attributes.contains(&name[..at])), "{name}");
        }
        // Each group as Weaver wants it.
        for group in groups {
            assert!(["id", "type", "brief", "stability"].iter().all(|key| group.get(key).is_some()), "{group:?}");
            for attribute in group.get("attributes").and_then(serde_yaml::Value::as_sequence).into_iter().flatten() {
                let defined = ["id", "type", "brief", "stability", "requirement_level"];
                let name = attribute.get("ref").map(text);
                assert!(
                    name.as_ref().is_some_and(|name| attributes.contains(name))
                        || (name.is_none() && defined.iter().all(|key| attribute.get(key).is_some())),
                    "{attribute:?}"
                );
            }
        }
    }
}
