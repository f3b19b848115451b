"""Runs an agent behind a gateway on this machine, both below onlooker, and checks that the gateway's calls hang under the
agent's, that only the agent has a turn, and that its tool is tied to its process.

usage: gateway.py --home DIR [--onlooker PATH]
"""
import argparse, http.server, json, os, pathlib, ssl, subprocess, sys, tempfile, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "agents"))
TOOLS = [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}}]


def post(url, body, context=None):
    return urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"}), context=context)


def gateway(url, authority):
    context = ssl.create_default_context(cafile=authority)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = post(url + self.path, body, context)
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
            self.end_headers()
            self.wfile.write(answer.read())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def agent(port):
    messages = [{"role": "user", "content": "e2e: tool"}]
    while True:
        answer = json.load(post(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": messages, "tools": TOOLS}).encode()))
        messages.append(message := answer["choices"][0]["message"])
        for call in message.get("tool_calls") or []:
            done = subprocess.run(["sh", "-c", json.loads(call["function"]["arguments"])["command"]], capture_output=True, text=True)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": done.stdout})
        if not message.get("tool_calls"):
            return


def both(url, authority):
    """What runs below onlooker: a gateway and, beside it, an agent."""
    served = subprocess.Popen([sys.executable, __file__, "gateway", url, authority], stdout=subprocess.PIPE, text=True)
    subprocess.run([sys.executable, __file__, "agent", served.stdout.readline().strip()], check=True)
    served.terminate()
    served.wait()


def main():
    import agents
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=pathlib.Path, required=True)
    parser.add_argument("--onlooker", default="onlooker")
    options = parser.parse_args()
    stage, folder = agents.Stage(options.home.resolve()), pathlib.Path(tempfile.mkdtemp(prefix="onlooker-gateway-"))
    provider = subprocess.Popen([sys.executable, agents.PROVIDER / "provider.py", stage.cert, stage.key, folder / "ledger"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "E2E_STEPS": json.dumps([["/bin/echo hello | cat"], []])})
    url = f"https://localhost:{provider.stdout.readline().strip()}"
    with open(folder / "log", "w") as log:
        subprocess.run([options.onlooker, "run", "-o", folder / "out.jsonl", "--", sys.executable, __file__, "both", url, stage.authority], stdout=log, stderr=log, check=True)
    provider.stdin.close()
    provider.wait(10)
    spans = {}
    for line in (folder / "out.jsonl").read_text().splitlines():
        for resource in json.loads(line).get("resourceSpans", []):
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                attributes = {entry["key"]: next(iter(entry["value"].values())) for entry in span.get("attributes", [])}
                spans[span["spanId"]] = (attributes.get("gen_ai.operation.name"), span.get("parentSpanId", ""), attributes)
    kinds = lambda kind: [(id, parent, attributes) for id, (of, parent, attributes) in spans.items() if of == kind]
    turns, calls, tools = kinds("invoke_agent"), kinds("chat"), kinds("execute_tool")
    own = {id for id, parent, _ in calls if turns and parent == turns[0][0]}
    behind = [parent for id, parent, _ in calls if id not in own]
    tied = [attributes.get("onlooker.tool.match") for _, _, attributes in tools]
    good = len(turns) == 1 and len(own) == 2 and sorted(behind) == sorted(own) and tied == ["command"]
    print(f"{'right' if good else 'WRONG'}: {len(turns)} turns, {len(own)} calls of the agent, {len(behind)} of the gateway below {len(set(behind) & own)} of them, tools {tied} (logs {folder})")
    return not good


if __name__ == "__main__":
    roles = {"gateway": gateway, "agent": agent, "both": both}
    sys.exit(roles[sys.argv[1]](*sys.argv[2:]) if sys.argv[1:] and sys.argv[1] in roles else main())
