// Named checks for the programs here: each prints `ok NAME` or `FAIL NAME: why`. A program is run as
// `PROGRAM URL scripted|real LOG`.
import { existsSync, readFileSync } from 'node:fs'

export const [url, kind, log] = process.argv.slice(2)
// What programs ask a real model for besides, so that no check depends on luck.
export const steady = kind === 'real' ? { temperature: 0 } : {}
const checks = []

// Marks a function as a check of this kind of server ('': of both).
export function check(kinds, name, body) {
  if (kinds === '' || kinds === kind) checks.push([name, body])
}

// What the server was asked and what it answered, from the log, after the first `since` ones.
export async function requests(since = 0) {
  await new Promise((resolve) => setTimeout(resolve, 300))
  const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : []
  return lines.map((line) => JSON.parse(line)).sort((a, b) => a.number - b.number).slice(since)
}

// The error that a function is rejected with; none is a failure.
export async function rejected(body) {
  try {
    await body()
  } catch (error) {
    return error
  }
  throw new Error('no error')
}

export async function run() {
  let failed = 0
  for (const [name, body] of checks) {
    try {
      await body()
      console.log('ok', name)
    } catch (error) {
      failed += 1
      console.log(`FAIL ${name}: ${error}`.replaceAll('\n', ' ').slice(0, 2000))
      console.error(error)
    }
  }
  process.exit(failed ? 1 : 0)
}
