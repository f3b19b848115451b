"""Runs real agents and SDKs under `onlooker run` against the loopback provider, and compares the spans with its ledger.

usage: agents.py --home DIR [--onlooker PATH] [--bare] [--list] [NAME…]

Clients are installed into DIR (npm, pip) when they are missing. Each runs plain, as its users run it, with an invented
key, its own home folder, and nothing but the address of the provider set. Prints one row a client and, with --table, the
table of README.md. --bare: without onlooker, to see whether the client itself works.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, tempfile, time

import sdks, service

HERE = pathlib.Path(__file__).resolve().parent
PROVIDER = HERE.parent / "provider"
KEY = "sk-e2e-invented-key-0123456789abcdef"
CHAT = "e2e: chunks=5"
TOOL = "e2e: tool"


class Client:
    def __init__(self, name, stack, transport, argv, npm=None, pip=None, env=None, files=None, provider="provider.py", apis=None, seconds=120, python=None, prepare=None, prompts=None, needs=None):
        self.__dict__.update(locals())


OPENAI = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "{url}/v1"}
PROMPTS = [CHAT, TOOL]

CODEX_CONFIG = """
model = "gpt-5.5"
approval_policy = "never"
sandbox_mode = "danger-full-access"
openai_base_url = "{url}/v1"
"""

# Its users' own provider: HTTP/2 and server-sent events.
CODEX_HTTP2 = """
model = "gpt-5.5"
model_provider = "own"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.own]
name = "own"
base_url = "{url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
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
    Client("codex", "rustls, aws-lc-rs (stripped, static)", "WebSocket", ["{npm}/codex", "exec", "--skip-git-repo-check", "{prompt}"], npm="@openai/codex", env={"CODEX_API_KEY": KEY, "CODEX_CA_CERTIFICATE": "{cert}"},
           files={".codex/config.toml": CODEX_CONFIG}, provider="ws.py"),
    Client("codex, own provider", "rustls, aws-lc-rs (stripped, static)", "HTTP/2, SSE", ["{npm}/codex", "exec", "--skip-git-repo-check", "{prompt}"], npm="@openai/codex",
           env={**OPENAI, "CODEX_CA_CERTIFICATE": "{cert}"}, files={".codex/config.toml": CODEX_HTTP2}, needs={"http2": True}),
    Client("gemini-cli", "OpenSSL in Node (exported)", "HTTP/1.1, SSE", ["{npm}/gemini", "--yolo", "-p", "{prompt}", "-m", "gemini-2.5-flash"], npm="@google/gemini-cli",
           env={"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_CLI_TRUST_WORKSPACE": "true"},
           files={".gemini/settings.json": json.dumps({"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"disableAutoUpdate": True}, "privacy": {"usageStatisticsEnabled": False}})}),
    Client("qwen-code", "OpenSSL in Node (exported)", "HTTP/1.1, SSE", ["{npm}/qwen", "--yolo", "-p", "{prompt}"], npm="@qwen-code/qwen-code", env={**OPENAI, "OPENAI_MODEL": "gpt-4o"},
           files={".qwen/settings.json": json.dumps({"security": {"auth": {"selectedType": "openai"}}, "privacy": {"usageStatisticsEnabled": False}})}),
    Client("pi", "OpenSSL in Node (exported)", "HTTP/1.1, SSE", ["{npm}/pi", "-p", "--provider", "local", "--model", "gpt-4o", "{prompt}"], npm="@mariozechner/pi-coding-agent", env={**OPENAI},
           files={".pi/agent/models.json": PI_MODELS}),
    Client("copilot", "OpenSSL 3.5 in runtime.node (static, stripped)", "HTTP/1.1, SSE", ["{npm}/copilot", "-p", "{prompt}", "--allow-all", "--model", "gpt-4o"], npm="@github/copilot",
           env={"COPILOT_PROVIDER_BASE_URL": "{url}/v1", "COPILOT_PROVIDER_TYPE": "openai", "COPILOT_PROVIDER_API_KEY": KEY, "COPILOT_MODEL": "gpt-4o", "COPILOT_OFFLINE": "true"}),
    Client("aider", "OpenSSL (libssl)", "HTTP/1.1, SSE", ["{home}/venv-aider/bin/aider", "--no-git", "--yes-always", "--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--model", "openai/gpt-4o", "--message", "{prompt}"],
           pip=["aider-chat"], python="3.12", env={**OPENAI, "OPENAI_API_BASE": "{url}/v1"}),
    Client("mini-swe-agent", "OpenSSL (libssl)", "HTTP/1.1", ["{home}/venv-mini/bin/mini", "-y", "--exit-immediately", "-m", "openai/gpt-4o", "-t", "{prompt}"], pip=["mini-swe-agent", "mcp"], python="3.11",
           env={**OPENAI, "OPENAI_API_BASE": "{url}/v1", "MSWEA_CONFIGURED": "true", "MSWEA_COST_TRACKING": "ignore_errors", "MSWEA_SILENT_STARTUP": "1"}),
]


for name, pip, code, stack, transport, needs in sdks.PYTHON_SDKS:
    CLIENTS.append(Client(name, stack, transport, ["{home}/venv-sdk/bin/python", "-c", f"KEY = {KEY!r}\n{code}"], pip=pip, python="3.11", prompts=[""], needs=needs))
for name, command, code, stack, transport, needs in sdks.SCRIPTS:
    CLIENTS.append(Client(name, stack, transport, [*command, code], npm=["openai", "@anthropic-ai/sdk", "@google/genai", "undici", "bun", "deno"], prompts=[""], needs=needs))


def fill(text, values):
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    return text


class Stage:
    def __init__(self, home):
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        # An authority and a certificate of its own: rustls takes no authority for a server.
        self.authority, self.cert, self.key = home / "authority.pem", home / "server.pem", home / "server.key"
        if self.cert.exists() and time.time() - self.cert.stat().st_mtime < 5 * 86400:
            return
        made = lambda *arguments: subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
        made("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=e2e authority", "-addext", "basicConstraints=critical,CA:TRUE",
             "-days", 9, "-keyout", home / "authority.key", "-out", self.authority)
        made("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", self.key, "-out", home / "server.csr")
        extensions = home / "server.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        made("x509", "-req", "-in", home / "server.csr", "-CA", self.authority, "-CAkey", home / "authority.key", "-CAcreateserial", "-days", 9,
             "-extfile", extensions, "-out", self.cert)

    def install(self, client):
        if client.npm:
            packages = [client.npm] if isinstance(client.npm, str) else client.npm
            folder = self.home / "npm" / (client.npm.lstrip("@").removesuffix("/cli").split("/")[-1] if packages == [client.npm] else "sdk")
            if not all((folder / "node_modules" / package).exists() for package in packages):
                folder.mkdir(parents=True, exist_ok=True)
                subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", folder, *packages], check=True)
            binaries = folder / "node_modules/.bin"
            binaries.mkdir(exist_ok=True)  # a package of one system's program alone has none
            return binaries
        venv = pathlib.Path(fill(client.argv[0], {"home": str(self.home)})).parent.parent
        if client.pip and not venv.exists():
            python = shutil.which(f"python{client.python}") if client.python else None
            subprocess.run([python or sys.executable, "-m", "venv", venv], check=True)
            # SDKs share an environment.
            packages = client.pip if client.prompts is None else sorted({package for name, pip, *_ in sdks.PYTHON_SDKS for package in pip})
            subprocess.run([venv / "bin/pip", "install", "--quiet", *packages], check=True)
        return venv / "bin"

    def version(self, client, binaries):
        if isinstance(client.npm, list):
            package = {"bun": "bun", "deno": "deno", "openai": "openai", "anthropic": "@anthropic-ai/sdk", "google-genai": "@google/genai", "undici": "undici"}
            package = next((package[word] for word in client.name.split() if word in package), None)
            if package is None:
                return subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip("v\n")
            return json.loads((binaries.parent / package / "package.json").read_text())["version"]
        if client.npm:
            return json.loads((binaries.parent / client.npm / "package.json").read_text())["version"]
        for package in client.pip or []:
            shown = subprocess.run([binaries / "pip", "show", package.split("[")[0].split("=")[0]], capture_output=True, text=True).stdout
            for line in shown.splitlines():
                if line.startswith("Version: "):
                    return line.split(": ")[1]
        return subprocess.run([binaries / "python", "--version"], capture_output=True, text=True).stdout.split()[-1]


def run(stage, client, prompt, options):
    """(ledger, spans, exit code)"""
    binaries = stage.install(client)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"onlooker-{client.name}-"))
    ledger, out, work, own = folder / "ledger", folder / "out.jsonl", folder / "work", folder / "home"
    ledger.touch(), work.mkdir(), own.mkdir()
    needs = client.needs or {}
    front = ["front.py", "h2"] if needs.get("http2") else ["front.py", "plain"] if needs.get("plain") else [client.provider]
    # The front needs a package that the SDKs' environment has.
    python = stage.home / "venv-sdk/bin/python" if needs.get("http2") or client.provider != "provider.py" else sys.executable
    provider = subprocess.Popen([python, PROVIDER / front[0], *front[1:], stage.cert, stage.key, ledger], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                env={**os.environ, "E2E_COMMAND": options.command, **({"E2E_STEPS": json.dumps(options.steps)} if getattr(options, "steps", None) else {})})
    port = provider.stdout.readline().strip()
    values = {"url": f"{'http' if needs.get('plain') else 'https'}://localhost:{port}", "port": port, "npm": str(binaries), "home": str(stage.home), "prompt": prompt, "cert": str(stage.authority),
              "work": str(work), "own": str(own)}
    for name, text in (client.files or {}).items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(fill(text, values))
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TERM", "SHELL", "USER")}
    environment.update(HOME=str(own), SSL_CERT_FILE=str(stage.authority), REQUESTS_CA_BUNDLE=str(stage.authority), NODE_EXTRA_CA_CERTS=str(stage.authority), CI="1", NO_COLOR="1")
    environment.update({key: fill(value, values) for key, value in (client.env or {}).items()})
    argv = [fill(part, values) for part in client.argv]
    if client.prepare:
        subprocess.run([fill(part, values) for part in client.prepare], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
    watcher = service.Service(options.onlooker, folder, out) if getattr(options, "service", False) else None
    if watcher:
        # For long with nobody to watch.
        watcher.says(service.LET_GO)
    watched = argv if options.bare or watcher else [options.onlooker, "run", "-o", out, "--", *argv]
    with open(folder / "log", "w") as log:
        child = subprocess.Popen(watched, cwd=binaries.parent.parent if isinstance(client.npm, list) else work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            code = child.wait(client.seconds)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
            code = "timeout"
    if watcher:
        # A service learns of the end when it comes to its turn.
        time.sleep(2)
        watcher.stop()
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
    parser.add_argument("--service", action="store_true", help="the agent starts by itself, while onlooker runs as a service")
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
        for prompt in client.prompts or PROMPTS:
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


if __name__ == "__main__":
    sys.exit(main())
