// MCP with the TypeScript SDK, client and server. Usage: mcp_node.mjs stdio|sse|http [json]; `serve` before it is the
// server. The client starts the server, uses all it has, and prints each message as one line of JSON.
import { createRequire } from "node:module";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { fileURLToPath, pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NODE_HOME}/`);
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const types = await load("types.js");
const [first, ...rest] = process.argv.slice(2);
await (first === "serve" ? serve(...rest) : use(first, ...rest));

async function desk() {
  const { McpServer } = await load("server/mcp.js");
  const { z } = await import(pathToFileURL(require.resolve("zod")));
  const server = new McpServer({ name: "desk", version: "7" }, { capabilities: { logging: {} } });
  const text = (text) => ({ content: [{ type: "text", text }] });
  server.registerTool("add", { inputSchema: { a: z.number(), b: z.number() } }, async ({ a, b }) => text(`${a + b}`));
  server.registerTool("fail", {}, async () => { throw new Error("this tool always fails"); });
  server.registerTool("ask", {}, async (extra) => {
    const params = { messages: [{ role: "user", content: { type: "text", text: "?" } }], maxTokens: 5 };
    const answer = await extra.sendRequest({ method: "sampling/createMessage", params }, types.CreateMessageResultSchema);
    return text(answer.content.text);
  });
  server.registerTool("slow", {}, async (extra) => {
    const progressToken = extra._meta?.progressToken;
    if (progressToken !== undefined)
      await extra.sendNotification({ method: "notifications/progress", params: { progressToken, progress: 1, total: 2 } });
    await new Promise((done) => setTimeout(done, 200));
    return text("done");
  });
  server.registerPrompt("greet", { argsSchema: { name: z.string() } },
    ({ name }) => ({ messages: [{ role: "user", content: { type: "text", text: `Greet ${name}.` } }] }));
  server.registerResource("one", "note://one", {}, async (uri) => ({ contents: [{ uri: uri.href, text: "a note" }] }));
  return server;
}

async function serve(kind, option) {
  if (kind === "stdio") {
    const { StdioServerTransport } = await load("server/stdio.js");
    return (await desk()).connect(new StdioServerTransport());
  }
  const { SSEServerTransport } = await load("server/sse.js");
  const { StreamableHTTPServerTransport } = await load("server/streamableHttp.js");
  const sessions = new Map();
  const listener = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (kind === "sse") {
      if (request.method === "GET") {
        const transport = new SSEServerTransport("/messages", response);
        sessions.set(transport.sessionId, transport);
        return (await desk()).connect(transport);
      }
      const transport = sessions.get(url.searchParams.get("sessionId"));
      return transport ? transport.handlePostMessage(request, response) : response.writeHead(404).end();
    }
    let transport = sessions.get(request.headers["mcp-session-id"]);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID, enableJsonResponse: option === "json",
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await (await desk()).connect(transport);
    }
    return transport.handleRequest(request, response);
  });
  listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
}

async function use(kind, option) {
  const { Client } = await load("client/index.js");
  const client = new Client({ name: "visitor", version: "1" }, { capabilities: { sampling: {} } });
  client.setRequestHandler(types.CreateMessageRequestSchema,
    async () => ({ model: "none", role: "assistant", content: { type: "text", text: "blue" } }));
  const self = fileURLToPath(import.meta.url);
  let transport, child;
  if (kind === "stdio") {
    const { StdioClientTransport } = await load("client/stdio.js");
    transport = new StdioClientTransport({ command: process.execPath, args: [self, "serve", "stdio"], env: process.env });
  } else {
    child = spawn(process.execPath, [self, "serve", kind, option ?? ""], { stdio: ["ignore", "pipe", "inherit"] });
    const port = await new Promise((found) => child.stdout.once("data", (data) => found(Number(data))));
    const { SSEClientTransport } = await load("client/sse.js");
    const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");
    transport = kind === "sse" ? new SSEClientTransport(new URL(`http://127.0.0.1:${port}/sse`))
      : new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`));
  }
  const truth = [], byId = new Map();
  const record = (message, from) => {
    if (!message.method) {
      const asked = byId.get(`${from === "client" ? "server" : "client"} ${message.id}`);
      if (asked) asked.error = message.error ? `${message.error.code}` : message.result.isError ? "tool_error" : null;
      return;
    }
    const said = { method: message.method, id: message.id === undefined ? null : `${message.id}`, error: null, from };
    if (message.method === "tools/call") said.tool = message.params.name;
    if (said.id !== null) byId.set(`${from} ${said.id}`, said);
    truth.push(said);
  };
  const send = transport.send.bind(transport);
  transport.send = (message, options) => { [message].flat().forEach((each) => record(each, "client")); return send(message, options); };
  await client.connect(transport);
  const handle = transport.onmessage;
  transport.onmessage = (message, extra) => { record(message, "server"); handle(message, extra); };
  await client.listTools();
  await Promise.all(Array.from({ length: 25 }, (_, a) => client.callTool({ name: "add", arguments: { a, b: 1 } })));
  await client.callTool({ name: "fail" });
  await client.callTool({ name: "add", arguments: { a: "one" } }).catch(() => {});
  await client.getPrompt({ name: "greet", arguments: { name: "you" } });
  await client.getPrompt({ name: "nothing" }).catch(() => {});
  await client.listResources();
  await client.readResource({ uri: "note://one" });
  await client.callTool({ name: "slow" }, undefined, { onprogress: () => {} });
  if (option !== "json") await client.callTool({ name: "ask" });
  await client.ping();
  await new Promise((done) => setTimeout(done, 300));
  if (kind === "http") await transport.terminateSession();
  await client.close();
  child?.kill();
  truth.forEach((said) => console.log(JSON.stringify(said)));
}
