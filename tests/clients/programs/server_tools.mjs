// The official TypeScript SDK and the tools that run on the server: whole replies, streams, the runner, the connector to
// MCP servers, and the SDK's own helper for memory.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createServer, connect } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import { betaMemoryTool } from '@anthropic-ai/sdk/helpers/beta/memory'
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod'
import { z } from 'zod'
import { check, run, url } from './checks.mjs'

const client = new Anthropic({ baseURL: url, apiKey: 'dummy', maxRetries: 0 })
const search = { type: 'web_search_20250305', name: 'web_search' }
const fetching = { type: 'web_fetch_20250910', name: 'web_fetch' }
const weather = betaZodTool({
  name: 'get_weather',
  description: 'Get the weather',
  inputSchema: z.object({ city: z.string() }),
  run: ({ city }) => `21 degrees in ${city}`,
})
const ask = (text, tools, more = {}) => ({
  model: 'local-model', max_tokens: 500, messages: [{ role: 'user', content: text }], tools, ...more,
})
const kinds = (message) => message.content.map((block) => block.type)
// The blocks, without the ids, which differ from request to request.
const alike = (key, value) => (['id', 'tool_use_id', 'file_id', 'retrieved_at'].includes(key) ? '' : value)
const plain = (message) => JSON.parse(JSON.stringify(message.content, alike))

// The reply, told whole and accumulated from a stream alike.
async function replied(asked) {
  const whole = await client.beta.messages.create(asked)
  const streamed = await client.beta.messages.stream(asked).finalMessage()
  // What the stream's helper adds to texts is not the server's.
  const told = plain(streamed).map(({ parsed_output, ...block }) => block)
  assert.deepEqual(told.map((block) => block.type), kinds(whole))
  assert.deepEqual(told.map((block) => block.content), plain(whole).map((block) => block.content))
  return streamed
}

check('', 'web search and fetch', async () => {
  const asked = ask('Look up bees with both tools', [search, fetching])
  const message = await replied(asked)
  assert.deepEqual(kinds(message), [
    'text', 'server_tool_use', 'web_search_tool_result', 'text', 'server_tool_use', 'web_fetch_tool_result', 'text',
  ])
  assert.equal(message.content[2].content[0].title, 'On bees')
  assert.match(message.content[5].content.content.source.data, /fifty thousand/)
  assert.deepEqual(message.usage.server_tool_use, { web_search_requests: 1, web_fetch_requests: 1 })
  const turn = { role: 'assistant', content: message.content }
  const messages = [...asked.messages, turn, { role: 'user', content: 'Sure?' }]
  const { usage } = await client.beta.messages.create({ ...asked, messages })
  assert.ok(usage.cache_read_input_tokens > 0)
})

check('', 'code execution', async () => {
  const message = await replied(ask('Compute six times seven', [{ type: 'code_execution_20250825', name: 'code_execution' }]))
  const results = message.content.filter((block) => block.type.endsWith('_tool_result'))
  assert.equal(results.length, 3)
  assert.ok(results.every(({ content }) => content.error_code === 'unavailable' || content.type.endsWith('_result')))
})

check('', 'tool search in a runner', async () => {
  const found = { type: 'tool_search_tool_regex_20251119', name: 'tool_search_tool_regex' }
  const tools = [found, { ...weather, defer_loading: true }]
  const replies = []
  for await (const message of client.beta.messages.toolRunner(ask('Find the weather tool', tools))) {
    replies.push(kinds(message))
  }
  assert.deepEqual(replies, [['server_tool_use', 'tool_search_tool_result', 'tool_use'], ['thinking', 'text']])
})

check('', 'search in a streaming runner', async () => {
  const asked = ask('Search, then ask for the weather', [search, weather], { stream: true })
  const replies = []
  for await (const stream of client.beta.messages.toolRunner(asked)) replies.push(kinds(await stream.finalMessage()))
  assert.deepEqual(replies, [['server_tool_use', 'web_search_tool_result', 'tool_use'], ['thinking', 'text']])
})

check('', 'memory', async () => {
  const kept = new Map()
  const memory = betaMemoryTool({
    view: ({ path }) => kept.get(path) ?? 'nothing',
    create: ({ path, file_text }) => (kept.set(path, file_text), 'created'),
    str_replace: () => '', insert: () => '', delete: () => '', rename: () => '',
  })
  const last = await client.beta.messages.toolRunner(ask('Remember the word', [memory]))
  assert.equal(last.content.at(-1).text, 'I shall remember.')
  assert.equal(kept.get('/memories/word.txt'), 'quince\n')
})

check('', 'MCP connector', async () => {
  const port = await freePort()
  const server = spawn('mcp-server-everything', ['streamableHttp'], { env: { ...process.env, PORT: port }, stdio: 'ignore' })
  try {
    await listening(port)
    const message = await replied(ask('Add with a server', [{ type: 'mcp_toolset', mcp_server_name: 'everything' }], {
      mcp_servers: [{ type: 'url', name: 'everything', url: `http://127.0.0.1:${port}/mcp` }],
      betas: ['mcp-client-2025-11-20'],
    }))
    assert.deepEqual(kinds(message), ['mcp_tool_use', 'mcp_tool_result', 'text'])
    assert.match(message.content[1].content[0].text, /5/)
    assert.equal(message.content[1].is_error, false)
  } finally {
    server.kill()
  }
})

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

async function listening(port) {
  for (let tries = 0; tries < 600; tries += 1) {
    const open = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true))).on('error', () => resolve(false))
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('the MCP server did not come up')
}

await run()
