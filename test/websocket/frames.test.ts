import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Hono } from 'hono'
import { WebSocket } from 'ws'
import { websocket, type Socket } from '../../src/adapters/hono.ts'
import type { Message } from '../../src/websocket/inbox.ts'
import { Gate } from '../helpers/gate.ts'
import { served } from '../helpers/sockets.ts'
import { turns, within } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 60 })

/** A message, or how a large one is made: so that a counterexample can be read. */
type Given = Message | { large: 'text' | 'bytes'; seed: number }

const message: fc.Arbitrary<Given> = fc.oneof(
  text,
  fc.uint8Array({ maxLength: 60 }),
  fc.constantFrom<Given>('', new Uint8Array(0)),
  fc.record({ large: fc.constantFrom('text', 'bytes'), seed: fc.integer({ min: 1, max: 255 }) }),
)

function made(given: Given): Message {
  if (typeof given === 'string' || given instanceof Uint8Array) return given
  const { large, seed } = given
  if (large === 'text') return `häh? ${seed} `.repeat(100 * seed)
  return new Uint8Array(400 * seed).map((_, at) => at * seed)
}

/** What a client does in one go: sends a message whole or in parts, with pings between these, or pings. */
const step = fc.oneof(
  fc.record({ is: fc.constant('whole' as const), message }),
  fc.record({ is: fc.constant('parts' as const), text, sizes: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 6 }) }), // oxfmt-ignore
  fc.record({ is: fc.constant('ping' as const) }),
)

/** Who ends it, and when: after so many of the steps of both sides. */
const ending = fc.record({
  by: fc.constantFrom('close', 'return', 'stop', 'force', 'client', 'reset'),
  at: fc.integer({ min: 1, max: 120 }),
})

const course = fc.record({
  compression: fc.boolean(),
  steps: fc.array(step, { maxLength: 80 }),
  tasks: fc.array(fc.array(message, { maxLength: 30 }), { minLength: 1, maxLength: 6 }),
  /** Do the tasks wait until more may be sent? */
  waits: fc.boolean(),
  ending,
  /** Either side reads on after so many messages, a moment later; the handler in another loop. */
  slowness: fc.record({
    server: fc.integer({ min: 1, max: 40 }),
    client: fc.integer({ min: 1, max: 40 }),
  }),
})

type Course = typeof course extends fc.Arbitrary<infer Value> ? Value : never

/** One connection, and all that is said on it by either side. */
class Talk {
  readonly course: Course
  /** What either side has sent, and what the other has seen of it. */
  readonly fromServer: Message[] = []
  readonly fromClient: Message[] = []
  readonly seen: Message[] = []
  readonly pings: string[] = []
  readonly pongs: string[] = []
  /** How much of what the server has sent must arrive: what was called good, or came before the end. */
  due = 0
  end: () => void = () => {}
  readonly begun = new Gate()
  readonly settled = new Gate()
  readonly returning = new Gate()
  #steps = 0

  constructor(course: Course) {
    this.course = course
  }

  /** The server's side. */
  readonly handler = async (socket: Socket): Promise<void> => {
    this.socket = socket
    await this.begun.opened
    const sending = Promise.all(this.course.tasks.map((messages) => this.#send(socket, messages)))
    const all = Promise.all([sending, this.#read(socket)])
    await (this.course.ending.by === 'return' ? Promise.race([this.returning.opened, all]) : all)
    this.settled.open()
  }

  socket: Socket | undefined

  async #send(socket: Socket, messages: readonly Given[]): Promise<void> {
    for (const given of messages) {
      if (socket.closed) return
      const one = made(given)
      this.fromServer.push(one)
      const count = this.fromServer.length
      const sent = socket.send(one).then((more) => {
        if (more) this.due = Math.max(this.due, count)
      })
      this.#step()
      if (this.course.waits) await sent
      else if (count % 7 === 0) await turns(1)
    }
  }

  async #read(socket: Socket): Promise<void> {
    for (let isLeft = true; isLeft;) {
      isLeft = false
      for await (const one of socket) {
        this.seen.push(one)
        isLeft = this.seen.length % this.course.slowness.server === 0
        if (isLeft) break
      }
      if (isLeft) await turns(2)
    }
  }

  /** The client's side. */
  async speak({ ws }: WsClient): Promise<void> {
    ws.on('pong', (data) => this.pongs.push(data.toString()))
    let received = 0
    ws.on('message', () => {
      if (++received % this.course.slowness.client > 0) return
      ws.pause()
      void turns(3).then(() => ws.resume())
    })
    for (const [index, one] of this.course.steps.entries()) {
      if (ws.readyState !== WebSocket.OPEN) break
      if (one.is === 'ping') this.#ping(ws)
      else if (one.is === 'whole') this.#whole(ws, made(one.message))
      else this.#parts(ws, one)
      this.#step()
      if (index % 9 === 8) await turns(1)
    }
    while (this.#steps < this.course.ending.at && this.#steps < this.total) await turns(1)
    if (this.#steps < this.course.ending.at) this.#end()
  }

  get total(): number {
    const { steps, tasks } = this.course
    return steps.length + tasks.flat().length
  }

  #ping(ws: WebSocket): void {
    const words = `${this.pings.length}`
    this.pings.push(words)
    ws.ping(words)
  }

  #whole(ws: WebSocket, one: Message): void {
    this.fromClient.push(one)
    ws.send(one)
  }

  /** Cut at any byte, also within a character. */
  #parts(ws: WebSocket, { text, sizes }: { text: string; sizes: readonly number[] }): void {
    let rest = Buffer.from(text)
    for (const size of sizes) {
      ws.send(rest.subarray(0, size), { binary: false, fin: false })
      rest = rest.subarray(size)
      if (size % 2 === 0) this.#ping(ws)
    }
    ws.send(rest, { binary: false, fin: true })
    this.fromClient.push(text)
  }

  #step(): void {
    if (++this.#steps === this.course.ending.at) this.#end()
  }

  #end(): void {
    if (this.course.ending.by !== 'reset' && this.course.ending.by !== 'force') {
      this.due = this.fromServer.length
    }
    this.end()
  }
}

/** Texts and bytes, apart from one another; of long ones, what tells them apart. */
function plain(one: Message): string {
  const bytes = Buffer.from(one)
  const is = typeof one === 'string' ? 'text' : 'bytes'
  if (bytes.length < 200) return `${is} ${JSON.stringify(bytes.toString('latin1'))}`
  return `${is}, ${bytes.length} of ${createHash('sha1').update(bytes).digest('hex')}`
}

const CODES = { close: 4001, return: 1000, stop: 1001, force: 1001, client: 4002, reset: 1006 }

async function talk(course: Course): Promise<void> {
  const { compression, ending } = course
  const conversation = new Talk(course)
  const app = new Hono().get('/', websocket({}, conversation.handler, { compression }))
  const at = await served(app)
  const client = await WsClient.connect(at.port, '/', { perMessageDeflate: compression })
  conversation.end = {
    close: () => conversation.socket!.close(4001),
    return: () => conversation.returning.open(),
    stop: () => void at.running.stop(),
    force: () => void at.running.force(),
    client: () => client.ws.close(4002),
    reset: () => client.ws.terminate(),
  }[ending.by]
  conversation.begun.open()
  await conversation.speak(client)
  const { code } = await client.end
  await within(8_000, conversation.settled.opened, 'the handler')
  await at.running.force()
  check(conversation, client)
  if (ending.by !== 'force') assert.equal(code, CODES[ending.by])
}

function check(conversation: Talk, client: WsClient): void {
  const { course, fromServer, fromClient, seen, due, pings, pongs } = conversation
  const { by } = course.ending
  const received = client.messages.map(plain)
  assert.deepEqual(received, fromServer.slice(0, received.length).map(plain))
  if (by !== 'reset' && by !== 'force') assert.ok(received.length >= due, `${received.length} of ${due}`) // oxfmt-ignore
  if (by === 'close') assert.equal(received.length, due)
  assert.deepEqual(seen.map(plain), fromClient.slice(0, seen.length).map(plain))
  const isReadWhole = by === 'close' || by === 'stop' || by === 'client'
  if (isReadWhole) assert.equal(seen.length, fromClient.length)
  assert.deepEqual(pongs, pings.slice(0, pongs.length))
}

describe('the frames of a WebSocket', () => {
  it('W2 arrive in order and exactly once, both ways, whatever is sent, however slowly it is read, and whoever ends it', async () => {
    await within(
      100_000,
      fc.assert(fc.asyncProperty(course, talk), { numRuns: 100, endOnFailure: true }),
      'the property',
    )
  })
})
