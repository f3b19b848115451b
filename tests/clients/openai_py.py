"""The openai SDK: every API, plain and streamed, one client (keep-alive)."""
import os, sys
import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key="sk-canary-openai", max_retries=2)
say = lambda text: [{"role": "user", "content": text}]
tools = [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}}]

client.chat.completions.create(model="gpt-4o", messages=say("plain"), temperature=0.5, max_tokens=50)
client.chat.completions.create(model="gpt-4o", messages=say("plain gzip"))
for _ in client.chat.completions.create(model="gpt-4o", messages=say("stream"), stream=True, stream_options={"include_usage": True}): pass
for _ in client.chat.completions.create(model="gpt-4o", messages=say("stream gzip delay=0.01"), stream=True, stream_options={"include_usage": True}): pass
client.chat.completions.create(model="gpt-4o", messages=say("tool"), tools=tools)
for _ in client.chat.completions.create(model="gpt-4o", messages=say("tool parallel"), tools=tools, stream=True, stream_options={"include_usage": True}): pass
# A request of 3 MiB, then a burst of 300 chunks, then one more call, all on one connection.
client.chat.completions.create(model="gpt-4o", messages=say("big " + "x" * (3 << 20)))
for _ in client.chat.completions.create(model="gpt-4o", messages=say("chunks=300"), stream=True, stream_options={"include_usage": True}): pass
client.chat.completions.create(model="gpt-4o", messages=say("after the burst"))
client.responses.create(model="gpt-5", input="plain")
for _ in client.responses.create(model="gpt-5", input="stream", stream=True): pass
for _ in client.responses.create(model="gpt-5", input="tool", stream=True): pass
client.embeddings.create(model="text-embedding-3-small", input="text", encoding_format="float")
try: client.with_options(max_retries=2).chat.completions.create(model="gpt-4o", messages=say("status=429"))
except openai.RateLimitError: pass
try: client.chat.completions.create(model="gpt-4o", messages=say("status=400"))
except openai.BadRequestError: pass
try: client.with_options(max_retries=1).chat.completions.create(model="gpt-4o", messages=say("status=500"))
except openai.InternalServerError: pass
try:
    for _ in client.chat.completions.create(model="gpt-4o", messages=say("cut"), stream=True, stream_options={"include_usage": True}): pass
except Exception: pass
client.chat.completions.create(model="gpt-4o", messages=say("after the cut"))
