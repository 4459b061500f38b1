import { setImmediate as turn } from 'node:timers/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { inject as injectHono } from '../../src/adapters/hono.ts'
import { inject } from '../../src/adapters/node.ts'
import { perHandler, perRequest, service } from '../../src/index.ts'
import { Hono } from 'hono'
import { pause } from '../helpers/pause.ts'
import { answerTo, wishOf, type Wish } from '../soak/answers.ts'
import { tell } from './tell.ts'

// Answers as it is asked to, and tells of every request that it executes: one line each, written before anything is answered.

const scopes = { opened: 0, closed: 0 }

const unit = perRequest(async function* () {
  scopes.opened++
  await turn()
  yield 'unit'
  await turn()
  scopes.closed++
})

/** Work that is done when the handler went well: told apart from being executed, because the answer has to agree with it. */
const work = perHandler({ unit }, async function* () {
  scopes.opened++
  const done: string[] = []
  const end = yield done
  await turn()
  if (end.ok) tell('app.committed', { ids: done })
  scopes.closed++
})

type Body = AsyncIterable<Uint8Array> | null

async function execute(wish: Wish, body: Body): Promise<Buffer> {
  tell('app.executed', { id: wish.id })
  const parts: Uint8Array[] = []
  if (wish.reads === 'all' && body) for await (const part of body) parts.push(part)
  if (wish.wait > 0) await pause(wish.wait)
  return answerTo(wish, Buffer.concat(parts))
}

/** The answer in so many parts. */
async function* stream(answer: Buffer, { parts, gap }: Wish): AsyncGenerator<Buffer> {
  const size = Math.ceil(answer.length / parts)
  for (let at = 0; at < answer.length; at += size) {
    yield answer.subarray(at, at + size)
    if (gap > 0) await pause(gap)
  }
}

async function write(answer: Buffer, wish: Wish, response: ServerResponse): Promise<void> {
  if (wish.parts <= 1) return void response.end(answer)
  for await (const part of stream(answer, wish)) if (!response.destroyed) response.write(part)
  response.end()
}

async function listen(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const wish = wishOf(request.url!)
  await write(await execute(wish, request as Body), wish, response)
}

const plain = inject({ unit }, (request, response) => listen(request, response))
const committing = inject({ unit, work }, async (request, response, { work }) => {
  const wish = wishOf(request.url!)
  work.push(wish.id)
  response.end(await execute(wish, request as Body))
})

function node(request: IncomingMessage, response: ServerResponse): Promise<void> {
  return (request.url!.startsWith('/commit/') ? committing : plain)(request, response)
}

const hono = new Hono()
  .all('/plain/:id', injectHono({ unit }), async (c) => {
    const wish = wishOf(c.req.url)
    const answer = await execute(wish, c.req.raw.body)
    return wish.parts > 1
      ? c.body(ReadableStream.from(stream(answer, wish)))
      : c.body(new Uint8Array(answer))
  })
  .all('/commit/:id', injectHono({ unit, work }), async (c) => {
    const wish = wishOf(c.req.url)
    c.var.work.push(wish.id)
    return c.body(new Uint8Array(await execute(wish, c.req.raw.body)))
  })
  // Its own would print what a client that left has done to it
  .onError((_, c) => c.text('failed', 500))

export default service({
  app: process.env['APP'] === 'hono' ? hono : node,
})
process.on('exit', () => tell('app.scopes', scopes))
