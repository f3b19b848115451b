"""A client of the Python SDK for MCP (mcp 1.x). Usage: mcp_client.py stdio|sse|streamable-http [stateless] [json].

Starts mcp_server.py, uses all it has, and prints each request and notification as one line of JSON: method, id, error."""
import contextlib, json, os, subprocess, sys, time
import anyio
import mcp.shared.session as shared
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CreateMessageResult, TextContent

kind, options = sys.argv[1], sys.argv[2:]
server = [sys.executable, os.path.join(os.path.dirname(__file__), "mcp_server.py"), kind, *options]
truth = []


def record(**said):
    truth.append(said)


class Recorded(ClientSession):
    """Writes down what it sends and is sent."""

    async def send_request(self, request, *args, **kwargs):
        number = self._request_id
        said = {"method": request.root.method, "id": str(number), "error": None, "from": "client"}
        params = getattr(request.root, "params", None)
        if said["method"] == "tools/call":
            said["tool"] = params.name
        truth.append(said)
        try:
            result = await super().send_request(request, *args, **kwargs)
        except shared.McpError as error:
            said["error"] = str(error.error.code)
            raise
        if getattr(result, "isError", False):
            said["error"] = "tool_error"
        return result

    async def send_notification(self, notification, *args, **kwargs):
        record(method=notification.root.method, id=None, error=None, **{"from": "client"})
        await super().send_notification(notification, *args, **kwargs)

    async def _received_notification(self, notification):
        record(method=notification.root.method, id=None, error=None, **{"from": "server"})
        await super()._received_notification(notification)

    async def _received_request(self, responder):
        record(method=responder.request.root.method, id=str(responder.request_id), error=None, **{"from": "server"})
        await super()._received_request(responder)


async def sample(_context, _params):
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="blue"), model="none")


@contextlib.asynccontextmanager
async def connect():
    if kind == "stdio":
        parameters = StdioServerParameters(command=server[0], args=server[1:])
        async with stdio_client(parameters) as (read, write):
            yield read, write
        return
    process = subprocess.Popen(server, stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        for _ in range(100):
            import socket
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        if kind == "sse":
            async with sse_client(f"http://127.0.0.1:{port}/sse") as (read, write):
                yield read, write
        else:
            async with streamablehttp_client(f"http://127.0.0.1:{port}/mcp") as (read, write, _):
                yield read, write
    finally:
        process.terminate()
        process.wait()


async def main():
    async with connect() as (read, write), Recorded(read, write, sampling_callback=sample) as session:
        await session.initialize()
        await session.list_tools()
        async with anyio.create_task_group() as group:
            for number in range(25):
                group.start_soon(session.call_tool, "add", {"a": number, "b": 1})
        await session.call_tool("fail", {})
        await session.call_tool("nothing", {})
        with contextlib.suppress(shared.McpError):
            await session.get_prompt("nothing", {})
        await session.get_prompt("greet", {"name": "you"})
        await session.list_resources()
        await session.read_resource("note://one")

        async def progress(*_):
            pass

        await session.call_tool("slow", {"seconds": 0.2}, progress_callback=progress)
        if not options:
            await session.call_tool("ask", {})
        await session.send_ping()


anyio.run(main)
for said in truth:
    print(json.dumps(said))
