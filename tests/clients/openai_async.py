"""The openai SDK on asyncio (TLS over memory buffers): many calls at a time, large ones among them."""
import asyncio, os
import openai


async def main():
    client = openai.AsyncOpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key="sk-canary-async")
    say = lambda text: dict(model="gpt-4o", messages=[{"role": "user", "content": text}])

    async def stream(text):
        async for _ in await client.chat.completions.create(**say(text), stream=True, stream_options={"include_usage": True}): pass

    await asyncio.gather(*(client.chat.completions.create(**say(f"{at} " + "x" * (1 << 20))) for at in range(8)))
    await asyncio.gather(*(stream("chunks=300") for _ in range(8)), client.chat.completions.create(**say("tool")))
    # One that is given up: the connection is closed in the midst of the answer.
    try:
        await asyncio.wait_for(stream("abandoned chunks=50 delay=0.1"), 1)
    except asyncio.TimeoutError:
        pass
    await client.chat.completions.create(**say("after the timeout"))
    await client.close()

asyncio.run(main())
