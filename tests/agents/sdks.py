"""SDKs and HTTP stacks: a short program each, which makes a plain and a streamed call. `{url}` is the provider's address."""

KEY = "sk-e2e-invented-key-0123456789abcdef"
PYTHON = "{home}/venv-sdk/bin/python"

OPENAI = """
from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key=KEY)
say = [{"role": "user", "content": "chunks=7"}]
client.chat.completions.create(model="gpt-4o", messages=say)
for _ in client.chat.completions.create(model="gpt-4o", messages=say, stream=True, stream_options={"include_usage": True}): pass
client.responses.create(model="gpt-5.5", input="hi")
for _ in client.responses.create(model="gpt-5.5", input="hi", stream=True): pass
client.embeddings.create(model="text-embedding-3-small", input="hi", encoding_format="float")
"""

ANTHROPIC = """
import anthropic
client = anthropic.Anthropic(base_url="{url}", api_key=KEY)
say = [{"role": "user", "content": "chunks=7"}]
client.messages.create(model="claude-sonnet-5", max_tokens=64, messages=say)
with client.messages.stream(model="claude-sonnet-5", max_tokens=64, messages=say) as stream:
    for _ in stream.text_stream: pass
"""

GROQ = """
from groq import Groq
client = Groq(base_url="{url}", api_key=KEY)
say = [{"role": "user", "content": "chunks=7"}]
client.chat.completions.create(model="llama-3.3-70b-versatile", messages=say)
for _ in client.chat.completions.create(model="llama-3.3-70b-versatile", messages=say, stream=True): pass
"""

MISTRAL = """
try: from mistralai.client import Mistral
except ImportError: from mistralai import Mistral
client = Mistral(server_url="{url}", api_key=KEY)
say = [{"role": "user", "content": "chunks=7"}]
client.chat.complete(model="mistral-large-latest", messages=say)
for _ in client.chat.stream(model="mistral-large-latest", messages=say): pass
"""

COHERE = """
import cohere
client = cohere.ClientV2(base_url="{url}", api_key=KEY)
say = [{"role": "user", "content": "chunks=7"}]
client.chat(model="command-a-03-2025", messages=say)
for _ in client.chat_stream(model="command-a-03-2025", messages=say): pass
"""

GENAI = """
from google import genai
client = genai.Client(api_key=KEY, http_options={"base_url": "{url}"})
client.models.generate_content(model="gemini-2.5-flash", contents="hi")
for _ in client.models.generate_content_stream(model="gemini-2.5-flash", contents="chunks=7"): pass
"""

LANGCHAIN = """
from langchain_openai import ChatOpenAI
model = ChatOpenAI(base_url="{url}/v1", api_key=KEY, model="gpt-4o")
model.invoke("hi")
for _ in model.stream("chunks=7"): pass
"""

PYDANTIC = """
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
agent = Agent(OpenAIResponsesModel("gpt-5.5", provider=OpenAIProvider(base_url="{url}/v1", api_key=KEY)))
agent.run_sync("hi")
"""

LITELLM = """
import asyncio, litellm
say = [{"role": "user", "content": "chunks=7"}]
litellm.completion(model="openai/gpt-4o", api_base="{url}/v1", api_key=KEY, messages=say)
async def main():
    await litellm.acompletion(model="openai/gpt-4o", api_base="{url}/v1", api_key=KEY, messages=say)
    async for _ in await litellm.acompletion(model="anthropic/claude-sonnet-5", api_base="{url}", api_key=KEY, messages=say, stream=True): pass
asyncio.run(main())
"""

BOTO3 = """
import boto3
client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url="{url}", aws_access_key_id="AKIAINVENTED", aws_secret_access_key=KEY, verify="{cert}")
say = [{"role": "user", "content": [{"text": "chunks=7"}]}]
client.converse(modelId="anthropic.claude-sonnet-5-v1:0", messages=say)
for _ in client.converse_stream(modelId="anthropic.claude-sonnet-5-v1:0", messages=say)["stream"]: pass
"""

BODY = 'body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "chunks=7"}]}\nhead = {"authorization": "Bearer " + KEY}\n'
STREAMED = 'streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}\n'

REQUESTS = BODY + STREAMED + """
import requests
session = requests.Session()
session.post("{url}/v1/chat/completions", json=body, headers=head).json()
for _ in session.post("{url}/v1/chat/completions", json=streamed, headers=head, stream=True).iter_lines(): pass
"""

URLLIB = BODY + """
import json, urllib.request
urllib.request.urlopen(urllib.request.Request("{url}/v1/chat/completions", json.dumps(body).encode(), {**head, "content-type": "application/json"})).read()
"""

AIOHTTP = BODY + STREAMED + """
import aiohttp, asyncio, ssl
async def main():
    context = ssl.create_default_context(cafile="{cert}")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        for each in body, streamed:
            async with session.post("{url}/v1/chat/completions", json=each, headers=head) as answer: await answer.read()
asyncio.run(main())
"""

CURL_CFFI = BODY + STREAMED + """
from curl_cffi import requests
session = requests.Session(impersonate="chrome", verify="{cert}")
for each in body, streamed: session.post("{url}/v1/chat/completions", json=each, headers=head).content
"""

PYCURL = BODY + STREAMED + """
import json, pycurl
curl = pycurl.Curl()
for each in body, streamed:
    curl.setopt(pycurl.URL, "{url}/v1/chat/completions"); curl.setopt(pycurl.CAINFO, "{cert}")
    curl.setopt(pycurl.HTTPHEADER, ["content-type: application/json", "authorization: Bearer " + KEY])
    curl.setopt(pycurl.POSTFIELDS, json.dumps(each)); curl.setopt(pycurl.WRITEFUNCTION, lambda _: None)
    curl.perform()
"""

HTTPX2 = BODY + STREAMED + """
import httpx, ssl
client = httpx.Client(http2=True, verify=ssl.create_default_context(cafile="{cert}"))
for each in body, streamed:
    answer = client.post("{url}/v1/chat/completions", json=each, headers=head)
    assert answer.http_version == "HTTP/2", answer.http_version
"""

FETCH = """
const body = {model: "gpt-4o", messages: [{role: "user", content: "chunks=7"}]};
for (const each of [body, {...body, stream: true, stream_options: {include_usage: true}}]) {
  const answer = await fetch("{url}/v1/chat/completions", {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(each)});
  await answer.text();
}
"""

NODE_OPENAI = """
import OpenAI from "openai";
const client = new OpenAI({baseURL: "{url}/v1", apiKey: "sk-e2e-invented-key-0123456789abcdef"});
await client.chat.completions.create({model: "gpt-4o", messages: [{role: "user", content: "hi"}]});
for await (const _ of await client.responses.create({model: "gpt-5.5", input: "hi", stream: true}));
"""

NODE_ANTHROPIC = """
import Anthropic from "@anthropic-ai/sdk";
const client = new Anthropic({baseURL: "{url}", apiKey: "sk-e2e-invented-key-0123456789abcdef"});
const say = {model: "claude-sonnet-5", max_tokens: 64, messages: [{role: "user", content: "chunks=7"}]};
await client.messages.create(say);
for await (const _ of await client.messages.create({...say, stream: true}));
"""

NODE_GENAI = """
import {GoogleGenAI} from "@google/genai";
const client = new GoogleGenAI({apiKey: "sk-e2e-invented-key-0123456789abcdef", httpOptions: {baseUrl: "{url}"}});
await client.models.generateContent({model: "gemini-2.5-flash", contents: "hi"});
for await (const _ of await client.models.generateContentStream({model: "gemini-2.5-flash", contents: "chunks=7"}));
"""

UNDICI_H2 = """
import {Agent, setGlobalDispatcher, fetch} from "undici";
setGlobalDispatcher(new Agent({allowH2: true}));
""" + FETCH

OLLAMA = """
import json, urllib.request
for stream in False, True:
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "chunks=7"}], "stream": stream}
    urllib.request.urlopen(urllib.request.Request("{url}/api/chat", json.dumps(body).encode(), {"content-type": "application/json"})).read()
"""

# name, pip packages, program, stack, transport, what the client needs of the provider
PYTHON_SDKS = [
    ("py openai", ["openai"], OPENAI, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py anthropic", ["anthropic"], ANTHROPIC, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py groq", ["groq"], GROQ, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py mistralai", ["mistralai"], MISTRAL, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py cohere", ["cohere"], COHERE, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py google-genai", ["google-genai"], GENAI, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py langchain-openai", ["langchain-openai"], LANGCHAIN, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py pydantic-ai", ["pydantic-ai"], PYDANTIC, "OpenSSL (libssl)", "HTTP/1.1", {}),
    ("py litellm", ["litellm==1.83.0"], LITELLM, "OpenSSL (libssl), also by memory BIO", "HTTP/1.1, SSE", {}),
    ("py boto3 bedrock", ["boto3"], BOTO3, "OpenSSL (libssl)", "HTTP/1.1, Amazon event stream", {}),
    ("py requests", ["requests"], REQUESTS, "OpenSSL (libssl)", "HTTP/1.1, SSE", {}),
    ("py urllib", [], URLLIB, "OpenSSL (libssl)", "HTTP/1.1", {}),
    ("py aiohttp", ["aiohttp"], AIOHTTP, "OpenSSL (libssl), memory BIO", "HTTP/1.1, SSE", {}),
    ("py curl_cffi", ["curl_cffi"], CURL_CFFI, "BoringSSL (local symbols)", "HTTP/2", {"http2": True}),
    ("py pycurl", ["pycurl"], PYCURL, "OpenSSL (bundled)", "HTTP/2", {"http2": True}),
    ("py httpx http2", ["httpx[http2]"], HTTPX2, "OpenSSL (libssl)", "HTTP/2", {"http2": True}),
    ("py urllib to Ollama", [], OLLAMA, "none", "plain HTTP/1.1, JSON lines", {"plain": True}),
]

# name, how to run, program, stack, transport, needs
SCRIPTS = [
    ("node fetch", ["node", "--input-type=module", "-e"], FETCH, "OpenSSL in Node (exported)", "HTTP/1.1, SSE", {}),
    ("node openai", ["node", "--input-type=module", "-e"], NODE_OPENAI, "OpenSSL in Node (exported)", "HTTP/1.1, SSE", {}),
    ("node anthropic", ["node", "--input-type=module", "-e"], NODE_ANTHROPIC, "OpenSSL in Node (exported)", "HTTP/1.1, SSE", {}),
    ("node google-genai", ["node", "--input-type=module", "-e"], NODE_GENAI, "OpenSSL in Node (exported)", "HTTP/1.1, SSE", {}),
    ("node undici allowH2", ["node", "--input-type=module", "-e"], UNDICI_H2, "OpenSSL in Node (exported)", "HTTP/2", {"http2": True}),
    ("node fetch, plain", ["node", "--input-type=module", "-e"], FETCH, "none", "plain HTTP/1.1, SSE", {"plain": True}),
    ("bun fetch", ["{npm}/bun", "-e"], FETCH, "BoringSSL in Bun (stripped)", "HTTP/1.1, SSE", {}),
    ("deno fetch", ["{npm}/deno", "eval", "--cert", "{cert}"], FETCH, "rustls, aws-lc-rs (stripped, -Oz)", "HTTP/2", {"http2": True}),
]
