"""Agents for deeds.py beside those of tests/agents: how each is installed, told where its model is, and asked."""
import json, pathlib

import agents
from agents import Client, KEY

CONTINUE = """
name: e2e
version: 1.0.0
schema: v1
models:
  - name: gpt-4o
    provider: openai
    model: gpt-4o
    apiBase: {url}/v1
    apiKey: KEY
    roles: [chat]
    capabilities: [tool_use]
""".replace("KEY", KEY)

KILO = json.dumps({"model": "local/gpt-4o", "small_model": "local/gpt-4o", "autoupdate": False, "share": "disabled", "permission": {"bash": "allow"},
                   "provider": {"local": {"npm": "@ai-sdk/openai-compatible", "name": "local", "options": {"baseURL": "{url}/v1", "apiKey": KEY},
                                          "models": {"gpt-4o": {"name": "gpt-4o"}}}}})

VIBE = """
active_model = "local"
enable_update_checks = false
enable_telemetry = false
[[providers]]
name = "local"
api_base = "{url}/v1"
api_key_env_var = "OPENAI_API_KEY"
api_style = "openai"
backend = "generic"
[[models]]
name = "gpt-4o"
provider = "local"
alias = "local"
"""

CODEX_SDK = """
import { Codex } from "@openai/codex-sdk";
const codex = new Codex({ baseUrl: "{url}/v1", apiKey: process.env.CODEX_API_KEY });
const thread = codex.startThread({ model: "gpt-5.5", skipGitRepoCheck: true, sandboxMode: "danger-full-access", approvalPolicy: "never", workingDirectory: "{work}" });
console.log((await thread.run("{prompt}")).finalResponse);
"""

CLAUDE_SDK = """
import { query } from "@anthropic-ai/claude-agent-sdk";
const options = { cwd: "{work}", model: "claude-sonnet-5", permissionMode: "bypassPermissions", allowDangerouslySkipPermissions: true };
for await (const message of query({ prompt: "{prompt}", options })) console.log(message.type);
"""


def openai(**more):
    return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "{url}/v1", **more}


def named(name):
    return next(client for client in agents.CLIENTS if client.name == name)


PERSISTENT = str(pathlib.Path(__file__).resolve().parent / "persistent.py")
SDKS = ["@openai/codex-sdk", "@anthropic-ai/claude-agent-sdk"]
CLIENTS = [
    Client("continue", "", "", ["{npm}/cn", "-p", "--auto", "--config", "{own}/config.yaml", "{prompt}"], npm="@continuedev/cli",
           env=openai(CONTINUE_TELEMETRY_ENABLED="0"), files={"config.yaml": CONTINUE}),
    Client("kilocode", "", "", ["{npm}/../@kilocode/cli-linux-x64/bin/kilo", "run", "{prompt}"], npm="@kilocode/cli-linux-x64", env={"KILO_DISABLE_AUTOUPDATE": "1", "KILO_DISABLE_MODELS_FETCH": "1", "KILO_TELEMETRY_LEVEL": "off"}, seconds=300,
           files={".config/kilo/kilo.json": KILO}),
    Client("grok-cli", "", "", ["{npm}/grok", "-p", "{prompt}", "-k", KEY, "-u", "{url}/v1", "-m", "gpt-4o"], npm="@vibe-kit/grok-cli"),
    Client("codex sdk", "", "", ["node", "--input-type=module", "-e", CODEX_SDK], npm=SDKS, env={"CODEX_API_KEY": KEY, "CODEX_CA_CERTIFICATE": "{cert}"}, provider="ws.py"),
    Client("claude sdk", "", "", ["node", "--input-type=module", "-e", CLAUDE_SDK], npm=SDKS, env=named("claude-code").env),
    Client("mistral-vibe", "", "", ["{home}/venv-vibe/bin/vibe", "-p", "{prompt}", "--auto-approve", "--trust"], pip=["mistral-vibe"], python="3.12",
           env=openai(), files={".vibe/config.toml": VIBE}),
    Client("gptme", "", "", ["{home}/venv-gptme/bin/gptme", "-n", "-t", "shell", "--tool-format", "tool", "-m", "openai/gpt-4o", "--context", "files", "{prompt}"],
           pip=["gptme"], python="3.12", env=openai(OPENAI_API_BASE="{url}/v1")),
    *(Client(f"one shell by {how}", "", "", ["{home}/venv-sdk/bin/python", PERSISTENT, how, "{url}", "{prompt}"], env={"OPENAI_API_KEY": KEY}) for how in ("pipe", "pty")),
]
