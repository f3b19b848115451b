"""An agent with one shell for all its commands, as several have: each is written to the shell's input, and over when the
shell has said so. Python's standard library only.

usage: persistent.py pipe|pty URL PROMPT
"""
import json, os, pty, subprocess, sys, threading, urllib.request

TOOL = {"type": "function", "function": {"name": "bash", "description": "Runs a command.", "parameters": {
    "type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}}


class Shell:
    def __init__(self, terminal):
        if terminal:
            ours, theirs = pty.openpty()
            self.process = subprocess.Popen(["bash", "--noprofile", "--norc"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                            env={**os.environ, "PS1": "", "TERM": "dumb"})
            os.close(theirs)
            self.read, self.write = os.fdopen(ours, "rb", 0), os.fdopen(os.dup(ours), "wb", 0)
        else:
            self.process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
            self.read, self.write = self.process.stdout, self.process.stdin
        self.number, self.lock = 0, threading.Lock()

    def run(self, command):
        with self.lock:
            self.number += 1
            mark = f"END-{self.number}-"
            self.write.write(f"{command}\necho {mark[:-1]}'-'$?\n".encode())
            text = b""
            while True:
                text += self.read.read(1)
                if text.endswith(b"\n") and (at := text.rfind(mark.encode())) >= 0 and text[at + len(mark):].strip().isdigit():
                    return text[:at].decode(errors="replace")


def ask(url, messages):
    body = json.dumps({"model": "gpt-4o", "messages": messages, "tools": [TOOL]}).encode()
    request = urllib.request.Request(url + "/v1/chat/completions", body, {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["choices"][0]["message"]


def main():
    terminal, url, prompt = sys.argv[1] == "pty", sys.argv[2], sys.argv[3]
    shell, messages = Shell(terminal), [{"role": "user", "content": prompt}]
    while True:
        message = ask(url, messages)
        messages.append(message)
        calls = message.get("tool_calls") or []
        for call in calls:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": shell.run(json.loads(call["function"]["arguments"])["command"])})
        if not calls:
            return print(message["content"])


if __name__ == "__main__":
    main()
