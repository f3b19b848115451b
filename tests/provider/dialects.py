"""Formats that only one provider speaks, for provider.py: Gemini, Ollama, Cohere v2, Bedrock converse.

Each answers like the chat of provider.py: a text, or a call of the tool that runs commands; the ledger has the truth.
"""
import json, os, struct, zlib


def find(path):
    method = path.rsplit(":", 1)[-1]
    if method in ("generateContent", "streamGenerateContent"):
        return gemini
    if path.endswith("/api/chat"):
        return ollama
    if path.endswith("/v2/chat"):
        return cohere
    if path.endswith(("/converse", "/converse-stream")):
        return bedrock
    return None


def raw(handler, kind, pieces, delay):
    """A chunked answer of these pieces of bytes."""
    import time
    handler.send_response(200)
    handler.send_header("content-type", kind)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if delay:
            time.sleep(delay)
    handler.wfile.write(b"0\r\n\r\n")


def gemini(p, handler, path, request):
    model = path.rsplit("/", 1)[-1].split(":")[0]
    stream = path.endswith("streamGenerateContent")
    declared = [d for tool in request.get("tools") or [] for d in tool.get("functionDeclarations") or []]
    tools = [(d["name"], d.get("parametersJsonSchema") or lower(d.get("parameters"))) for d in declared]
    parts = request["contents"][-1].get("parts") or []
    answered = any("functionResponse" in part for part in parts)
    how = p.steer("" if answered else " ".join(part.get("text", "") for part in parts), tools)
    if how["status"]:
        p.ledger(api="gemini", model=model, status=how["status"], error=str(how["status"]), stream=stream)
        return handler.document(how["status"], {"error": {"code": how["status"], "message": "invented failure", "status": "X"}})
    n = p.number()
    commands = p.scripted(tools)
    if commands is None:
        commands = [os.environ.get("E2E_COMMAND", "echo hello")] if how["tool"] else []
    calls = [{"id": f"call_e2e{n}_{at}", "name": name, "args": arguments} for at, (name, arguments) in enumerate(p.shell_call(tools, command) for command in commands)]
    usage = {"promptTokenCount": 500 + n, "candidatesTokenCount": 50 + n, "thoughtsTokenCount": 9, "cachedContentTokenCount": 128,
             "totalTokenCount": 559 + 2 * n}
    truth = dict(api="gemini", id=f"gem_e2e{n}", model=model, response_model=model + "-001", input=500 + n, output=59 + n, cached=128,
                 reasoning=9, finish=["STOP"], stream=stream, status=200, tools=[call["id"] for call in calls], asked=commands)
    base = {"modelVersion": model + "-001", "responseId": f"gem_e2e{n}", "usageMetadata": usage}
    piece = lambda parts, **more: {**base, "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, **more}]}
    body = [{"functionCall": call} for call in calls] or [{"text": f"word{i} "} for i in range(how["chunks"])]
    p.ledger(**truth)
    if not stream:
        return handler.document(200, piece(body, finishReason="STOP"))
    events = [(None, piece([part])) for part in body] + [(None, piece([{"text": ""}], finishReason="STOP"))]
    if how["cut"]:
        truth.update(cut=True)
    handler.stream(events, how["delay"], how["cut"], how["gzip"])


def lower(schema):
    """Gemini's own schemas name types in capitals."""
    if isinstance(schema, dict):
        return {key: value.lower() if key == "type" and isinstance(value, str) else lower(value) for key, value in schema.items()}
    return schema


def ollama(p, handler, path, request):
    last = request["messages"][-1]
    how = p.steer(last.get("content") or "")
    n = p.number()
    stream = request.get("stream", True)
    p.ledger(api="ollama", id=None, model=request["model"], response_model=request["model"], input=30 + n, output=3 + n,
             finish=["stop"], stream=stream, status=200, tools=[])
    end = {"model": request["model"], "created_at": "2026-11-01T00:00:00Z", "done": True, "done_reason": "stop",
           "prompt_eval_count": 30 + n, "eval_count": 3 + n}
    message = lambda text: {"role": "assistant", "content": text}
    if not stream:
        return handler.document(200, {**end, "message": message("hello")})
    lines = [{"model": request["model"], "created_at": "2026-11-01T00:00:00Z", "message": message(f"word{i} "), "done": False}
             for i in range(how["chunks"])] + [{**end, "message": message("")}]
    raw(handler, "application/x-ndjson", [json.dumps(line).encode() + b"\n" for line in lines], how["delay"])


def cohere(p, handler, path, request):
    last = request["messages"][-1]
    how = p.steer(p.text_of(last.get("content")))
    n = p.number()
    stream = bool(request.get("stream"))
    usage = {"billed_units": {"input_tokens": 1, "output_tokens": 1}, "tokens": {"input_tokens": 70 + n, "output_tokens": 7 + n}}
    p.ledger(api="cohere", id=f"co_e2e{n}", model=request["model"], response_model=None, input=70 + n, output=7 + n,
             finish=["COMPLETE"], stream=stream, status=200, tools=[])
    if not stream:
        return handler.document(200, {"id": f"co_e2e{n}", "finish_reason": "COMPLETE", "usage": usage,
                                      "message": {"role": "assistant", "content": [{"type": "text", "text": "hello"}]}})
    events = [("message-start", {"type": "message-start", "id": f"co_e2e{n}", "delta": {"message": {"role": "assistant", "content": []}}}),
              ("content-start", {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}})]
    events += [("content-delta", {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": f"word{i} "}}}})
               for i in range(how["chunks"])]
    events += [("content-end", {"type": "content-end", "index": 0}),
               ("message-end", {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}})]
    handler.stream(events, how["delay"], False, how["gzip"])


def bedrock(p, handler, path, request):
    from urllib.parse import unquote
    model = unquote(path.split("/model/")[1].rsplit("/", 1)[0])
    stream = path.endswith("-stream")
    last = request["messages"][-1]
    how = p.steer(p.text_of(last["content"]))
    n = p.number()
    usage = {"inputTokens": 80 + n, "outputTokens": 8 + n, "totalTokens": 88 + 2 * n}
    p.ledger(api="bedrock", id=None, model=model, response_model=None, input=80 + n, output=8 + n, finish=["end_turn"],
             stream=stream, status=200, tools=[])
    if not stream:
        return handler.document(200, {"output": {"message": {"role": "assistant", "content": [{"text": "hello"}]}},
                                      "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}})
    events = [("messageStart", {"role": "assistant"})]
    events += [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": f"word{i} "}}) for i in range(how["chunks"])]
    events += [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": "end_turn"}),
               ("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})]
    raw(handler, "application/vnd.amazon.eventstream", [event_stream(*event) for event in events], how["delay"])


def event_stream(name, value):
    """Amazon's event stream encoding of one event."""
    payload = json.dumps(value).encode()
    headers = b""
    for key, text in ((":event-type", name), (":content-type", "application/json"), (":message-type", "event")):
        headers += bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(text)) + text.encode()
    head = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head += struct.pack(">I", zlib.crc32(head))
    message = head + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))
