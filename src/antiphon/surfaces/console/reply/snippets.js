// The same request elsewhere: curl, and the official SDKs for Python and TypeScript.

import { base } from "../base/api.js";

/** A program that sends this body. */
export function snippet(kind, body) {
  const { stream, diagnostics, ...sent } = body;
  return { curl, python, typescript }[kind](sent);
}

function curl(body) {
  const json = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return [
    `curl -N ${base}/v1/messages \\`,
    `  -H "x-api-key: \${ANTHROPIC_API_KEY:-any}" \\`,
    `  -H 'anthropic-version: 2023-06-01' \\`,
    `  -H 'content-type: application/json' \\`,
    `  -d '${json.replace(/^{/, '{\n  "stream": true,')}'`,
    "",
  ].join("\n");
}

function python(body) {
  const given = Object.entries(body).map(([name, value]) => `    ${name}=${literal(value, 1)},\n`);
  return `import os

from anthropic import Anthropic

client = Anthropic(base_url=${JSON.stringify(base)}, api_key=os.environ.get("ANTHROPIC_API_KEY", "any"))
with client.messages.stream(
${given.join("")}) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    print()
    print(stream.get_final_message().to_json())
`;
}

/** A value as Python writes it. JSON's strings are Python's, but for lone halves of characters. */
function literal(value, depth) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const pad = "    ".repeat(depth);
  const array = Array.isArray(value);
  const lines = array
    ? value.map((each) => `${pad}    ${literal(each, depth + 1)},\n`)
    : Object.entries(value).map(([name, each]) => `${pad}    ${JSON.stringify(name)}: ${literal(each, depth + 1)},\n`);
  const [open, close] = array ? "[]" : "{}";
  return lines.length ? `${open}\n${lines.join("")}${pad}${close}` : open + close;
}

function typescript(body) {
  const json = JSON.stringify(body, null, 2).replace(/\n/g, "\n").replace(/^(\s*)"([A-Za-z_]\w*)":/gm, "$1$2:");
  return `import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: ${JSON.stringify(base)},
  apiKey: process.env.ANTHROPIC_API_KEY ?? "any",
});
const stream = client.messages.stream(${json});
stream.on("text", (text) => process.stdout.write(text));
console.log("\\n" + JSON.stringify(await stream.finalMessage(), null, 2));
`;
}
