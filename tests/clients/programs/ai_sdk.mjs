// Vercel's `ai` with @ai-sdk/anthropic: streamed text with a tool loop, objects, plain text, errors.
import assert from 'node:assert/strict'
import { createAnthropic } from '@ai-sdk/anthropic'
import * as ai from 'ai'
import { z } from 'zod'
import { check, kind, rejected, requests, run, steady, url } from './checks.mjs'

const provider = createAnthropic({ baseURL: `${url}/v1`, apiKey: 'dummy' })
const names = ['local-model', 'claude-sonnet-4-5']
const City = z.object({ name: z.string().max(40), population: z.number().int().min(0).max(99999999) })
// With a name it knows, the package leaves bounds out of what it sends, so that what the real model is asked for needs none.
const Size = z.object({ size: z.enum(['small', 'large']), capital: z.boolean() })
const Wanted = kind === 'real' ? Size : City
const tools = {
  get_weather: ai.tool({
    description: 'Get the weather',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `21 degrees in ${city}`,
  }),
}

check('scripted', 'streamText with a tool loop', async () => {
  for (const name of names) {
    const since = (await requests()).length
    const result = ai.streamText({
      model: provider(name),
      tools,
      stopWhen: ai.stepCountIs(4),
      prompt: 'What is the weather in Zürich?',
      maxRetries: 0,
    })
    const parts = []
    for await (const part of result.fullStream) parts.push(part.type)
    assert.ok(!parts.includes('error'), String(parts))
    for (const wanted of ['reasoning-delta', 'text-delta', 'tool-input-delta', 'tool-call', 'tool-result', 'finish']) {
      assert.ok(parts.includes(wanted), wanted)
    }
    assert.equal(await result.text, 'It is 21 degrees there.')
    assert.equal((await result.steps).length, 2)
    assert.ok((await result.totalUsage).inputTokens > 0)
    assert.deepEqual((await requests(since)).map((entry) => [entry.status, entry.body.stream]), [[200, true], [200, true]])
  }
})

check('scripted', 'generateText with a tool loop', async () => {
  const prompt = 'What is the weather in Zürich?'
  const result = await ai.generateText({ model: provider(names[0]), tools, stopWhen: ai.stepCountIs(4), prompt })
  assert.equal(result.text, 'It is 21 degrees there.')
  assert.equal(result.finishReason, 'stop')
})

check('', 'generateObject', async () => {
  for (const name of names) {
    const asked = { model: provider(name), schema: Wanted, prompt: 'Name a city', maxOutputTokens: 300, ...steady, maxRetries: 0 }
    Wanted.parse((await ai.generateObject(asked)).object)
  }
})

check('', 'streamObject', async () => {
  const asked = { model: provider(names[0]), schema: Wanted, prompt: 'Name a city', maxOutputTokens: 300, ...steady }
  const result = ai.streamObject(asked)
  let parts = 0
  for await (const _ of result.partialObjectStream) parts += 1
  assert.ok(parts > 0)
  Wanted.parse(await result.object)
})

check('', 'generateText', async () => {
  const result = await ai.generateText({ model: provider(names[0]), prompt: 'Count to ten', maxOutputTokens: 24, ...steady })
  assert.ok(['stop', 'length'].includes(result.finishReason))
  assert.ok(result.text)
  assert.ok(result.usage.outputTokens > 0)
})

check('real', 'a forced tool', async () => {
  const result = await ai.generateText({
    model: provider(names[0]),
    tools: { record: ai.tool({ description: 'Record a city', inputSchema: City }) },
    toolChoice: 'required',
    prompt: 'Record Paris.',
    maxOutputTokens: 300, ...steady,
  })
  assert.equal(result.finishReason, 'tool-calls')
  for (const call of result.toolCalls) City.parse(call.input)
})

check('scripted', 'thinking', async () => {
  const options = { anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } } }
  const result = await ai.generateText({ model: provider(names[1]), prompt: 'Hello', providerOptions: options })
  assert.equal(result.reasoningText.trim(), 'What to say?')
})

check('', 'errors', async () => {
  const model = provider('nothing-of-the-kind')
  const error = await rejected(() => ai.generateText({ model, prompt: 'x', maxRetries: 0 }))
  assert.equal(error.statusCode, 404)
  assert.match(error.message, /nothing-of-the-kind/)
})

check('scripted', 'a failure in the middle of a stream', async () => {
  const result = ai.streamText({ model: provider(names[0]), prompt: 'Fail later', maxRetries: 0, onError: () => {} })
  const parts = []
  for await (const part of result.fullStream) parts.push(part.type)
  assert.ok(parts.includes('error'), String(parts))
})

await run()
