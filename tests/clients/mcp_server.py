"""An MCP server of the Python SDK (mcp 1.x): tools, a prompt, resources, requests to its client.

Usage: mcp_server.py stdio|sse|streamable-http [stateless] [json]. Over HTTP its port is its first line."""
import sys, socket
from mcp.server.fastmcp import Context, FastMCP
from mcp.types import SamplingMessage, TextContent

kind, options = sys.argv[1], sys.argv[2:]
port = 0
if kind != "stdio":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
server = FastMCP("desk", host="127.0.0.1", port=port, log_level="ERROR",
                 stateless_http="stateless" in options, json_response="json" in options)


@server.tool()
async def add(a: int, b: int) -> int:
    return a + b


@server.tool()
async def slow(seconds: float, ctx: Context) -> str:
    import anyio
    await ctx.report_progress(0.5, 1.0)
    await anyio.sleep(seconds)
    await ctx.report_progress(1.0, 1.0)
    return "done"


@server.tool()
async def fail() -> str:
    raise ValueError("this tool always fails")


@server.tool()
async def ask(ctx: Context) -> str:
    message = SamplingMessage(role="user", content=TextContent(type="text", text="which colour?"))
    answer = await ctx.session.create_message(messages=[message], max_tokens=10, related_request_id=ctx.request_id)
    return answer.content.text


@server.prompt()
def greet(name: str) -> str:
    return f"Greet {name}."


@server.resource("note://one")
def note() -> str:
    return "a note"


if port:
    print(port, flush=True)
server.run(transport=kind)
