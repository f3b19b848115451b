"""An MCP server on its standard streams that runs commands: `shell` the one in its arguments, `count` one of its own below
strace, which its arguments do not show."""
import json, subprocess, sys

TOOLS = [{"name": "shell", "description": "runs a command", "inputSchema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}},
         {"name": "count", "description": "counts", "inputSchema": {"type": "object", "properties": {"trace": {"type": "string"}}, "required": ["trace"]}}]


def run(name, arguments, strace):
    command = arguments["command"] if name == "shell" else f"{strace} -o {arguments['trace']} -- sh -c 'seq 1 20 | wc -l'"
    done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return {"content": [{"type": "text", "text": done.stdout + done.stderr}], "isError": done.returncode != 0}


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    parameters = message.get("params") or {}
    answers = {
        "initialize": lambda: {"protocolVersion": parameters.get("protocolVersion", "2025-06-18"), "capabilities": {"tools": {}}, "serverInfo": {"name": "ops", "version": "1"}},
        "tools/list": lambda: {"tools": TOOLS},
        "tools/call": lambda: run(parameters["name"], parameters.get("arguments") or {}, sys.argv[1]),
        "ping": lambda: {},
    }
    answer = answers.get(message["method"])
    result = {"result": answer()} if answer else {"error": {"code": -32601, "message": "no such method"}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **result}), flush=True)
