// Feeds streams to the official TypeScript SDK's accumulator. Standard input: a JSON line for each, {name, events, reply};
// the exit status is 1 when an accumulated message is not the unstreamed reply.
import assert from 'node:assert/strict'
import { createInterface } from 'node:readline'
import { MessageStream } from '@anthropic-ai/sdk/lib/MessageStream'

let wrong = 0
let count = 0
for await (const line of createInterface({ input: process.stdin })) {
  const { name, events, reply } = JSON.parse(line)
  count += 1
  const lines = new ReadableStream({
    start(controller) {
      for (const event of events) controller.enqueue(new TextEncoder().encode(JSON.stringify(event) + '\n'))
      controller.close()
    },
  })
  try {
    const message = await MessageStream.fromReadableStream(lines).finalMessage()
    const told = JSON.parse(JSON.stringify(message))
    for (const key of ['id', 'model', 'role', 'type', 'content', 'stop_reason', 'stop_sequence', 'usage'])
      assert.deepEqual(told[key], reply[key])
  } catch (error) {
    wrong += 1
    console.error(name, String(error).slice(0, 600))
  }
}
console.log(`${count} streams`)
process.exit(wrong || !count ? 1 : 0)
