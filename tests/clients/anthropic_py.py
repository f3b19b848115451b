"""The anthropic SDK: plain, streamed, tools, thinking."""
import os
import anthropic

client = anthropic.Anthropic(base_url=os.environ["BASE_URL"], api_key="sk-ant-canary", max_retries=1)
tools = [{"name": "bash", "description": "runs a command", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}]
ask = lambda text, **more: dict(model="claude-sonnet-4-5", max_tokens=100, messages=[{"role": "user", "content": text}], **more)

client.messages.create(**ask("plain"))
client.messages.create(**ask("plain gzip"))
with client.messages.stream(**ask("stream")) as stream: stream.until_done()
with client.messages.stream(**ask("thinking tool", tools=tools)) as stream: stream.until_done()
client.messages.create(**ask("tool", tools=tools))
try: client.messages.create(**ask("status=429"))
except anthropic.RateLimitError: pass
client.messages.create(**ask("after the failure"))
try: client.messages.create(**ask("status=529"))
except anthropic.InternalServerError: pass
# A request of 3 MiB, then a burst of 300 chunks, then one more call, all on one connection.
client.messages.create(**ask("big " + "x" * (3 << 20)))
with client.messages.stream(**ask("chunks=300")) as stream: stream.until_done()
with client.messages.stream(**ask("gzip delay=0.01")) as stream: stream.until_done()
client.messages.create(**ask("after the burst"))
