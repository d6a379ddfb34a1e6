// The official TypeScript SDK: tool runner, parse helpers, streams, errors, cancellation.
import assert from 'node:assert/strict'
import Anthropic from '@anthropic-ai/sdk'
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod'
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod'
import { z } from 'zod'
import { check, kind, rejected, requests, run, steady, url } from './checks.mjs'

const client = new Anthropic({ baseURL: url, apiKey: 'dummy', maxRetries: 0 })
const model = 'local-model'
const ask = (text, more = {}) => ({
  model, max_tokens: 64, messages: [{ role: 'user', content: text }], ...steady, ...more,
})
const City = z.object({ name: z.string().max(40), population: z.number().int().min(0).max(99999999) })
// The SDK leaves bounds out of what it sends, so that what the real model is asked for needs none.
const Size = z.object({ size: z.enum(['small', 'large']), capital: z.boolean() })
const Wanted = kind === 'real' ? Size : City
const weather = betaZodTool({
  name: 'get_weather',
  description: 'Get the weather',
  inputSchema: z.object({ city: z.string() }),
  run: ({ city }) => `21 degrees in ${city}`,
})

// Two requests, of which the second goes on with the first one's thread.
async function checkRunner(since, stream) {
  const entries = await requests(since)
  assert.deepEqual(entries.map((entry) => entry.status), [200, 200])
  assert.ok(entries.every((entry) => Boolean(entry.body.stream) === stream))
  const [first, last] = entries.map((entry) => entry.body)
  assert.deepEqual(first.thread, { type: 'create' })
  assert.equal(last.thread.type, 'continue')
  assert.ok(entries[0].reply.includes(last.thread.previous_message_id))
  assert.deepEqual(last.messages.map((turn) => turn.role), ['user'])
}

check('scripted', 'toolRunner', async () => {
  const since = (await requests()).length
  const last = await client.beta.messages.toolRunner(ask('What is the weather in Zürich?', { tools: [weather] }))
  assert.equal(last.content.at(-1).text, 'It is 21 degrees there.')
  await checkRunner(since, false)
})

check('scripted', 'toolRunner streaming', async () => {
  const since = (await requests()).length
  const asked = ask('What is the weather in Zürich?', { tools: [weather], stream: true })
  let last
  for await (const stream of client.beta.messages.toolRunner(asked)) {
    const kinds = []
    for await (const event of stream) kinds.push(event.type)
    assert.equal(kinds.at(-1), 'message_stop')
    last = await stream.finalMessage()
  }
  assert.equal(last.content.at(-1).text, 'It is 21 degrees there.')
  await checkRunner(since, true)
})

check('', 'parse', async () => {
  for (const name of [model, 'claude-sonnet-4-5']) {
    const asked = ask('Name a city with its population.', { model: name, max_tokens: 200 })
    const parsed = await client.messages.parse({ ...asked, output_config: { format: zodOutputFormat(Wanted) } })
    Wanted.parse(parsed.parsed_output)
    assert.equal(parsed.stop_reason, 'end_turn')
  }
})

check('', 'stream with events', async () => {
  const seen = { text: '', blocks: 0, messages: 0 }
  const stream = client.messages
    .stream(ask('Count to ten', { max_tokens: 12 }))
    .on('text', (delta) => (seen.text += delta))
    .on('contentBlock', () => (seen.blocks += 1))
    .on('message', () => (seen.messages += 1))
  const message = await stream.finalMessage()
  assert.equal(message.content.at(-1).text, seen.text)
  assert.equal(message.content.length, seen.blocks)
  assert.equal(seen.messages, 1)
  assert.match(stream.request_id, /^req_/)
})

check('', 'counting', async () => {
  const asked = { model, messages: [{ role: 'user', content: 'Grüße aus 東京 🙂' }], system: 'Be brief.' }
  const counted = await client.messages.countTokens(asked)
  const { usage } = await client.messages.create({ ...asked, max_tokens: 1 })
  const used = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
  assert.equal(counted.input_tokens, used)
})

check('', 'models', async () => {
  const listed = []
  for await (const each of client.models.list()) listed.push(each.id)
  assert.deepEqual(listed, [model])
  assert.equal((await client.models.retrieve(model)).type, 'model')
})

check('', 'errors', async () => {
  const missing = await rejected(() => client.messages.create(ask('x', { model: 'nothing-of-the-kind' })))
  assert.ok(missing instanceof Anthropic.NotFoundError)
  assert.equal(missing.type, 'not_found_error')
  assert.match(missing.requestID, /^req_/)
  const bad = await rejected(() => client.messages.create(ask('x', { messages: [] })))
  assert.ok(bad instanceof Anthropic.BadRequestError)
  assert.equal(bad.error.error.type, 'invalid_request_error')
})

check('scripted', 'a failure in the middle of a stream', async () => {
  const error = await rejected(() => client.messages.stream(ask('Fail later')).finalMessage())
  assert.ok(error instanceof Anthropic.APIError)
  assert.equal(error.type, 'api_error')
  assert.ok((await rejected(() => client.messages.create(ask('Fail at once')))) instanceof Anthropic.InternalServerError)
})

check('scripted', 'thinking comes back', async () => {
  const asked = ask('Hello', { max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } })
  const first = await client.messages.stream(asked).finalMessage()
  assert.deepEqual(first.content.map((block) => block.type), ['thinking', 'text'])
  assert.ok(first.content[0].signature)
  const turn = { role: 'assistant', content: first.content }
  const messages = [...asked.messages, turn, { role: 'user', content: 'Again' }]
  assert.equal((await client.messages.create({ ...asked, messages })).stop_reason, 'end_turn')
})

check('real', 'forced tools', async () => {
  const tools = [{ name: 'record', input_schema: { ...z.toJSONSchema(City) } }]
  const asked = ask('Record Paris.', { max_tokens: 300, tools, tool_choice: { type: 'tool', name: 'record' } })
  for (const message of [await client.messages.create(asked), await client.messages.stream(asked).finalMessage()]) {
    assert.equal(message.stop_reason, 'tool_use')
    for (const block of message.content) City.parse(block.input)
  }
})

check('', 'cancelling', async () => {
  const since = (await requests()).length
  const stream = client.messages.stream(ask(kind === 'real' ? 'Tell a long story.' : 'Slowly', { max_tokens: 2000 }))
  stream.on('text', () => stream.abort())
  assert.ok((await rejected(() => stream.finalMessage())) instanceof Anthropic.APIUserAbortError)
  const [entry] = await requests(since)
  assert.equal(entry.whole, false)
  assert.equal((await client.messages.create(ask('Hello', { max_tokens: 4 }))).type, 'message')
})

check('', 'raw responses', async () => {
  const raw = await client.messages.create(ask('Hello', { stream: true })).asResponse()
  assert.match(raw.headers.get('content-type'), /^text\/event-stream/)
  assert.match(await raw.text(), /^event: message_start\n/)
})

await run()
