"""The provider with WebSocket: OpenAI's responses API as codex speaks it (`wss://…/v1/responses`) and Realtime
(`wss://…/v1/realtime?model=…`). Everything else is answered as by provider.py, over HTTP/1.1. Standard library only.

usage: ws.py CERT KEY LEDGER [DEFLATE]   (prints its port, then serves until its stdin closes)

DEFLATE: `yes` (default; permessage-deflate is accepted where it is offered), `fresh` (accepted without context takeover),
`no`. The environment variable E2E_DEFLATE says the same.
One line of the ledger is one answered response; a warm-up (`"generate": false`) is answered, but is no line. Events over
300 bytes go out in two fragments with a ping between them.

How to run codex against it (0.169: its default provider, so its default transport):

    mkdir home; port=… (printed by this file); cert=the certificate's authority
    cat > home/config.toml <<END
    model = "gpt-5.5"
    approval_policy = "never"
    sandbox_mode = "danger-full-access"
    openai_base_url = "https://localhost:$port/v1"
    END
    CODEX_HOME=$PWD/home CODEX_API_KEY=sk-invented CODEX_CA_CERTIFICATE=$cert \\
        codex exec --skip-git-repo-check "e2e: tool" < /dev/null
"""
import base64, hashlib, json, os, struct, sys, threading, zlib

import provider

DEFLATE = sys.argv[4] if len(sys.argv) > 4 else os.environ.get("E2E_DEFLATE", "yes")
FRAGMENTED = 300


class Closed(Exception):
    pass


class Socket:
    """The server's end of a WebSocket (RFC 6455, RFC 7692)."""

    def __init__(self, rfile, wfile, deflate):
        self.rfile, self.wfile, self.lock = rfile, wfile, threading.Lock()
        self.deflate, self.fresh = deflate is not None, deflate == "fresh"
        self.packer = self.unpacker = None

    def frame(self, first, payload):
        size = len(payload)
        head = bytes([first, size]) if size < 126 else struct.pack("!BBH", first, 126, size) if size < 65536 else struct.pack("!BBQ", first, 127, size)
        self.wfile.write(head + payload)

    def send(self, value):
        payload, bits = json.dumps(value, separators=(",", ":")).encode(), 0
        long = len(payload) > FRAGMENTED
        with self.lock:
            if self.deflate:
                if self.packer is None or self.fresh:
                    self.packer = zlib.compressobj(wbits=-15)
                payload, bits = (self.packer.compress(payload) + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4], 0x40
            if long:
                middle = len(payload) // 2
                self.frame(0x01 | bits, payload[:middle])
                self.frame(0x89, b"still there?")
                self.frame(0x80, payload[middle:])
            else:
                self.frame(0x81 | bits, payload)

    def exactly(self, size):
        data = self.rfile.read(size)
        if len(data) < size:
            raise Closed
        return data

    def receive(self):
        """The next message."""
        parts, compressed = b"", False
        while True:
            first, second = self.exactly(2)
            size = second & 127
            if size > 125:
                size = struct.unpack("!H" if size == 126 else "!Q", self.exactly(2 if size == 126 else 8))[0]
            mask = self.exactly(4)
            data = self.exactly(size)
            key = (mask * (size // 4 + 1))[:size]
            data = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
            opcode = first & 15
            if opcode == 8:
                with self.lock:
                    self.frame(0x88, data[:2])
                raise Closed
            if opcode == 9:
                with self.lock:
                    self.frame(0x8A, data)
            if opcode > 7:
                continue
            compressed = compressed or bool(first & 0x40)
            parts += data
            if first & 0x80:
                break
        if compressed:
            if self.unpacker is None or self.fresh:
                self.unpacker = zlib.decompressobj(-15)
            parts = self.unpacker.decompress(parts + b"\0\0\xff\xff")
        return json.loads(parts)


class Answer:
    """Takes provider.py's answers over HTTP and sends them as messages."""

    def __init__(self, socket):
        self.socket = socket

    def stream(self, events, delay, cut, _compress):
        for _, value in events[:-2] if cut else events:
            self.socket.send(value)
            if delay:
                provider.time.sleep(delay)
        if cut:
            raise Closed

    def document(self, status, value, *_more, **_less):
        self.socket.send({"type": "error", "status": status, "error": value["error"]})


def responses(socket):
    warm = {}
    while True:
        request = socket.receive()
        if request.get("type") != "response.create":
            continue
        if request.get("generate") is False:
            id = f"resp_warm{provider.number()}"
            warm[id] = request["input"]
            body = {"id": id, "object": "response", "status": "in_progress", "model": request["model"], "output": [], "usage": None}
            socket.send({"type": "response.created", "response": body})
            socket.send({"type": "response.completed", "response": {**body, "status": "completed", "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}})
            continue
        # The question may have come with the warm-up.
        request["input"] = request["input"] or warm.get(request.get("previous_response_id")) or []
        provider.responses(Answer(socket), {**request, "stream": True})


def realtime(socket, model):
    session = {"object": "realtime.session", "id": "sess_e2e", "type": "realtime", "model": model}
    socket.send({"type": "session.created", "event_id": "ev0", "session": session})
    items = []
    while True:
        event = socket.receive()
        kind = event.get("type")
        if kind == "session.update":
            session.update(event["session"])
            socket.send({"type": "session.updated", "event_id": "ev1", "session": session})
        elif kind == "conversation.item.create":
            items.append(event["item"])
            socket.send({"type": "conversation.item.added", "event_id": "ev2", "previous_item_id": None, "item": {"id": f"item_{len(items)}", **event["item"]}})
        elif kind == "response.create":
            generate(socket, model, items, event)


def generate(socket, model, items, event):
    asked = event.get("response") or {}
    last = items[-1] if items else {}
    how = provider.steer(provider.text_of(last.get("content")) if last.get("role") == "user" else "")
    if how["status"]:
        provider.ledger(api="realtime", model=model, status=101, error="invalid_request_error", stream=True)
        return socket.send({"type": "error", "event_id": "ev9", "error": {"type": "invalid_request_error", "message": "invented failure", "event_id": event.get("event_id")}})
    n = provider.number()
    id = f"resp_e2e{n}"
    call = {"id": f"item_c{n}", "object": "realtime.item", "type": "function_call", "status": "completed", "name": "shell", "call_id": f"call_e2e{n}",
            "arguments": json.dumps({"command": os.environ.get("E2E_COMMAND", "echo hello")})}
    words = {"id": f"item_m{n}", "object": "realtime.item", "type": "message", "status": "completed", "role": "assistant",
             "content": [{"type": "output_text", "text": "hello"}]}
    item = call if how["tool"] else words
    body = {"object": "realtime.response", "id": id, "status": "in_progress", "status_details": None, "output": [], "usage": None,
            "output_modalities": ["text"], "metadata": asked.get("metadata"), "max_output_tokens": "inf", "conversation_id": "conv_e2e"}
    usage = {"total_tokens": 90 + 2 * n, "input_tokens": 70 + n, "output_tokens": 20 + n,
             "input_token_details": {"text_tokens": 60 + n, "audio_tokens": 10, "cached_tokens": 16, "cached_tokens_details": {"text_tokens": 16, "audio_tokens": 0}},
             "output_token_details": {"text_tokens": 20 + n, "audio_tokens": 0}}
    provider.ledger(api="realtime", id=id, model=model, response_model=None, input=70 + n, output=20 + n, cached=16, reasoning=None,
                    finish=["tool_calls" if how["tool"] else "stop"], stream=True, status=101, tools=[call["call_id"]] if how["tool"] else [])
    place = {"response_id": id, "output_index": 0, "item_id": item["id"]}
    send = lambda kind, **fields: socket.send({"type": kind, "event_id": "ev", **fields})
    send("response.created", response=body)
    send("response.output_item.added", response_id=id, output_index=0, item={**item, "status": "in_progress"})
    if how["tool"]:
        send("response.function_call_arguments.delta", **place, call_id=call["call_id"], delta=call["arguments"])
        send("response.function_call_arguments.done", **place, call_id=call["call_id"], name="shell", arguments=call["arguments"])
    for i in range(0 if how["tool"] else how["chunks"]):
        send("response.output_text.delta", **place, content_index=0, delta=f"word{i} ")
        if how["delay"]:
            provider.time.sleep(how["delay"])
    send("response.output_item.done", response_id=id, output_index=0, item=item)
    send("response.done", response={**body, "status": "completed", "output": [item], "usage": usage})
    send("rate_limits.updated", rate_limits=[])


class Handler(provider.Handler):
    def do_GET(self):
        if self.headers.get("upgrade", "").lower() != "websocket":
            return super().do_GET()
        path, _, query = self.path.partition("?")
        accept = base64.b64encode(hashlib.sha1((self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        answer = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        deflate = DEFLATE if DEFLATE != "no" and "permessage-deflate" in self.headers.get("sec-websocket-extensions", "") else None
        if deflate:
            fresh = "; server_no_context_takeover; client_no_context_takeover" if deflate == "fresh" else ""
            answer += f"Sec-WebSocket-Extensions: permessage-deflate{fresh}\r\n"
        if "realtime" in self.headers.get("sec-websocket-protocol", ""):
            answer += "Sec-WebSocket-Protocol: realtime\r\n"
        self.wfile.write(answer.encode() + b"\r\n")
        self.close_connection = True
        socket = Socket(self.rfile, self.wfile, deflate)
        try:
            if path.endswith("/realtime"):
                realtime(socket, dict(part.split("=") for part in query.split("&") if "=" in part).get("model"))
            else:
                responses(socket)
        except (Closed, OSError):
            pass


if __name__ == "__main__":
    provider.serve(Handler)
