"""A small agent: asks a model over TLS, runs the tool it asks for, says the result back. Standard library only."""

import http.client
import json
import os
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "shell",
            "description": "Runs a command in a shell and gives its output.",
            "parameters": {
                "type": "object",
                "properties": {"command": {"type": "string"}},
                "required": ["command"],
            },
        },
    }
]
QUESTIONS = [
    "Which kernel runs here, and how many entries does /etc have?",
    "Thank you. In one sentence: how did you find that out?",
]


def say(who, text):
    print(f"{who}: {text}", flush=True)


def ask(connection, path, key, messages):
    """One call of the model; gives its message, put together from the stream."""
    body = {
        "model": "demo-model",
        "messages": messages,
        "tools": TOOLS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Authorization": f"Bearer {key}",
        "User-Agent": "demo-agent/1.0",
    }
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"demo-agent: the model answered {response.status}: {response.read().decode()}")
    text, calls = "", {}
    while True:
        line = response.readline()
        if not line:
            raise SystemExit("demo-agent: the stream ended early")
        line = line.strip()
        if not line.startswith(b"data:"):
            continue
        data = line[len(b"data:") :].strip()
        if data == b"[DONE]":
            break
        for choice in json.loads(data)["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            for part in delta.get("tool_calls") or []:
                call = calls.setdefault(
                    part["index"],
                    {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
                )
                call["id"] = part.get("id") or call["id"]
                function = part.get("function") or {}
                call["function"]["name"] += function.get("name") or ""
                call["function"]["arguments"] += function.get("arguments") or ""
    response.read()  # to the end, so that the connection can be used again
    message = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message


def run_tool(call):
    function = call["function"]
    if function["name"] != "shell":
        return f"there is no tool {function['name']}"
    command = json.loads(function["arguments"])["command"]
    say("  tool", f"shell: {command}")
    done = subprocess.run(
        ["sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    return done.stdout


def main():
    base = urlsplit(os.environ["DEMO_BASE_URL"])
    key = os.environ.get("DEMO_API_KEY", "demo-key")
    context = ssl.create_default_context(cafile=os.environ["DEMO_CA_FILE"])
    connection = http.client.HTTPSConnection(base.hostname, base.port, timeout=30, context=context)
    path = base.path.rstrip("/") + "/chat/completions"
    messages = [{"role": "system", "content": "You are a demonstration. Use the tool shell to look at this host."}]
    for question in QUESTIONS:
        say("  user", question)
        messages.append({"role": "user", "content": question})
        while True:
            message = ask(connection, path, key, messages)
            messages.append(message)
            if message["content"]:
                say(" agent", message["content"])
            calls = message.get("tool_calls")
            if not calls:
                break
            for call in calls:
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": run_tool(call)})
    connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
