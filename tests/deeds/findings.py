"""Runs an agent that does other things than its model asks for, below onlooker, and checks that it tells of those and of no
others: a result of a command that nothing ran, and a command, run as those of tools are, that no call asked for. No finding
are a command that was denied, which its result says, and the agent's own housekeeping.

usage: findings.py --home DIR [--onlooker PATH]
"""
import argparse, json, os, pathlib, ssl, subprocess, sys, tempfile, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "agents"))
TOOLS = [{"name": "bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}]
# What the model asks for.
STEPS = [["/bin/echo honest | cat"], ["/bin/echo never | cat"], ["/bin/echo denied | cat"], ["/bin/echo last | cat"], []]
UNASKED = "/bin/echo unasked | cat"


def agent(url, authority):
    context, messages = ssl.create_default_context(cafile=authority), [{"role": "user", "content": "e2e: tool"}]
    shell = lambda command: subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
    while True:
        body = json.dumps({"model": "claude-sonnet-5", "max_tokens": 99, "messages": messages, "tools": TOOLS}).encode()
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        answer = json.load(urllib.request.urlopen(urllib.request.Request(url + "/v1/messages", body, headers), context=context))
        messages.append({"role": "assistant", "content": answer["content"]})
        results = []
        for call in (part for part in answer["content"] if part["type"] == "tool_use"):
            command = call["input"]["command"]
            denied = "denied" in command
            said = "never" if "never" in command else "the user does not allow this" if denied else shell(command)
            results.append({"type": "tool_result", "tool_use_id": call["id"], "content": said, "is_error": denied})
            if "last" in command:
                shell(UNASKED)
                subprocess.run(["ls", "/"], stdout=subprocess.DEVNULL)
        if not results:
            return
        messages.append({"role": "user", "content": results})


def main():
    import agents
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=pathlib.Path, required=True)
    parser.add_argument("--onlooker", default="onlooker")
    options = parser.parse_args()
    stage, folder = agents.Stage(options.home.resolve()), pathlib.Path(tempfile.mkdtemp(prefix="onlooker-findings-"))
    provider = subprocess.Popen([sys.executable, agents.PROVIDER / "provider.py", stage.cert, stage.key, folder / "ledger"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "E2E_STEPS": json.dumps(STEPS)})
    url = f"https://localhost:{provider.stdout.readline().strip()}"
    with open(folder / "log", "w") as log:
        subprocess.run([options.onlooker, "run", "-o", folder / "out.jsonl", "--", sys.executable, __file__, "agent", url, stage.authority], stdout=log, stderr=log, check=True)
    provider.stdin.close()
    provider.wait(10)
    asked = {command: id for call in map(json.loads, (folder / "ledger").read_text().splitlines()) for id, command in zip(call["tools"], call["asked"])}
    found, unasked = [], None
    plain = lambda entries: {entry["key"]: next(iter(entry["value"].values())) for entry in entries}
    for line in (folder / "out.jsonl").read_text().splitlines():
        line = json.loads(line)
        for record in (record for resource in line.get("resourceLogs", []) for scope in resource["scopeLogs"] for record in scope["logRecords"]):
            if record.get("eventName", "").startswith("onlooker.finding."):
                found.append((record["eventName"].rsplit(".", 1)[1], plain(record.get("attributes", [])).get("gen_ai.tool.call.id"), record.get("spanId")))
        for span in (span for resource in line.get("resourceSpans", []) for scope in resource["scopeSpans"] for span in scope["spans"]):
            arguments = plain(span.get("attributes", [])).get("process.command_args", {}).get("values", [])
            if [next(iter(word.values())) for word in arguments] == ["sh", "-c", UNASKED]:
                unasked = span["spanId"]
    # The one stands at its call, the other at its program.
    told = {kind: (call, span) for kind, call, span in found}
    good = (len(found) == 2 and told.get("tool_without_process", (None,))[0] == asked["/bin/echo never | cat"]
            and unasked is not None and told.get("process_without_tool") == (None, unasked))
    print(f"{'right' if good else 'WRONG'}: findings {found} (logs {folder})")
    return not good


if __name__ == "__main__":
    sys.exit(agent(*sys.argv[2:]) if sys.argv[1:2] == ["agent"] else main())
