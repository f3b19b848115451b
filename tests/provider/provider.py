"""A loopback stand-in for model providers, over TLS, for the end-to-end tests.

Independent of onlooker: Python's standard library only. It answers OpenAI chat completions, responses and embeddings,
Anthropic messages, and the formats of dialects.py, plain and streamed, and writes what it sent to a ledger (JSON lines)
as the truth that spans are compared with. The prompt steers it; see `steer`.

usage: provider.py CERT KEY LEDGER   (prints its port, then serves until its stdin closes)
"""
import gzip, http.server, json, os, ssl, sys, threading, time

import dialects

CERT, KEY, LEDGER = sys.argv[1:4]
lock = threading.Lock()
serial = 0


def ledger(**entry):
    with lock, open(LEDGER, "a") as file:
        file.write(json.dumps(entry) + "\n")


def number():
    global serial
    with lock:
        serial += 1
        return serial


def steer(text, tools=None):
    """Words in the last user message that ask for something special. Agents put much of their own around it: there,
    only what stands in the line after `e2e:` counts, and a tool is called only where `tools` are offered."""
    marked = "e2e:" in text
    if marked:
        text = text.split("e2e:", 1)[1].splitlines()[0]
        for mark in "\"'`<":  # quoted, or within tags
            text = text.split(mark)[0]
    words = text.split() if marked or len(text) < 200 else text[:100].split()[:5] if text.startswith("big ") else []
    if marked and not tools:
        words = [word for word in words if word not in ("tool", "parallel")]
    value = lambda key, default: next((w.split("=", 1)[1] for w in words if w.startswith(key + "=")), default)
    return {
        "chunks": int(value("chunks", "3")), "delay": float(value("delay", "0")), "size": int(value("size", "0")), "status": int(value("status", "0")),
        "cut": "cut" in words, "tool": "tool" in words, "thinking": "thinking" in words, "gzip": "gzip" in words,
        "parallel": "parallel" in words, "abandoned": "abandoned" in words,
    }


SHELLS = ("Bash", "bash", "shell", "run_shell_command", "exec_command", "shell_command", "local_shell", "execute_command",
          "run_commands", "run_command", "run_terminal_cmd", "Shell", "execute_bash", "terminal", "agent_run_shell_command", "execute")


def shell_call(tools, command):
    """The offered tool that runs commands, and arguments for it by its schema. tools: (name, JSON schema) pairs.
    A command may also be a call as it is: {"names": those that the tool may have, "arguments": {…}}."""
    if isinstance(command, dict):
        return next((name for name, _ in tools or [] if name in command["names"]), command["names"][0]), command["arguments"]
    for wanted in SHELLS:
        for name, schema in tools or []:
            if name != wanted:
                continue
            properties = (schema or {}).get("properties") or {}
            arguments = {}
            for key in (schema or {}).get("required") or []:
                kind = (properties.get(key) or {}).get("type")
                arguments[key] = {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}.get(kind, "e2e")
            for key in ("command", "cmd", "commands", "script"):
                if key in properties or key in arguments:
                    kind = (properties.get(key) or {}).get("type")
                    arguments[key] = (["bash", "-c", command] if key == "command" else [command]) if kind == "array" else command
                    return name, arguments
    return "shell", {"command": command}


STEPS = json.loads(os.environ.get("E2E_STEPS", "null"))


def scripted(tools, asked=""):
    """With E2E_STEPS (a JSON list of lists of commands): what is to be run next, for a request that offers a shell;
    else None. Each such request is one step; after the last one nothing is run. An object of such lists has one for each
    thread, by what `asked`, the user's first message, ends with."""
    if STEPS is None or not any(name in SHELLS for name, _ in tools):
        return None
    steps = STEPS if isinstance(STEPS, list) else next((STEPS[end] for end in STEPS if asked.rstrip().endswith(end)), [])
    with lock:
        return steps.pop(0) if steps else []


def text_of(content):
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.document(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in ("gpt-5.5", "gpt-4o")]})

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length)
        request = json.loads(body)
        path = self.path.split("?")[0]
        if path.endswith("/chat/completions"):
            chat(self, request)
        elif path.endswith("/responses"):
            responses(self, request)
        elif path.endswith("/embeddings"):
            embeddings(self, request)
        elif path.endswith("/messages"):
            messages(self, request)
        elif answer := dialects.find(path):
            answer(sys.modules[__name__], self, path, request)
        else:
            self.document(404, {"error": {"message": "no such path", "type": "not_found"}})

    def document(self, status, value, headers=(), compress=False):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        for name, content in headers:
            self.send_header(name, content)
        if compress:
            body = gzip.compress(body)
            self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, events, delay, cut, compress):
        """events: (name or None, value) pairs. With `cut` the connection is closed before the last two."""
        import zlib
        packer = zlib.compressobj(wbits=31) if compress else None
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        if packer:
            self.send_header("content-encoding", "gzip")
        self.end_headers()

        def chunk(data):
            if data:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        if cut:
            events = events[:-2]
        for name, value in events:
            data = value if isinstance(value, str) else json.dumps(value)
            text = (f"event: {name}\n" if name else "") + f"data: {data}\n\n"
            raw = text.encode()
            chunk(packer.compress(raw) + packer.flush(zlib.Z_SYNC_FLUSH) if packer else raw)
            if delay:
                time.sleep(delay)
        if cut:
            self.close_connection = True
            self.connection.close()
            return
        if packer:
            chunk(packer.flush())
        self.wfile.write(b"0\r\n\r\n")


def refuse(handler, request, how, api):
    message = "invented failure"
    kind = {429: "rate_limit_error", 400: "invalid_request_error"}.get(how["status"], "api_error")
    ledger(api=api, model=request.get("model"), status=how["status"], error=kind, stream=bool(request.get("stream")))
    error = {"message": message, "type": kind}
    handler.document(how["status"], {"type": "error", "error": error} if api == "messages" else {"error": error})


def chat(handler, request):
    last = request["messages"][-1]
    tools = [(t["function"]["name"], t["function"].get("parameters")) for t in request.get("tools") or [] if "function" in t]
    how = steer(text_of(last.get("content")) if last["role"] == "user" else "", tools)
    if how["status"]:
        return refuse(handler, request, how, "chat")
    n, model = number(), request["model"] + "-2026-11-01"
    id = f"chatcmpl-e2e{n}"
    usage = {"prompt_tokens": 100 + n, "completion_tokens": 10 + n, "total_tokens": 110 + 2 * n,
             "prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 5}}
    command = os.environ.get("E2E_COMMAND", "echo hello")
    commands = scripted(tools)
    if commands is None:
        commands = [command] * (2 if how["parallel"] else 1) if how["tool"] else []
    made = [shell_call(tools, command) for command in commands]
    calls = [{"index": i, "id": f"call_e2e{n}_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
             for i, (name, arguments) in enumerate(made)]
    finish = "tool_calls" if calls else "stop"
    truth = dict(api="chat", id=id, model=request["model"], response_model=model, input=usage["prompt_tokens"], output=usage["completion_tokens"],
                 cached=64, reasoning=5, finish=[finish], stream=bool(request.get("stream")), status=200, tools=[c["id"] for c in calls], asked=commands)
    if not request.get("stream"):
        message = {"role": "assistant", "content": None if calls else "x" * how["size"] or "hello"}
        if calls:
            message["tool_calls"] = [{k: v for k, v in c.items() if k != "index"} for c in calls]
        ledger(**truth)
        return handler.document(200, {"id": id, "object": "chat.completion", "created": 1, "model": model, "usage": usage, "system_fingerprint": "fp_e2e",
                                      "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}]}, compress=how["gzip"])
    base = {"id": id, "object": "chat.completion.chunk", "created": 1, "model": model, "system_fingerprint": "fp_e2e"}
    delta = lambda d, f=None: (None, {**base, "choices": [{"index": 0, "delta": d, "finish_reason": f}], "usage": None})
    events = [delta({"role": "assistant", "content": ""})]
    if calls:
        for c in calls:
            events.append(delta({"tool_calls": [{**c, "function": {"name": c["function"]["name"], "arguments": ""}}]}))
            arguments = c["function"]["arguments"]
            for at in range(0, len(arguments), 5):
                events.append(delta({"tool_calls": [{"index": c["index"], "function": {"arguments": arguments[at:at + 5]}}]}))
    else:
        events += [delta({"content": f"word{i} "}) for i in range(how["chunks"])]
    events.append(delta({}, finish))
    if (request.get("stream_options") or {}).get("include_usage"):
        events.append((None, {**base, "choices": [], "usage": usage}))
    else:
        truth.update(input=None, output=None, cached=None, reasoning=None)
    events.append((None, "[DONE]"))
    if how["cut"] or how["abandoned"]:  # by this side, or by the client, which says so beforehand
        truth.update(cut=True, input=None, output=None, cached=None, reasoning=None)
    if how["abandoned"]:
        truth.update(finish=[], abandoned=True)
    ledger(**truth)
    handler.stream(events, how["delay"], how["cut"], how["gzip"])


def responses(handler, request):
    given = request["input"]
    text = given if isinstance(given, str) else text_of(given[-1].get("content")) if given and given[-1].get("role") == "user" else ""
    tools = [(t.get("name") or t["type"], t.get("parameters")) for t in request.get("tools") or []]
    how = steer(text, tools)
    if how["status"]:
        return refuse(handler, request, how, "responses")
    n, model = number(), request["model"] + "-2026-11-01"
    id = f"resp_e2e{n}"
    usage = {"input_tokens": 200 + n, "input_tokens_details": {"cached_tokens": 32}, "output_tokens": 20 + n,
             "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 220 + 2 * n}
    command = os.environ.get("E2E_COMMAND", "echo hello")
    commands = scripted(tools)
    if commands is None:
        commands = [command] if how["tool"] else []
    calls = []
    for at, command in enumerate(commands):
        mark = f"{n}_{at}" if at else f"{n}"
        if isinstance(command, dict) and "search" in command:  # for tools that codex offers only then
            calls.append({"type": "tool_search_call", "id": f"ts_e2e{mark}", "call_id": f"call_e2e{mark}", "execution": "client", "status": "completed",
                          "arguments": {"query": command["search"], "limit": 8}})
            continue
        name, arguments = shell_call(tools, command)
        space = {"namespace": command["namespace"]} if isinstance(command, dict) and "namespace" in command else {}
        calls.append({**space, "type": "function_call", "id": f"fc_e2e{mark}", "call_id": f"call_e2e{mark}", "name": name, "arguments": json.dumps(arguments), "status": "completed"})
    words = {"type": "message", "id": f"msg_e2e{n}", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "hello", "annotations": []}]}
    items = calls or [words]
    done = {"id": id, "object": "response", "created_at": 1, "status": "completed", "model": model, "output": items, "usage": usage,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
            "temperature": 1.0, "top_p": 1.0, "service_tier": "default"}
    ledger(api="responses", id=id, model=request["model"], response_model=model, input=usage["input_tokens"], output=usage["output_tokens"], cached=32,
           reasoning=7, finish=["tool_calls" if calls else "stop"], stream=bool(request.get("stream")), status=200, tools=[call["call_id"] for call in calls], asked=commands)
    if not request.get("stream"):
        return handler.document(200, done)
    started = {**done, "status": "in_progress", "output": [], "usage": None}
    events, seq = [], iter(range(10**6))
    add = lambda kind, **fields: events.append((kind, {"type": kind, "sequence_number": next(seq), **fields}))
    add("response.created", response=started)
    add("response.in_progress", response=started)
    for index, call in enumerate(calls):
        if call["type"] == "tool_search_call":
            add("response.output_item.added", output_index=index, item={**call, "status": "in_progress"})
            add("response.output_item.done", output_index=index, item=call)
            continue
        add("response.output_item.added", output_index=index, item={**call, "arguments": "", "status": "in_progress"})
        for at in range(0, len(call["arguments"]), 5):
            add("response.function_call_arguments.delta", item_id=call["id"], output_index=index, delta=call["arguments"][at:at + 5])
        add("response.function_call_arguments.done", item_id=call["id"], output_index=index, name=call["name"], arguments=call["arguments"])
        add("response.output_item.done", output_index=index, item=call)
    if not calls:
        add("response.output_item.added", output_index=0, item={**words, "content": [], "status": "in_progress"})
        add("response.content_part.added", item_id=words["id"], output_index=0, content_index=0, part={"type": "output_text", "text": "", "annotations": []})
        for i in range(how["chunks"]):
            add("response.output_text.delta", item_id=words["id"], output_index=0, content_index=0, delta=f"word{i} ", logprobs=[])
        add("response.output_text.done", item_id=words["id"], output_index=0, content_index=0, text="hello", logprobs=[])
        add("response.output_item.done", output_index=0, item=words)
    add("response.completed", response=done)
    handler.stream(events, how["delay"], False, how["gzip"])


def embeddings(handler, request):
    n, model = number(), request["model"] + "-2026-11-01"
    ledger(api="embeddings", model=request["model"], response_model=model, input=300 + n, output=None, stream=False, status=200, finish=[], tools=[])
    handler.document(200, {"object": "list", "model": model, "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
                           "usage": {"prompt_tokens": 300 + n, "total_tokens": 300 + n}})


def messages(handler, request):
    # Claude Code puts system messages after the user's.
    last = [message for message in request["messages"] if message["role"] != "system"][-1]
    results = isinstance(last["content"], list) and any(part.get("type") == "tool_result" for part in last["content"])
    tools = [(t["name"], t.get("input_schema")) for t in request.get("tools") or []]
    how = steer("" if results else text_of(last["content"]), tools)
    if how["status"]:
        return refuse(handler, request, how, "messages")
    n, model = number(), request["model"] + "-20261101"
    id = f"msg_e2e{n}"
    usage = {"input_tokens": 50 + n, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 30, "output_tokens": 40 + n}
    command = os.environ.get("E2E_COMMAND", "echo hello")
    commands = scripted(tools, text_of(request["messages"][0]["content"]))
    if commands is None:
        commands = [command] if how["tool"] else []
    calls = []
    for at, command in enumerate(commands):
        name, arguments = shell_call(tools, command)
        calls.append({"type": "tool_use", "id": f"toolu_e2e{n}" + (f"_{at}" if at else ""), "name": name, "input": arguments})
    content = ([{"type": "thinking", "thinking": "hm", "signature": "c2ln"}] if how["thinking"] else []) + (calls or [{"type": "text", "text": "hello"}])
    stop = "tool_use" if calls else "end_turn"
    truth = dict(api="messages", id=id, model=request["model"], response_model=model, input=50 + n + 430, output=40 + n, cached=400, finish=[stop],
                 stream=bool(request.get("stream")), status=200, tools=[call["id"] for call in calls], asked=commands)
    ledger(**truth)
    whole = {"id": id, "type": "message", "role": "assistant", "model": model, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}
    if not request.get("stream"):
        return handler.document(200, whole, compress=how["gzip"])
    events = []
    add = lambda kind, **fields: events.append((kind, {"type": kind, **fields}))
    add("message_start", message={**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}})
    add("ping")
    for index, part in enumerate(content):
        if part["type"] == "thinking":
            add("content_block_start", index=index, content_block={"type": "thinking", "thinking": "", "signature": ""})
            add("content_block_delta", index=index, delta={"type": "thinking_delta", "thinking": "hm"})
            add("content_block_delta", index=index, delta={"type": "signature_delta", "signature": "c2ln"})
        elif part["type"] == "tool_use":
            add("content_block_start", index=index, content_block={**part, "input": {}})
            text = json.dumps(part["input"])
            for at in range(0, len(text), 5):
                add("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": text[at:at + 5]})
        else:
            add("content_block_start", index=index, content_block={"type": "text", "text": ""})
            for i in range(how["chunks"]):
                add("content_block_delta", index=index, delta={"type": "text_delta", "text": f"word{i} "})
        add("content_block_stop", index=index)
    add("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": 40 + n})
    add("message_stop")
    handler.stream(events, how["delay"], False, how["gzip"])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


def serve(handler):
    server = Server(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(Handler)
