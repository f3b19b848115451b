"""An agent whose only tool is an MCP server's, with nothing but the standard library: asks a model over TLS, calls the tool
over streamable HTTP (argument `http`) or over HTTP with SSE (`sse`), gives the result back. Prints what it sent."""
import http.client, http.server, json, os, queue, ssl, subprocess, sys, threading, urllib.parse


def message(**members):
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


class Desk(http.server.BaseHTTPRequestHandler):
    """The server: one session."""
    protocol_version = "HTTP/1.1"
    stream = None

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def event(self, kind, data):
        event = b"event: " + kind + b"\ndata: " + data + b"\n\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def open_stream(self, **headers):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self):
        self.open_stream()
        self.event(b"endpoint", b"/messages?sessionId=one")
        Desk.stream = self
        threading.Event().wait()

    def answer(self, said):
        if said["method"] == "initialize":
            return {"protocolVersion": "2025-06-18", "serverInfo": {"name": "desk", "version": "1"}, "capabilities": {}}
        if said["params"]["arguments"].get("command") == "fail":
            return {"isError": True, "content": []}
        return {"content": [{"type": "text", "text": "hello"}]}

    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/messages"):
            self.reply(202, b"Accepted")
            if "id" in said:
                Desk.stream.event(b"message", message(id=said["id"], result=self.answer(said)))
        elif self.path != "/mcp":
            self.reply(404)
        elif "id" not in said:
            self.reply(202)
        elif said["method"] == "initialize":
            self.reply(200, message(id=said["id"], result=self.answer(said)), Content_Type="application/json", Mcp_Session_Id="one")
        else:
            self.open_stream()
            self.event(b"message", message(method="notifications/progress", params={"progress": 1, "progressToken": 1}))
            self.event(b"message", message(id=said["id"], result=self.answer(said)))
            self.wfile.write(b"0\r\n\r\n")


if sys.argv[1] == "serve":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)

child = subprocess.Popen([sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
port = int(child.stdout.readline())
ids, answers, target = iter(range(100)), queue.Queue(), "/mcp"
session = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def events(response):
    kind = ""
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, value


if sys.argv[1] == "sse":
    listening = http.client.HTTPConnection("127.0.0.1", port)
    listening.request("GET", "/sse", headers={"Accept": "text/event-stream"})
    stream = events(listening.getresponse())
    target = next(stream)[1]
    threading.Thread(target=lambda: [answers.put(json.loads(data)) for _, data in stream], daemon=True).start()
wire = http.client.HTTPConnection("127.0.0.1", port)


def send(method, params=None, target=target, note=False):
    said = {"method": method, "params": params or {}, **({} if note else {"id": next(ids)})}
    wire.request("POST", target, message(**said), session)
    response = wire.getresponse()
    if response.headers.get("Mcp-Session-Id"):
        session.update({"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"})
    print(json.dumps({"method": method, "id": None if note else str(said["id"]), "status": response.status}), flush=True)
    if response.headers.get("Content-Type") == "text/event-stream":
        told = [json.loads(data) for _, data in events(response)]
        return next(each for each in told if "id" in each)["result"]
    body = response.read()
    if note or response.status >= 400:
        return None
    return json.loads(body)["result"] if body.startswith(b"{") else answers.get(timeout=10)["result"]


send("initialize", {"protocolVersion": "2025-06-18", "clientInfo": {"name": "mcp_agent", "version": "1"}, "capabilities": {}})
send("notifications/initialized", note=True)
base = urllib.parse.urlsplit(os.environ["BASE_URL"])
model = http.client.HTTPSConnection(base.hostname, base.port, context=ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]))
schema = {"type": "object", "properties": {"command": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "shell", "parameters": schema}}]
messages = [{"role": "user", "content": "tool"}]
for _ in range(4):
    asked = json.dumps({"model": "gpt-4o", "messages": messages, "tools": tools})
    model.request("POST", "/v1/chat/completions", asked, {"Content-Type": "application/json", "Authorization": "Bearer sk-canary-mcp"})
    answer = json.loads(model.getresponse().read())["choices"][0]["message"]
    messages.append(answer)
    if not answer.get("tool_calls"):
        break
    for call in answer["tool_calls"]:
        arguments = json.loads(call["function"]["arguments"])
        result = send("tools/call", {"name": "shell", "arguments": arguments})
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
    # Nobody but the agent asks for this one.
    send("tools/call", {"name": "other", "arguments": {"command": "fail"}})
send("tools/list", target="/gone")
child.stdin.close()
child.wait()
