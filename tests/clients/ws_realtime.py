"""OpenAI Realtime by the Python SDK: text, and a tool. Needs `openai[realtime]`. (BASE_URL, SSL_CERT_FILE)"""
import json, os, subprocess

from openai import OpenAI

client = OpenAI(api_key="sk-canary-secret", base_url=os.environ["BASE_URL"] + "/v1")


def answer(connection, item):
    connection.conversation.item.create(item=item)
    connection.response.create(response={"output_modalities": ["text"]})
    for event in connection:
        if event.type == "response.done":
            return event.response.output[0]
        if event.type == "error":
            return None


def user(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


with client.realtime.connect(model="gpt-realtime") as connection:
    connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
    answer(connection, user("e2e: chunks=4"))
    call = answer(connection, user("tool"))
    output = subprocess.run(json.loads(call.arguments)["command"], shell=True, capture_output=True, text=True).stdout
    answer(connection, {"type": "function_call_output", "call_id": call.call_id, "output": output})
    answer(connection, user("e2e: status=400"))
