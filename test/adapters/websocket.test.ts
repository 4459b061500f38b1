import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { z } from 'zod'
import { inject, socket, websocket } from '../../src/adapters/hono.ts'
import { run, service } from '../../src/index.ts'
import { perHandler, perRequest } from '../../src/scope/resource.ts'
import { Gate } from '../helpers/gate.ts'
import { echo, served } from '../helpers/sockets.ts'
import { turns } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

describe('websocket()', () => {
  it('gives text as strings and everything else as bytes, and sends both', async () => {
    await using at = await served(new Hono().get('/', websocket({}, echo)))
    using client = await WsClient.connect(at.port)
    client.ws.send('häll')
    client.ws.send(Buffer.from([0, 255]))
    client.ws.send('')
    assert.deepEqual(
      [await client.next(), await client.next(), await client.next()],
      ['häll', Buffer.from([0, 255]), ''],
    )
    client.ws.close(4001, 'done')
    assert.deepEqual(await client.end, { code: 4001, reason: 'done' })
  })

  it('R10 closes its request scope once, when the handler has settled and the connection is over', async () => {
    const lines: string[] = []
    const release = new Gate()
    const seat = perRequest(function* () {
      lines.push('open')
      const ending = yield 'seat'
      lines.push(`closed, ${ending.ok ? 'ok' : 'not ok'}`)
    })
    const app = new Hono().get(
      '/',
      websocket({ seat }, async (socket) => {
        for await (const message of socket) lines.push(String(message))
        await release.opened
        lines.push('settled')
      }),
    )
    const at = await served(app)
    const client = await WsClient.connect(at.port)
    client.ws.send('one')
    client.ws.close()
    await client.end
    await turns(3)
    assert.deepEqual(lines, ['open', 'one'])
    release.open()
    await at[Symbol.asyncDispose]()
    assert.deepEqual(lines, ['open', 'one', 'settled', 'closed, ok'])
  })

  it('closes with 1000 when the handler returns, and with 1011 and no word when it throws', async () => {
    const app = new Hono()
      .get(
        '/returns',
        websocket({}, async () => {}),
      )
      .get(
        '/throws',
        websocket({}, async () => {
          throw new Error('password 1234')
        }),
      )
    await using at = await served(app)
    using good = await WsClient.connect(at.port, '/returns')
    assert.deepEqual(await good.end, { code: 1000, reason: '' })
    using bad = await WsClient.connect(at.port, '/throws')
    assert.deepEqual(await bad.end, { code: 1011, reason: '' })
    const { url, error } = await at.told.event('request.failed')
    assert.deepEqual([url, (error as Error).message], ['/throws', 'password 1234'])
  })

  it('ends the signal and the loop when the client goes without a word', async () => {
    const aborted = new Gate<unknown>()
    const closed = new Gate<unknown>()
    const app = new Hono().get(
      '/',
      websocket({}, async (socket) => {
        socket.signal.addEventListener('abort', () => aborted.open(socket.signal.reason))
        for await (const _ of socket);
        closed.open(socket.closed)
        assert.equal(await socket.send('too late'), false)
      }),
    )
    await using at = await served(app)
    const client = await WsClient.connect(at.port)
    client.ws.terminate()
    assert.equal(((await aborted.opened) as { code: string }).code, 'ERR_CLIENT_GONE')
    assert.deepEqual(await closed.opened, { code: 1006, reason: '' })
  })

  it('answers what does not become a WebSocket, before anything of the route is opened', async () => {
    let opened = 0
    const costly = perRequest(() => ++opened)
    const app = new Hono()
      .get('/', websocket({ costly }, echo))
      .get('/spoken', websocket({ costly }, echo, { protocols: ['v2', 'v1'] }))
      .get('/listed', websocket({ costly }, echo, { origins: ['https://shop.example'] }))
      .get('/any', websocket({}, echo, { origins: 'any' }))
      .get('/page', (c) => c.text('a page'))
    await using at = await served(app)
    const from = (origin: string) => ({ headers: { origin } })
    const plain = await fetch(`${at.running.url}/`)
    assert.deepEqual([plain.status, plain.headers.get('upgrade')], [426, 'websocket'])
    assert.equal((await at.running.fetch('/')).status, 426)
    assert.equal((await WsClient.refused(at.port, '/nowhere')).status, 404)
    assert.deepEqual(await WsClient.refused(at.port, '/page'), { status: 200, body: 'a page' })
    const strange = await WsClient.refused(at.port, '/', from('https://evil.example'))
    assert.deepEqual(strange, {
      status: 403,
      body: 'Cannot open a WebSocket: its origin "https://evil.example" is not allowed',
    })
    const unlisted = from(`http://127.0.0.1:${at.port}`)
    assert.equal((await WsClient.refused(at.port, '/listed', unlisted)).status, 403)
    const unknown = await WsClient.refused(at.port, '/spoken', { protocols: ['v3'] })
    assert.equal(unknown.status, 400)
    assert.equal((await WsClient.refused(at.port, '/', { protocolVersion: 8 })).status, 426)
    assert.equal(opened, 0)
    using own = await WsClient.connect(at.port, '/', from(`http://127.0.0.1:${at.port}`))
    using listed = await WsClient.connect(at.port, '/listed', from('https://shop.example'))
    using any = await WsClient.connect(at.port, '/any', from('https://evil.example'))
    using spoken = await WsClient.connect(at.port, '/spoken', { protocols: ['v1', 'v2'] })
    assert.equal(spoken.ws.protocol, 'v2')
    assert.deepEqual(
      [own, listed, any].map(({ ws }) => ws.readyState),
      [1, 1, 1],
    )
  })

  it('R19 answers what an opener throws as it is: a 401 is one, and there is no connection', async () => {
    const user = perRequest(() => {
      throw Object.assign(new Error('who?'), { status: 401, getResponse: () => new Response('who?', { status: 401 }) }) // oxfmt-ignore
    })
    const app = new Hono().get('/', websocket({ user }, echo))
    await using at = await served(app)
    assert.deepEqual(await WsClient.refused(at.port), { status: 401, body: 'who?' })
  })

  it('closes with the right code on what cannot be taken, with a line each, and no leak', async () => {
    const settled = new Gate()
    let closes = 0
    const seat = perRequest(function* () {
      yield 'seat'
      if (++closes === 3) settled.open()
    })
    const app = new Hono().get('/', websocket({ seat }, echo, { maxPayload: 100 })).get(
      '/json',
      websocket({ seat }, async (socket) => {
        for await (const { name } of socket.json(z.object({ name: z.string() }))) {
          await socket.send(name)
        }
      }),
    )
    const at = await served(app)
    using large = await WsClient.connect(at.port)
    large.ws.send('x'.repeat(101))
    assert.equal((await large.end).code, 1009)
    using unmasked = await WsClient.connect(at.port)
    ;(unmasked.ws as unknown as { _socket: { write(data: Buffer): void } })._socket.write(Buffer.from([0x81, 1, 65])) // oxfmt-ignore
    assert.equal((await unmasked.end).code, 1002)
    using unfit = await WsClient.connect(at.port, '/json')
    unfit.ws.send('{"name":"Ada"}')
    assert.equal(await unfit.next(), 'Ada')
    unfit.ws.send('{"name":7}')
    const { code, reason } = await unfit.end
    assert.equal(code, 1007)
    assert.match(reason, /^The message does not fit: name: /)
    await settled.opened
    const failed = at.told.all('request.failed').map(({ error }) => (error as Error).message)
    assert.deepEqual(
      failed.map((one) => one.slice(0, 60)),
      [
        'Cannot take a message: it is larger than "maxPayload"',
        'Cannot take a message: it breaks the protocol: Invalid WebSo',
        'Cannot take a message: it does not fit its schema: name: Inv',
      ],
    )
    await at[Symbol.asyncDispose]()
    assert.equal(closes, 3)
  })

  it('refuses what lives as long as a handler, and what is no option, when the route is made', () => {
    const tx = perHandler(() => 'tx')
    assert.throws(() => websocket({ tx } as {}, echo), {
      code: 'ERR_CAPTIVE',
      message: /inject run/,
    })
    assert.throws(() => websocket({}, echo, { maxPayload: 0 }), { code: 'ERR_BAD_OPTION' })
    assert.throws(() => websocket({}, echo, { origins: ['shop'] }), { code: 'ERR_BAD_OPTION' })
    assert.throws(() => websocket({}, echo, { pings: '1s' } as {}), /there is no such option/)
    assert.throws(() => websocket({}, undefined as never), { code: 'ERR_BAD_OPTION' })
    assert.throws(() => service({ goodbye: { code: 1006 } }), { code: 'ERR_BAD_OPTION' })
  })

  it('opens by run, for each message, what the connection may not hold', async () => {
    const endings: boolean[] = []
    const tx = perHandler(async function* () {
      endings.push((yield 'tx').ok)
    })
    const app = new Hono().get(
      '/',
      websocket({ run }, async (socket, { run }) => {
        for await (const message of socket) {
          await run({ tx }, () => {
            if (message === 'bad') throw new Error('bad')
          }).catch(() => {})
          await socket.send(`${endings.length}`)
        }
      }),
    )
    await using at = await served(app)
    using client = await WsClient.connect(at.port)
    client.ws.send('good')
    assert.equal(await client.next(), '1')
    client.ws.send('bad')
    assert.equal(await client.next(), '2')
    assert.deepEqual(endings, [true, false])
  })

  it('refuses to send or to close with what no frame can hold', async () => {
    const errors: string[] = []
    const app = new Hono().get(
      '/',
      websocket({}, async (socket) => {
        const bad = [
          () => socket.send({ a: 1 } as never),
          () => socket.close(1005),
          () => socket.close(1000, 'x'.repeat(124)),
        ]
        for (const one of bad) {
          try {
            one()
          } catch (error) {
            errors.push((error as { code: string }).code)
          }
        }
      }),
    )
    await using at = await served(app)
    using client = await WsClient.connect(at.port)
    assert.equal((await client.end).code, 1000)
    assert.deepEqual(errors, ['ERR_BAD_OPTION', 'ERR_BAD_OPTION', 'ERR_BAD_OPTION'])
  })
})

describe('inject({ socket })', () => {
  it('shakes hands after everything is open, and closes when the handler has settled', async () => {
    const app = new Hono()
      .get('/:room', inject({ socket }), async (c) => {
        for await (const message of c.var.socket) {
          await c.var.socket.send(`${c.req.param('room')}: ${message as string}`)
          if (message === 'bye') return c.var.socket.ended()
        }
        return c.var.socket.ended()
      })
      .get('/throws/:room', inject({ socket }), () => {
        throw new Error('broken')
      })
      .onError((_, c) => c.text('never sent', 500))
    await using at = await served(app)
    assert.equal((await fetch(`${at.running.url}/red`)).status, 426)
    using client = await WsClient.connect(at.port, '/red')
    client.ws.send('hello')
    client.ws.send('bye')
    assert.deepEqual([await client.next(), await client.next()], ['red: hello', 'red: bye'])
    assert.equal((await client.end).code, 1000)
    using broken = await WsClient.connect(at.port, '/throws/red')
    assert.equal((await broken.end).code, 1011)
  })

  it('is there for the resources that stand on it, and answers 401 while nothing was sent', async () => {
    const seat = perRequest({ socket }, ({ socket }) => ({ say: (text: string) => socket.send(text) })) // oxfmt-ignore
    const user = perRequest({ socket }, () => {
      throw Object.assign(new Error('who?'), { getResponse: () => new Response('who?', { status: 401 }) }) // oxfmt-ignore
    })
    const app = new Hono()
      .get(
        '/',
        websocket({ seat }, async (_, { seat }) => void (await seat.say('hello'))),
      )
      .get('/injected', inject({ seat, socket }), async (c) => {
        await c.var.seat.say('hello')
        return c.var.socket.ended()
      })
      .get('/closed', inject({ user, socket }), (c) => c.var.socket.ended())
    await using at = await served(app)
    using one = await WsClient.connect(at.port)
    assert.equal(await one.next(), 'hello')
    using other = await WsClient.connect(at.port, '/injected')
    assert.equal(await other.next(), 'hello')
    assert.equal((await WsClient.refused(at.port, '/closed')).status, 401)
  })
})
