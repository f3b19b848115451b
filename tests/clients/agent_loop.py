"""A small agent: asks a model, runs `sh -c` for it, gives the result back, twice. Prints the pids it started."""
import json, os, subprocess, sys
import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key="sk-canary-agent")
tools = [{"type": "function", "function": {"name": "shell", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}}]
messages = [{"role": "user", "content": sys.argv[1] if len(sys.argv) > 1 else "tool"}]
for _ in range(4):
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools).choices[0].message
    messages.append(answer.model_dump(exclude_none=True))
    if not answer.tool_calls:
        break
    for call in answer.tool_calls:
        done = subprocess.Popen(["sh", "-c", json.loads(call.function.arguments)["command"]], stdout=subprocess.PIPE, text=True)
        output, _ = done.communicate()
        print(json.dumps({"pid": done.pid, "exit": done.returncode, "call": call.id}), flush=True)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": output})
