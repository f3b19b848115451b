"""Runs real agents and SDKs under `onlooker run` against the loopback provider, and compares the spans with its ledger.

usage: agents.py --home DIR [--onlooker PATH] [--bare] [--list] [NAME…]

Clients are installed into DIR (npm, pip) when they are missing. Each runs plain, as its users run it, with an invented
key, its own home folder, and nothing but the address of the provider set. Prints one row a client and, with --table, the
table of README.md. --bare: without onlooker, to see whether the client itself works.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
PROVIDER = HERE.parent / "provider"
KEY = "sk-e2e-invented-key-0123456789abcdef"
CHAT = "e2e: chunks=5"
TOOL = "e2e: tool"


class Client:
    def __init__(self, name, stack, transport, argv, npm=None, pip=None, env=None, files=None, provider="provider.py", apis=None, seconds=120, python=None, prepare=None):
        self.__dict__.update(locals())


def sdk(name, pip, code, stack="OpenSSL (libssl)", transport="HTTP/1.1", **more):
    return Client(name, stack, transport, ["{home}/venv-sdk/bin/python", "-c", code], pip=pip, **more)


OPENAI = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "{url}/v1"}
PROMPTS = [CHAT, TOOL]

CODEX_CONFIG = """
model = "gpt-5.5"
approval_policy = "never"
sandbox_mode = "danger-full-access"
{more}
"""

OPENCODE = json.dumps({"$schema": "https://opencode.ai/config.json", "model": "local/gpt-4o", "small_model": "local/gpt-4o", "autoupdate": False, "share": "disabled",
                       "permission": {"bash": "allow"},
                       "provider": {"local": {"npm": "@ai-sdk/openai-compatible", "name": "local", "options": {"baseURL": "{url}/v1", "apiKey": KEY},
                                              "models": {"gpt-4o": {"name": "gpt-4o"}}}}})
PI_MODELS = json.dumps({"providers": {"local": {"baseUrl": "{url}/v1", "api": "openai-completions", "apiKey": "OPENAI_API_KEY",
                                                "models": [{"id": "gpt-4o", "name": "gpt-4o", "reasoning": False, "input": ["text"], "contextWindow": 128000,
                                                            "maxTokens": 4096, "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}]}}})

CLIENTS = [
    Client("claude-code", "BoringSSL in Bun (stripped)", "HTTP/1.1, SSE",
           ["{npm}/claude", "-p", "{prompt}", "--dangerously-skip-permissions", "--model", "claude-sonnet-5"], npm="@anthropic-ai/claude-code",
           env={"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "IS_SANDBOX": "1"}),
    Client("opencode", "BoringSSL in Bun (stripped, no .eh_frame)", "HTTP/1.1, SSE", ["{npm}/opencode", "run", "{prompt}"], npm="opencode-ai",
           env={"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}, files={".config/opencode/opencode.json": OPENCODE}),
    Client("cline", "BoringSSL in Bun (stripped, no .eh_frame)", "HTTP/1.1, SSE",
           ["{npm}/cline", "-P", "openai", "-m", "gpt-4o", "{prompt}"], npm="cline", env={**OPENAI},
           prepare=["{npm}/cline", "auth", "-p", "openai", "-k", KEY, "-m", "gpt-4o", "-b", "{url}/v1"]),
    Client("codex", "rustls, aws-lc-rs (stripped, static)", "WebSocket", ["{npm}/codex", "exec", "--skip-git-repo-check", "{prompt}"], npm="@openai/codex", env={**OPENAI, "CODEX_API_KEY": KEY},
           files={".codex/config.toml": CODEX_CONFIG}, provider="ws.py"),
    Client("gemini-cli", "OpenSSL in Node (exported)", "HTTP/1.1, SSE", ["{npm}/gemini", "--yolo", "-p", "{prompt}", "-m", "gemini-2.5-flash"], npm="@google/gemini-cli",
           env={"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_CLI_TRUST_WORKSPACE": "true"},
           files={".gemini/settings.json": json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"disableAutoUpdate": True}, "privacy": {"usageStatisticsEnabled": False}})}),
    Client("qwen-code", "OpenSSL in Node (exported)", "HTTP/1.1, SSE", ["{npm}/qwen", "--yolo", "-p", "{prompt}"], npm="@qwen-code/qwen-code", env={**OPENAI, "OPENAI_MODEL": "gpt-4o"},
           files={".qwen/settings.json": json.dumps({"security": {"auth": {"selectedType": "openai"}}, "privacy": {"usageStatisticsEnabled": False}})}),
    Client("pi", "OpenSSL in Node (exported)", "HTTP/1.1, SSE", ["{npm}/pi", "-p", "--provider", "local", "--model", "gpt-4o", "{prompt}"], npm="@mariozechner/pi-coding-agent", env={**OPENAI},
           files={".pi/agent/models.json": PI_MODELS}),
    Client("copilot", "OpenSSL 3.5 in runtime.node (static, stripped)", "HTTP/1.1, SSE", ["{npm}/copilot", "-p", "{prompt}", "--allow-all-tools", "--model", "gpt-4o"], npm="@github/copilot",
           env={"COPILOT_PROVIDER_BASE_URL": "{url}/v1", "COPILOT_PROVIDER_TYPE": "openai", "COPILOT_PROVIDER_API_KEY": KEY, "COPILOT_MODEL": "gpt-4o", "COPILOT_OFFLINE": "true"}),
    Client("aider", "OpenSSL (libssl)", "HTTP/1.1, SSE", ["{home}/venv-aider/bin/aider", "--no-git", "--yes-always", "--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--model", "openai/gpt-4o", "--message", "{prompt}"],
           pip=["aider-chat"], python="3.12", env={**OPENAI, "OPENAI_API_BASE": "{url}/v1"}),
    Client("mini-swe-agent", "OpenSSL (libssl)", "HTTP/1.1", ["{home}/venv-mini/bin/mini", "-y", "--exit-immediately", "-m", "openai/gpt-4o", "-t", "{prompt}"], pip=["mini-swe-agent", "mcp"], python="3.11",
           env={**OPENAI, "OPENAI_API_BASE": "{url}/v1", "MSWEA_CONFIGURED": "true", "MSWEA_COST_TRACKING": "ignore_errors", "MSWEA_SILENT_STARTUP": "1"}),
]


def fill(text, values):
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    return text


class Stage:
    def __init__(self, home):
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.cert, self.key = home / "cert.pem", home / "key.pem"
        if not self.cert.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE", "-days", "9", "-keyout", self.key, "-out", self.cert],
                           check=True, stderr=subprocess.DEVNULL)

    def install(self, client):
        if client.npm:
            folder = self.home / "npm" / client.npm.split("/")[-1]
            if not (folder / "node_modules" / client.npm).exists():
                folder.mkdir(parents=True, exist_ok=True)
                subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", folder, client.npm], check=True)
            return folder / "node_modules/.bin"
        venv = pathlib.Path(fill(client.argv[0], {"home": str(self.home)})).parent.parent
        if client.pip and not venv.exists():
            python = shutil.which(f"python{client.python}") if client.python else None
            subprocess.run([python or sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "--quiet", *client.pip], check=True)
        return venv / "bin"

    def version(self, client, binaries):
        if client.npm:
            return json.loads((binaries.parent / client.npm / "package.json").read_text())["version"]
        for package in client.pip or []:
            shown = subprocess.run([binaries / "pip", "show", package.split("[")[0].split("=")[0]], capture_output=True, text=True).stdout
            for line in shown.splitlines():
                if line.startswith("Version: "):
                    return line.split(": ")[1]
        return "?"


def run(stage, client, prompt, options):
    """(ledger, spans, exit code)"""
    binaries = stage.install(client)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"onlooker-{client.name}-"))
    ledger, out, work, own = folder / "ledger", folder / "out.jsonl", folder / "work", folder / "home"
    ledger.touch(), work.mkdir(), own.mkdir()
    provider = subprocess.Popen([sys.executable, PROVIDER / client.provider, stage.cert, stage.key, ledger], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "E2E_COMMAND": options.command})
    port = provider.stdout.readline().strip()
    values = {"url": f"https://localhost:{port}", "port": port, "npm": str(binaries), "home": str(stage.home), "prompt": prompt, "cert": str(stage.cert), "more": ""}
    for name, text in (client.files or {}).items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(fill(text, values))
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TERM", "SHELL", "USER")}
    environment.update(HOME=str(own), SSL_CERT_FILE=str(stage.cert), REQUESTS_CA_BUNDLE=str(stage.cert), NODE_EXTRA_CA_CERTS=str(stage.cert), CI="1", NO_COLOR="1")
    environment.update({key: fill(value, values) for key, value in (client.env or {}).items()})
    argv = [fill(part, values) for part in client.argv]
    if client.prepare:
        subprocess.run([fill(part, values) for part in client.prepare], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
    watched = argv if options.bare else [options.onlooker, "run", "-o", out, "--", *argv]
    with open(folder / "log", "w") as log:
        child = subprocess.Popen(watched, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            code = child.wait(client.seconds)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
            code = "timeout"
    provider.stdin.close()
    provider.wait(10)
    truth = [json.loads(line) for line in ledger.read_text().splitlines()]
    return truth, spans(out), code, folder


def spans(path):
    """Model calls: (start, attributes), in the order of their beginnings."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        for resource in json.loads(line).get("resourceSpans", []):
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    attributes = {}
                    for entry in span.get("attributes", []):
                        kind, value = next(iter(entry["value"].items()))
                        if kind == "intValue":
                            value = int(value)
                        if kind == "arrayValue":
                            value = [next(iter(item.values())) for item in value.get("values", [])]
                        attributes[entry["key"]] = value
                    if attributes.get("gen_ai.operation.name") in ("chat", "generate_content", "text_completion", "embeddings"):
                        found.append((int(span["startTimeUnixNano"]), attributes))
    return [attributes for _, attributes in sorted(found, key=lambda pair: pair[0])]


def compare(truth, seen):
    """How many calls of the ledger have their span, and what is wrong with the others."""
    left, right, wrong = list(seen), 0, []
    for call in truth:
        wanted = {"gen_ai.request.model": call.get("model"), "gen_ai.response.id": call.get("id"), "gen_ai.response.model": call.get("response_model"),
                  "gen_ai.usage.input_tokens": call.get("input"), "gen_ai.usage.output_tokens": call.get("output"),
                  "gen_ai.usage.cache_read.input_tokens": call.get("cached"), "gen_ai.response.finish_reasons": call.get("finish") or None}
        if call.get("abandoned") or call.get("cut"):
            wanted = {key: value for key, value in wanted.items() if key == "gen_ai.request.model"}
        score = lambda span: sum(span.get(key) == value for key, value in wanted.items())
        best = max(left, key=score, default=None)
        if best is None:
            wrong.append(f"{call.get('api')} {call.get('id')}: no span")
            continue
        left.remove(best)
        differing = [f"{key} want {value} got {best.get(key)}" for key, value in wanted.items() if best.get(key) != value]
        if differing:
            wrong.append(f"{call.get('api')} {call.get('id')}: " + "; ".join(differing))
        else:
            right += 1
    wrong += [f"a span without a call: {span.get('gen_ai.response.id')} {span.get('gen_ai.request.model')}" for span in left]
    return right, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=pathlib.Path, required=True)
    parser.add_argument("--onlooker", default="onlooker")
    parser.add_argument("--command", default="echo one; ls / | wc -l")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    options.home = options.home.resolve()
    stage, failed = Stage(options.home), False
    for client in CLIENTS:
        if options.names and client.name not in options.names:
            continue
        if options.list:
            print(client.name)
            continue
        binaries = stage.install(client)
        made, seen, problems, codes, folders = 0, 0, [], [], []
        for prompt in PROMPTS:
            truth, calls, code, folder = run(stage, client, prompt, options)
            right, wrong = compare(truth, calls) if not options.bare else (0, [])
            made, seen, problems = made + len(truth), seen + right, problems + wrong
            codes.append(code), folders.append(str(folder))
        failed |= bool(problems) or made == 0
        print(f"| {client.name} | {stage.version(client, binaries)} | {client.stack} | {client.transport} | {made} | {seen} |", flush=True)
        for problem in problems:
            print("   ", problem)
        if made == 0 or problems or any(codes) or options.bare:
            print("    exit codes", codes, "logs", *folders, flush=True)
    return failed


sys.exit(main())
