"""Asks real agents, by a scripted model on loopback, to run commands, and compares the tree that onlooker tells with the
truth that strace recorded around each command.

usage: deeds.py --home DIR [--onlooker PATH] [--agents claude-code,codex] [NAME…]

Every command is wrapped in `strace -f`, which sees each fork, exec and exit on its own. Of each scenario it is checked:
every program that ran is there once, with its pid, arguments and outcome; it hangs (through its parents) under the
execute_tool span of the call that asked for it, and under no other; its parent is the program that started it; and nothing
hangs under a call that its command did not start. Needs strace; agents are installed as by tests/agents/agents.py.
"""
import argparse, collections, copy, json, pathlib, re, shlex, sys, tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "agents"))
import agents, clients

GIT = ("git init -q repo; cd repo; git config user.email e2e; git config user.name e2e; echo one > file.txt; git add .; git commit -qm one; cd ..; "
       "git clone -q repo copy; sed -i s/one/two/ copy/file.txt; cat copy/file.txt")
SHELL = lambda command: {"names": ["mcp__ops__shell", "shell"], "arguments": {"command": command}}
COUNT = {"names": ["mcp__ops__count", "count"], "arguments": {"trace": "{trace}"}}
AGENT = lambda prompt: {"names": ["Task", "Agent"], "arguments": {"description": "e2e", "prompt": prompt, "subagent_type": "general-purpose"}}
TASK = AGENT("e2e: tool")
DENIED = {"names": ["Bash"], "arguments": {"command": "touch denied", "description": "e2e"}}
# name → steps; a step is the commands of one answer, or calls of other tools.
SCENARIOS = {
    "one": [["/bin/echo hello"]],
    "pipeline": [["seq 1 100 | grep 7 | wc -l"]],
    "parallel": [["/bin/echo first; ls /etc | wc -l", "/bin/echo second; uname -a | tr a-z A-Z"]],
    "sequence": [["/bin/echo a; ls / | wc -l"], ["/bin/echo b; ls / | wc -l"], ["/bin/echo c; ls / | wc -l"]],
    "background": [["python3 -m http.server --bind 127.0.0.1 0 > /dev/null 2>&1 & sleep 0.3; echo started; (sleep 3; kill $!) > /dev/null 2>&1 &"], ["/bin/echo later | cat"]],
    "children": [["for i in $(seq 1 200); do /bin/true $i & done; wait"]],
    "git": [[GIT]],
    "fails": [["ls /does/not/exist | cat; /bin/false"]],
    "server": [[SHELL("/bin/echo one; ls /etc | wc -l")], [COUNT], ["/bin/echo last | cat"]],
    "servers": [[SHELL("/bin/echo one; ls /etc | wc -l"), "/bin/echo own | cat", SHELL("sleep 0.1; id -u | tr 0 1")]],
    # The sub-agent's first request is the second step, its second one has nothing more to run.
    "subagent": [[TASK], ["/bin/echo below; ls / | wc -l"], [], ["/bin/echo above | cat"]],
    # Each thread has its own steps. The first two are told different things, the others the same.
    "subagents": {"e2e: tool": [[AGENT("e2e: left"), AGENT("e2e: right")], ["/bin/echo above | cat"]],
                  "e2e: left": [["/bin/echo left; ls / | wc -l"], ["sleep 0.2; /bin/echo more | cat"]],
                  "e2e: right": [["sleep 0.1; ls /etc | wc -l"]]},
    "alike": {"e2e: tool": [[AGENT("e2e: same"), AGENT("e2e: same")]], "e2e: same": [["/bin/echo one; ls / | wc -l"], ["/bin/echo two | cat"]]},
    "denied": [["/bin/echo allowed | cat"], [DENIED], ["/bin/echo later | cat"]],
    "killed": [["sh -c 'kill -9 $$'; sleep 60 & kill -TERM $!; wait"]],
}


STRACE = "strace -f -q -s 65536 -e abbrev=none -e trace=execve,execveat,fork,vfork,clone,clone3"
# How an agent is given a server, and which agents can have that and sub-agents.
SERVER = pathlib.Path(__file__).resolve().parent / "server.py"
MCP = ["--strict-mcp-config", "--mcp-config", json.dumps({"mcpServers": {"ops": {"command": sys.executable, "args": [str(SERVER), STRACE]}}})]
# codex has servers in its configuration, and offers their tools only after a search for them.
CODEX_MCP = f"\n[mcp_servers.ops]\ncommand = {json.dumps(sys.executable)}\nargs = {json.dumps([str(SERVER), STRACE])}\n"
SEARCH = {"search": "shell count"}
ONLY = {name: ["claude-code"] for name in ("subagent", "subagents", "alike", "denied")}
ONLY |= {name: ["claude-code", "codex"] for name in ("server", "servers")}
DENY = ["--disallowedTools", "Bash(touch:*)"]


def wrap(command, folder, number, agent):
    """The command below strace, and where its truth will stand: None for a sub-agent, False for what is denied, ... for what
    is of no interest."""
    trace = folder / f"{number}.trace"
    if isinstance(command, dict) and "prompt" in command.get("arguments", {}):
        return command, None
    if command is DENIED or command is SEARCH:
        return command, False if command is DENIED else ...
    if isinstance(command, dict):
        arguments = {key: value.replace("{trace}", str(trace)) for key, value in command["arguments"].items()}
        if "command" in arguments:
            arguments["command"] = f"{STRACE} -o {trace} -- sh -c {shlex.quote(arguments['command'])}"
        if agent == "codex":
            command = {"names": command["names"][1:], "namespace": "mcp__ops"}
        return {**command, "arguments": arguments}, trace
    return f"{STRACE} -o {trace} -- sh -c {shlex.quote(command)}", trace


CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(execve|execveat|fork|vfork|clone|clone3)(\(| resumed>)(.*)$")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def unescape(text):
    return text.encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")


def truth(trace):
    """[(pid, argv, exit, parent pid)] of every program that was executed; exit: code, -signal, or None if it was replaced."""
    programs, waiting, parents = [], {}, {}
    last = {}
    for line in trace.read_text(errors="replace").splitlines():
        if found := CALL.match(line):
            pid, name, _, rest = int(found[1]), found[2], found[3], found[4]
            whole = waiting.pop(pid, "") + rest
            if whole.endswith("<unfinished ...>"):
                waiting[pid] = whole[:-len("<unfinished ...>")]
                continue
            result = whole.rsplit("=", 1)[-1].strip()
            if name.startswith("exec"):
                if result == "0":
                    argv = whole[whole.index("[") + 1:]
                    argv = argv[:argv.index("], [")] if "], [" in argv else argv[:argv.index("]")]
                    programs.append([pid, [unescape(word) for word in STRING.findall(argv)], None, parents.get(pid)])
                    last[pid] = programs[-1]
            elif result.isdigit() and "CLONE_THREAD" not in whole:
                parents[int(result)] = pid
                for program in programs:  # the child may have been faster than its parent's return
                    if program[0] == int(result) and program[3] is None:
                        program[3] = pid
        elif found := re.match(r"^(\d+) +\+\+\+ (?:exited with (\d+)|killed by (\w+))", line):
            pid = int(found[1])
            if pid in last:
                last[pid][2] = int(found[2]) if found[2] else "-" + found[3]
    return [tuple(program) for program in programs]


def told(path):
    """(tools by span id, processes as dicts, turns, names of findings)"""
    findings = []
    tools, processes, turns = {}, [], []
    for line in path.read_text().splitlines():
        for resource in json.loads(line).get("resourceLogs", []):
            for scope in resource["scopeLogs"]:
                findings += [record["eventName"] for record in scope["logRecords"] if record.get("eventName", "").startswith("onlooker.finding.")]
        for resource in json.loads(line).get("resourceSpans", []):
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    attributes = {entry["key"]: next(iter(entry["value"].values())) for entry in span.get("attributes", [])}
                    entry = dict(id=span["spanId"], parent=span.get("parentSpanId", ""), name=span["name"], attributes=attributes, trace=span["traceId"])
                    if attributes.get("gen_ai.operation.name") == "execute_tool" and "gen_ai.tool.call.id" in attributes:
                        tools[entry["id"]] = entry
                    elif attributes.get("gen_ai.operation.name") == "invoke_agent":
                        turns.append(entry)
                    elif "process.pid" in attributes and "process.executable.name" in attributes:
                        args = attributes.get("process.command_args", {}).get("values", [])
                        entry["argv"] = [next(iter(value.values())) for value in args]
                        entry["pid"] = int(attributes["process.pid"])
                        code = attributes.get("process.exit.code")
                        entry["exit"] = None if attributes.get("onlooker.process.replaced") else "-" + attributes["onlooker.process.exit.signal"] if "onlooker.process.exit.signal" in attributes else int(code) if code is not None else "?"
                        processes.append(entry)
    return tools, processes, turns, findings


def check(calls, out, alike=(), threads={}):
    """calls: [(call id, truth)], truth None for a sub-agent, False for what the agent does not run. alike: calls that are
    told apart by nothing. threads: what the sub-agent of a call asked for. Gives the number of programs and what is wrong."""
    tools, processes, turns, findings = told(out)
    spans = {entry["id"]: entry for entry in processes}
    by_call = {entry["attributes"].get("gen_ai.tool.call.id"): entry for entry in tools.values()}
    # Every command was asked for and has run.
    wrong, count = list(findings), 0

    def tool_of(entry):
        for _ in range(300):
            if entry is None:
                return None
            if entry["parent"] in tools:
                return tools[entry["parent"]]
            entry = spans.get(entry["parent"])

    used = set()
    for id, programs in calls:
        tool = by_call.get(id)
        if tool is None:
            wrong.append(f"{id}: no execute_tool span")
            continue
        if programs is None:
            # Of calls that are alike only the turn is known.
            above, missing = (tool["parent"], len(alike)) if id in alike else (tool["id"], 1)
            below = [turn["attributes"].get("onlooker.link") for turn in turns if turn["parent"] == above]
            if len(below) != missing or id in alike and set(below) != {"prompt"}:
                wrong.append(f"{id}: turns of sub-agents below it: {below}")
            made = {other for turn in turns if turn["parent"] == above for other, of in by_call.items() if of["parent"] == turn["id"]}
            if made != set(threads.get(id, made)):
                wrong.append(f"{id}: its sub-agent asked for {made}")
            continue
        if programs is False:
            if tool["attributes"].get("onlooker.tool.evidence") != "wire" or tool["attributes"].get("error.type") != "tool_error":
                wrong.append(f"{id}: ran, or has no error: {tool['attributes']}")
            continue
        # What a server runs that the call does not show is only a part of what the server does.
        if tool["attributes"].get("onlooker.tool.evidence") != "process" and tool["attributes"].get("onlooker.tool.match") != "sole":
            wrong.append(f"{id}: not tied to a process ({tool['attributes'].get('onlooker.tool.evidence')})")
        if not programs:
            wrong.append(f"{id}: strace recorded nothing")
        for pid, argv, exit, parent in programs:
            count += 1
            fitting = [entry for entry in processes if entry["pid"] == pid and entry["id"] not in used and entry["argv"][:50] == argv[:50]]
            if not fitting:
                near = [short(entry["argv"]) for entry in processes if entry["pid"] == pid]
                wrong.append(f"{id}: {pid} {short(argv)} is missing (of this pid: {near})")
                continue
            entry = fitting[0]
            used.add(entry["id"])
            if entry["exit"] != exit:
                wrong.append(f"{id}: {pid} {short(argv)} exit {entry['exit']}, was {exit}")
            owner = tool_of(entry)
            if owner is not tool:
                wrong.append(f"{id}: {pid} {short(argv)} hangs under {owner and owner['attributes'].get('gen_ai.tool.call.id')}")
            above = spans.get(entry["parent"])
            # A parent that only forked has no span of its own: the next one above that has.
            if parent is not None and above is not None and above["pid"] != parent and any(other["pid"] == parent for other in processes):
                wrong.append(f"{id}: {pid} {short(argv)} hangs under pid {above['pid']}, was started by {parent}")
    # The agent's own shells around the command, and strace: whatever is above a program that is accounted for.
    above, shells = set(), set()
    for id in used:
        while (entry := spans.get(id)) and id not in above:
            above.add(id)
            shells.add(entry["pid"])
            id = entry["parent"]
    around = {spans[id]["pid"] for id in above - used}
    for entry in processes:
        owner, parent = tool_of(entry), spans.get(entry["parent"])
        # What such a shell runs on its own, as a login shell does for its profile, is rightly there.
        if owner is not None and entry["id"] not in used and entry["pid"] not in shells and (parent is None or parent["pid"] not in around):
            wrong.append(f"pid {entry['pid']} {short(entry['argv'])} hangs under {owner['attributes'].get('gen_ai.tool.call.id')}, which did not start it")
    return count, wrong, len(turns)


def short(argv):
    return [word[:40] for word in argv[:5]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=pathlib.Path, required=True)
    parser.add_argument("--onlooker", default="onlooker")
    parser.add_argument("--agents", default="claude-code,codex")
    parser.add_argument("--bare", action="store_true", help="without onlooker, to see whether the agent itself works")
    parser.add_argument("--service", action="store_true", help="the agent starts by itself, while onlooker runs as a service")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    options.home, options.command = options.home.resolve(), ""
    stage, failed = agents.Stage(options.home), False
    for client in [*agents.CLIENTS, *clients.CLIENTS]:
        if client.name not in options.agents.split(","):
            continue
        for name, steps in SCENARIOS.items():
            if options.names and name not in options.names or client.name not in ONLY.get(name, client.name):
                continue
            folder = pathlib.Path(tempfile.mkdtemp(prefix="onlooker-deeds-"))
            if name.startswith("server") and client.name == "codex":
                steps = [[SEARCH], *steps]
            traces, of_thread = {}, {}
            def script(steps, thread=None):
                made = []
                for step in steps:
                    made.append([])
                    for command in step:
                        command, trace = wrap(command, folder, len(traces), client.name)
                        # Of equal ones in order: that is how they are asked for.
                        traces.setdefault((json.dumps(command), sum(key[0] == json.dumps(command) for key in traces)), trace)
                        of_thread[json.dumps(command)] = thread
                        made[-1].append(command)
                return made
            options.steps = {thread: script(of, thread) for thread, of in steps.items()} if isinstance(steps, dict) else script(steps)
            given = copy.copy(client)
            if name.startswith("server") and client.name == "codex":
                given.files = {file: text + CODEX_MCP for file, text in client.files.items()}
            elif name.startswith("server"):
                given.argv = [*client.argv, *MCP]
            if name == "denied":
                given.argv = [*client.argv, *DENY]
            ledger, _, code, logs = agents.run(stage, given, "e2e: tool", options)
            asked = [(id, json.dumps(command)) for call in ledger for id, command in zip(call.get("tools") or [], call.get("asked") or [])]
            ids = [id for id, _ in asked]
            if len(ids) != len(traces):
                print(f"| {client.name} | {name} | not run: {len(ids)} calls of {len(traces)}, exit {code}, logs {logs} |", flush=True)
                failed = True
                continue
            if options.bare:
                print(f"| {client.name} | {name} | {[trace and trace.exists() for trace in traces.values()]} |", flush=True)
                continue
            calls, times = [], collections.Counter()
            for id, command in asked:
                trace = traces[command, times[command]]
                times[command] += 1
                if trace is ...:
                    continue
                calls.append((id, truth(trace) if trace and trace.exists() else [] if trace else trace))
            alike = {id for id, command in asked if times[command] > 1}
            threads = {id: [other for other, of in asked if of_thread[of] == json.loads(command)["arguments"]["prompt"]]
                       for id, command in asked if isinstance(steps, dict) and '"prompt"' in command}
            count, wrong, turns = check(calls, logs / "out.jsonl", alike, threads)
            failed |= bool(wrong)
            print(f"| {client.name} | {name} | {len(ids)} | {count} | {len(wrong)} |", flush=True)
            for line, times in collections.Counter(wrong).most_common(12):
                print("   ", line, f"(logs {logs}, {folder})" if line == wrong[0] else "", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
