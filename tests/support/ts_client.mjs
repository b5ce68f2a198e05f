// A client on the TypeScript SDK: lists, calls, is asked, hears of a change and reads. Prints one line of JSON.
//
// node ts_client.mjs PACKAGES http|sse|stdio URL UPSTREAM [COMMAND]
// PACKAGES is the directory whose node_modules has the SDK; COMMAND is the stdio server, which connects to URL.

import { createRequire } from "node:module";
import path from "node:path";

const [packages, transport, url, upstream, command] = process.argv.slice(2);
const require = createRequire(path.join(packages, "package.json"));
const sdk = (name) => require(`@modelcontextprotocol/sdk/${name}`);
const { Client } = sdk("client/index.js");
const types = sdk("types.js");
const named = (local) => `${upstream}__${local}`;

function opened() {
  if (transport === "sse") return new (sdk("client/sse.js").SSEClientTransport)(new URL(url));
  if (transport === "stdio") {
    return new (sdk("client/stdio.js").StdioClientTransport)({ command, args: ["connect", "--url", url] });
  }
  return new (sdk("client/streamableHttp.js").StreamableHTTPClientTransport)(new URL(url));
}

const capabilities = { sampling: {}, elicitation: { form: {} }, roots: {} };
const client = new Client({ name: "typescript", version: "1" }, { capabilities });
client.setRequestHandler(types.CreateMessageRequestSchema, async (request) => ({
  role: "assistant",
  model: "test-model",
  content: { type: "text", text: `re: ${request.params.messages[0].content.text}` },
}));
client.setRequestHandler(types.ElicitRequestSchema, async () => ({ action: "accept", content: { name: "Ada", age: 36 } }));
client.setRequestHandler(types.ListRootsRequestSchema, async () => ({ roots: [{ uri: "file:///home/someone" }] }));

async function allTools() {
  const names = [];
  let cursor;
  do {
    const page = await client.listTools(cursor ? { cursor } : {});
    names.push(...page.tools.map((tool) => tool.name));
    cursor = page.nextCursor;
  } while (cursor);
  return names;
}

async function text(local, args = {}, options = {}) {
  const result = await client.callTool({ name: named(local), arguments: args }, undefined, options);
  return result.content[0].text;
}

await client.connect(opened());
let told;
const changed = new Promise((resolve) => (told = resolve));
client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => told());

const report = { tools: await allTools(), progress: [] };
report.echo = await text("echo", { text: "héllo" });
await text("test_tool_with_progress", {}, { onprogress: (step) => report.progress.push(step.progress) });
report.sampling = await text("test_sampling", { prompt: "the way?" });
report.elicitation = await text("test_elicitation_sep1034_defaults");
report.roots = await text("test_list_roots");
report.resource = (await client.readResource({ uri: `test://only-${upstream}` })).contents[0].text;
report.prompt = (await client.getPrompt({ name: named("test_simple_prompt") })).messages[0].content.text;
const added = `added_${process.pid}_${transport}`;
await text("change_tools", { action: "add", name: added });
await changed;
while (!(await allTools()).includes(named(added))) await new Promise((resolve) => setTimeout(resolve, 50));
report.added = await text(added);
await text("change_tools", { action: "remove", name: added });
await client.close();
console.log(JSON.stringify(report));
