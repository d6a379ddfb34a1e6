// A program written for the official TypeScript SDK. Run as `node messages_client.mjs URL MODEL real|scripted`.
import assert from 'node:assert/strict'
import Anthropic from '@anthropic-ai/sdk'

const [url, model, kind] = process.argv.slice(2)
const client = new Anthropic({ baseURL: url, apiKey: 'any', maxRetries: 0 })
// The likeliest reply is no empty one.
const hello = { model, max_tokens: 24, temperature: 0, messages: [{ role: 'user', content: 'Hello from a client' }] }
const user = (text) => [{ role: 'user', content: text }]
const weather = {
  name: 'get_weather',
  description: 'Get the weather',
  input_schema: {
    type: 'object',
    properties: { city: { type: 'string', maxLength: 40 }, days: { type: 'integer', minimum: 1, maximum: 9 } },
    required: ['city', 'days'],
  },
}

async function plain() {
  const { data, response } = await client.messages
    .create(hello)
    .withResponse()
  assert.match(response.headers.get('request-id'), /^req_/)
  assert.match(data.id, /^msg_/)
  assert.equal(data.content.at(-1).type, 'text')
  const counted = await client.messages.countTokens({ model, messages: hello.messages })
  const used = data.usage.input_tokens + data.usage.cache_read_input_tokens + data.usage.cache_creation_input_tokens
  assert.equal(counted.input_tokens, used)
}

async function streamed() {
  const stream = client.messages.stream(hello)
  let text = ''
  stream.on('text', (delta) => (text += delta))
  const message = await stream.finalMessage()
  assert.equal(message.content.at(-1).text, text)
  assert.ok(message.usage.output_tokens > 0)
}

async function forced() {
  const asked = {
    model, max_tokens: 300, temperature: 0, messages: user('Weather in Paris?'), tools: [weather],
    tool_choice: { type: 'any' },
  }
  for (const message of [await client.messages.create(asked), await client.messages.stream(asked).finalMessage()]) {
    assert.equal(message.content[0].type, 'tool_use')
    assert.equal(typeof message.content[0].input.city, 'string')
    assert.equal(message.stop_reason, 'tool_use')
  }
}

async function toolLoop() {
  const tools = [{ name: 'Read', input_schema: { type: 'object', properties: { file_path: { type: 'string' } } } }]
  const messages = user('Read note')
  const first = await client.messages.stream({ model, max_tokens: 500, tools, messages }).finalMessage()
  assert.deepEqual(first.content.map((block) => block.type), ['thinking', 'text', 'tool_use'])
  messages.push({ role: 'assistant', content: first.content })
  messages.push({
    role: 'user', content: [{ type: 'tool_result', tool_use_id: first.content[2].id, content: 'hello' }],
  })
  const second = await client.messages.create({ model, max_tokens: 500, tools, messages })
  assert.equal(second.content.at(-1).text, 'The file says hello.')
}

async function parallel() {
  const message = await client.messages
    .stream({ model, max_tokens: 300, messages: user('Two tools'), tools: [weather] })
    .finalMessage()
  assert.deepEqual(message.content.map((block) => block.input.city), ['Zürich', '東京'])
}

async function failures() {
  await assert.rejects(client.messages.create({ model: 'no-such-model', max_tokens: 1, messages: user('x') }), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError)
    assert.match(error.requestID, /^req_/)
    return true
  })
  if (kind === 'scripted') {
    await assert.rejects(client.messages.stream({ model, max_tokens: 100, messages: user('Fail after') }).finalMessage())
    await assert.rejects(
      client.messages.create({ model, max_tokens: 100, messages: user('Fail before') }), Anthropic.InternalServerError,
    )
  }
}

async function models() {
  const listed = []
  for await (const each of client.models.list()) listed.push(each)
  assert.equal((await client.models.retrieve(listed[0].id)).id, listed[0].id)
}

await plain()
await streamed()
await failures()
await models()
await (kind === 'real' ? forced() : Promise.all([toolLoop(), parallel()]))
