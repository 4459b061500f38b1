import assert from 'node:assert/strict'
import { Socket as NetSocket } from 'node:net'
import { describe, it } from 'node:test'
import { queryObjects } from 'node:v8'
import { Hono } from 'hono'
import { z } from 'zod'
import { inject, socket, websocket } from '../../src/adapters/hono.ts'
import { describeError, isStewardError } from '../../src/base/errors.ts'
import { Connection } from '../../src/http/connections.ts'
import { Exchange } from '../../src/http/exchange.ts'
import { service, start } from '../../src/index.ts'
import { perRequest } from '../../src/scope/resource.ts'
import { ServerSocket } from '../../src/websocket/socket.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { echo, served } from '../helpers/sockets.ts'
import { turns } from '../helpers/within.ts'

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
const VERSION = 'Sec-WebSocket-Version: 13\r\n'
const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'

function asked(path: string, headers = `${UPGRADE}${VERSION}${KEY}`): string {
  return `GET ${path} HTTP/1.1\r\nHost: shop.example\r\n${headers}\r\n`
}

/** Requests that become no WebSocket: what they are answered, and what the log says of it. */
const REFUSED: Record<string, { request: string; status: number; says: RegExp }> = {
  'another origin': {
    request: asked('/', `${UPGRADE}${VERSION}${KEY}Origin: https://evil.example\r\n`),
    status: 403,
    says: /its origin "https:\/\/evil.example" is not allowed$/,
  },
  'an origin without end': {
    request: asked('/', `${UPGRADE}${VERSION}${KEY}Origin: https://${'e'.repeat(9_000)}\r\n`),
    status: 403,
    says: /^.{90,200}$/,
  },
  'unknown subprotocols': {
    request: asked('/spoken', `${UPGRADE}${VERSION}${KEY}Sec-WebSocket-Protocol: v3, v4\r\n`),
    status: 400,
    says: /none of its subprotocols is spoken here, spoken are v1$/,
  },
  'a malformed subprotocol': {
    request: asked('/', `${UPGRADE}${VERSION}${KEY}Sec-WebSocket-Protocol: a b\r\n`),
    status: 400,
    says: /its Sec-WebSocket-Protocol is malformed$/,
  },
  'another version': {
    request: asked('/', `${UPGRADE}Sec-WebSocket-Version: 8\r\n${KEY}`),
    status: 426,
    says: /only version 13 of the protocol is spoken$/,
  },
  'no key': {
    request: asked('/', `${UPGRADE}${VERSION}`),
    status: 400,
    says: /its Sec-WebSocket-Key is missing or malformed$/,
  },
  'no upgrade': {
    request: asked('/', 'Connection: close\r\n'),
    status: 426,
    says: /this path speaks WebSocket, over HTTP\/1.1$/,
  },
  'no upgrade, injected': {
    request: asked('/injected', 'Connection: close\r\n'),
    status: 426,
    says: /this path speaks WebSocket, over HTTP\/1.1$/,
  },
  'a path that is none': {
    request: asked('/nowhere'),
    status: 404,
    says: /the request for it was answered with 404$/,
  },
  'a path that is a page': {
    request: asked('/page'),
    status: 200,
    says: /the request for it was answered with 200$/,
  },
  'an opener that says 401': {
    request: asked('/guarded'),
    status: 401,
    says: /^who\?$/,
  },
}

/** A frame of a client, masked with nothing. */
function frame(first: number, payload: string | Buffer): string {
  const bytes = Buffer.from(payload)
  const head = Buffer.from([first, 0x80 | bytes.length, 0, 0, 0, 0])
  return Buffer.concat([head, bytes]).toString('latin1')
}

const INVALID = Buffer.from([0xc3, 0x28])

/** What cannot be taken once it is one: what it is closed with, and what the log says of it. */
const UNTAKEN: Record<string, { bytes: string; code: number; says: RegExp; path?: string }> = {
  'a message that is too large': { bytes: '\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0', code: 1009, says: /larger than "maxPayload"$/ },
  'one in parts that is too large': { bytes: `${frame(0x02, 'x')}\x80\xff\0\0\0\0\0\x10\0\0\0\0\0\0`, code: 1009, says: /larger than "maxPayload"$/ },
  'a size beyond all numbers': { bytes: '\x82\xff\x7f\0\0\0\0\0\0\0\0\0\0\0', code: 1009, says: /larger than "maxPayload"$/ },
  'text that is no UTF-8': { bytes: frame(0x81, INVALID), code: 1007, says: /its text is no UTF-8$/ },
  'reserved bits': { bytes: frame(0xc1, 'a'), code: 1002, says: /RSV1 must be clear$/ },
  'other reserved bits': { bytes: frame(0xb1, 'a'), code: 1002, says: /RSV2 and RSV3 must be clear$/ },
  'no mask': { bytes: '\x81\x01a', code: 1002, says: /MASK must be set$/ },
  'a reserved opcode': { bytes: frame(0x83, 'a'), code: 1002, says: /invalid opcode 3$/ },
  'a ping in parts': { bytes: frame(0x09, 'a'), code: 1002, says: /FIN must be set$/ },
  'a ping that is too long': { bytes: '\x89\xfe\0\x7e\0\0\0\0', code: 1002, says: /invalid payload length 126$/ },
  'an end without a beginning': { bytes: frame(0x80, 'a'), code: 1002, says: /invalid opcode 0$/ },
  'a beginning without an end': { bytes: `${frame(0x01, 'a')}${frame(0x81, 'b')}`, code: 1002, says: /invalid opcode 1$/ },
  'a Close with no code': { bytes: frame(0x88, 'a'), code: 1002, says: /invalid payload length 1$/ },
  'a Close with a reserved code': { bytes: frame(0x88, Buffer.from([1005 >> 8, 1005 & 255])), code: 1002, says: /invalid status code 1005$/ },
  'a Close with a reason that is no UTF-8': { bytes: frame(0x88, Buffer.concat([Buffer.from([3, 232]), INVALID])), code: 1007, says: /its text is no UTF-8$/ },
  'another handshake': { bytes: asked('/'), code: 1002, says: /it breaks the protocol: / },
  'text that fails its schema': { path: '/json', bytes: frame(0x81, '{"name":7}'), code: 1007, says: /it does not fit its schema: name: / },
  'text that is no JSON': { path: '/json', bytes: frame(0x81, '{'), code: 1007, says: /it is no JSON$/ },
  'bytes that are no JSON': { path: '/json', bytes: frame(0x82, '{}'), code: 1007, says: /it is binary, not JSON$/ },
} // oxfmt-ignore

/** A service with every kind of path, and how many of its request scopes are open. */
async function trying() {
  const open = { seats: 0 }
  const seat = perRequest(function* () {
    open.seats++
    yield 'seat'
    open.seats--
  })
  const user = perRequest(() => {
    throw Object.assign(new Error('who?'), { status: 401, getResponse: () => new Response('who?', { status: 401 }) }) // oxfmt-ignore
  })
  const app = new Hono()
    .get('/', websocket({ seat }, echo))
    .get('/spoken', websocket({ seat }, echo, { protocols: ['v1'] }))
    .get('/guarded', websocket({ user, seat }, echo))
    .get('/page', inject({ seat }), (c) => c.text('a page'))
    .get('/injected', inject({ socket, seat }), async (c) => {
      await echo(c.var.socket)
      return c.var.socket.ended()
    })
    .get(
      '/json',
      websocket({ seat }, async (socket) => {
        for await (const { name } of socket.json(z.object({ name: z.string() }))) {
          await socket.send(name)
        }
      }),
    )
  return { ...(await served(app)), open }
}

/** Asks in vain, and is gone. */
async function refused(port: number, request: string): Promise<number> {
  using client = await RawClient.connect(port)
  const { status } = await client.send(request).response()
  await client.fin()
  return status
}

/** Sends what cannot be taken, at once behind the handshake or after it, and is gone. */
async function closed(port: number, { bytes, path = '/' }: { bytes: string; path?: string }) {
  using client = await RawClient.connect(port)
  client.send(asked(path)).send(bytes)
  await client.until(() => /\r\n\r\n\x88.../s.test(client.received) || client.ended)
  const [, frames = ''] = client.received.split(/(?<=\r\n\r\n)/s)
  assert.equal(frames.charCodeAt(0), 0x88, `it got ${JSON.stringify(client.received)}`)
  client.send(frame(0x88, Buffer.from(frames.slice(2, 4), 'latin1')))
  await client.fin()
  return frames.charCodeAt(2) * 256 + frames.charCodeAt(3)
}

describe('bad input of a WebSocket', () => {
  for (const [what, { request, status, says }] of Object.entries(REFUSED)) {
    it(`X2 answers ${what} with ${status}, and leaves one line`, async () => {
      await using at = await trying()
      assert.equal(await refused(at.port, request), status)
      const lines = at.told.all('request.failed').map(({ error }) => describeError(error))
      assert.equal(lines.length, 1)
      assert.match(lines[0]!, says)
      assert.equal(at.open.seats, 0)
    })
  }

  for (const [what, { says, code, ...sent }] of Object.entries(UNTAKEN)) {
    it(`X2 closes on ${what} with ${code}, and leaves one line`, async () => {
      await using at = await trying()
      assert.equal(await closed(at.port, sent), code)
      while (at.open.seats > 0) await turns(1)
      const lines = at.told.all('request.failed').map(({ error }) => describeError(error))
      assert.equal(lines.length, 1, lines.join('\n'))
      assert.match(lines[0]!, says)
    })
  }

  it('X2 answers an upgrade behind a request that is still being answered as a request', async () => {
    await using at = await trying()
    using client = await RawClient.connect(at.port)
    client.send(asked('/page', '')).send(asked('/'))
    assert.equal((await client.response()).body, 'a page')
    assert.equal((await client.response()).status, 426)
    const { error } = await at.told.event('request.failed')
    assert.match(describeError(error), /this path speaks WebSocket/)
  })

  it('R14 says how to start a service where none runs', async () => {
    const thrown: unknown[] = []
    const app = new Hono()
      .get('/', websocket({}, echo))
      .get('/injected', inject({ socket }), (c) => c.var.socket.ended())
      .onError((error, c) => {
        thrown.push(error)
        return c.text('', 500)
      })
    for (const path of ['/', '/injected']) assert.equal((await app.request(path)).status, 500)
    assert.equal(thrown.filter((error) => isStewardError(error, 'ERR_NO_SERVICE')).length, 2)
    await using running = await start(service({ app }))
    assert.equal((await app.request('/', {}, running.env)).status, 426)
    assert.equal((await running.fetch('/injected')).status, 426)
  })

  it('X2 has nothing left of hundreds of each', async () => {
    await using at = await trying()
    const kinds = [
      ...Object.values(REFUSED).map((one) => () => refused(at.port, one.request)),
      ...Object.values(UNTAKEN).map((sent) => () => closed(at.port, sent)),
    ]
    const times = Number(process.env['BAD_INPUTS'] ?? 300)
    for (const kind of kinds) await kind()
    // An error keeps where it was made, and all that was there: they are counted, and let go
    let lines = 0
    at.told.events.length = 0
    at.running.events.on(() => {
      lines += at.told.all('request.failed').length
      at.told.events.length = 0
    })
    const before = await left()
    for (const kind of kinds) {
      for (let count = 0; count < times; count += 50) {
        await Promise.all(Array.from({ length: 50 }, () => kind()))
      }
    }
    assert.deepEqual(await left(before), before)
    assert.equal(at.open.seats, 0)
    assert.equal(lines, kinds.length * times)
  })
})

/** What there is of what could be left: counted after a collection, and again until it is no more than before. */
async function left(before?: Record<string, number>): Promise<Record<string, number>> {
  for (let looks = 0; ; looks++) {
    await turns(20)
    const handles = process.getActiveResourcesInfo()
    const counts = {
      sockets: queryObjects(ServerSocket, { format: 'count' }),
      exchanges: queryObjects(Exchange, { format: 'count' }),
      connections: queryObjects(Connection, { format: 'count' }),
      streams: queryObjects(NetSocket, { format: 'count' }),
      handles: handles.filter((one) => one === 'TCPSocketWrap').length,
      timers: handles.filter((one) => one === 'Timeout').length,
    }
    if (!before || looks === 10) return counts
    if (Object.entries(counts).every(([name, count]) => count <= before[name]!)) return before
  }
}
