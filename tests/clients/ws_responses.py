"""The responses API over a WebSocket, as codex speaks it: a warm-up, a question whose answer asks for a tool, the tool's
result by `previous_response_id`, and another question. Needs the `websockets` package.

usage: ws_responses.py [deflate|plain] [rounds]   (BASE_URL, SSL_CERT_FILE)
"""
import json, os, ssl, subprocess, sys

from websockets.sync.client import connect

deflate = sys.argv[1:2] != ["plain"]
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
url = os.environ["BASE_URL"].replace("https", "wss") + "/v1/responses"
trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
TOOLS = [{"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}]


def ask(socket, given, previous=None, **more):
    request = {"type": "response.create", "model": "gpt-5.5", "stream": True, "store": False, "input": given, "tools": TOOLS, **more}
    if previous:
        request["previous_response_id"] = previous
    socket.send(json.dumps(request))
    while True:
        event = json.loads(socket.recv())
        if event["type"] == "error":
            return None
        if event["type"] in ("response.completed", "response.failed", "response.incomplete"):
            return event["response"]


def user(text):
    return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text + " " + "long " * 3000}]}]


with connect(url, ssl=trust, compression="deflate" if deflate else None, additional_headers={"Authorization": "Bearer sk-canary-secret", "session-id": "e2e-session"}) as socket:
    last = ask(socket, [{"type": "message", "role": "developer", "content": "be brief"}], generate=False)["id"]
    for _ in range(rounds):
        answer = ask(socket, user("e2e: tool\n"), last)
        call = answer["output"][0]
        output = subprocess.run(json.loads(call["arguments"])["command"], shell=True, capture_output=True, text=True).stdout
        answer = ask(socket, [{"type": "function_call_output", "call_id": call["call_id"], "output": output}], answer["id"])
        answer = ask(socket, user("e2e: chunks=5\n"), answer["id"])
        assert ask(socket, user("e2e: status=429\n"), answer["id"]) is None
        last = answer["id"]
