// Vercel's `ai` with @ai-sdk/openai, which speaks the Responses API: streamed text with a tool loop, objects, errors.
import assert from 'node:assert/strict'
import { createOpenAI } from '@ai-sdk/openai'
import * as ai from 'ai'
import { z } from 'zod'
import { check, rejected, requests, run, steady, url } from './checks.mjs'

const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'dummy' })
const model = provider('local-model')
const City = z.object({ name: z.string(), population: z.number().int() })
const tools = {
  get_weather: ai.tool({
    description: 'Get the weather',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `21 degrees in ${city}`,
  }),
}

check('scripted', 'streamText with a tool loop', async () => {
  const since = (await requests()).length
  const result = ai.streamText({
    model,
    tools,
    stopWhen: ai.stepCountIs(4),
    prompt: 'What is the weather in Zürich?',
    maxRetries: 0,
  })
  const parts = []
  for await (const part of result.fullStream) parts.push(part.type)
  assert.ok(!parts.includes('error'), String(parts))
  for (const wanted of ['text-delta', 'tool-input-delta', 'tool-call', 'tool-result', 'finish']) {
    assert.ok(parts.includes(wanted), wanted)
  }
  assert.equal(await result.text, 'It is 21 degrees there.')
  const asked = await requests(since)
  assert.deepEqual(asked.map((entry) => [entry.path, entry.status]), [['/v1/responses', 200], ['/v1/responses', 200]])
  // What the server keeps is only referred to.
  assert.ok(asked[1].body.input.some((item) => item.type === 'item_reference'))
})

check('scripted', 'generateText with a tool loop', async () => {
  const prompt = 'What is the weather in Zürich?'
  const result = await ai.generateText({ model, tools, stopWhen: ai.stepCountIs(4), prompt })
  assert.equal(result.text, 'It is 21 degrees there.')
})

check('scripted', 'generateObject', async () => {
  City.parse((await ai.generateObject({ model, schema: City, prompt: 'Name a city', maxRetries: 0 })).object)
})

check('', 'generateText', async () => {
  const result = await ai.generateText({ model, prompt: 'Count to ten', maxOutputTokens: 24, ...steady })
  assert.ok(result.text)
})

check('', 'an unknown model', async () => {
  const error = await rejected(() => ai.generateText({ model: provider('none such'), prompt: 'x', maxRetries: 0 }))
  assert.equal(error.statusCode, 404)
})

await run()
