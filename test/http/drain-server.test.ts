import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import http2 from 'node:http2'
import { createServer as createSecureServer } from 'node:https'
import net, { type AddressInfo, type Server } from 'node:net'
import { describe, it } from 'node:test'
import tls from 'node:tls'
import { drain, prepare, type DrainableServer } from '../../src/http/index.ts'
import { issue } from '../helpers/certificates.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { turns, within } from '../helpers/within.ts'

const answer: RequestListener = (_, response) => void response.end('answer')

describe('drain() of a server that somebody else has made', () => {
  for (const when of ['prepared', 'not prepared'] as const) {
    describe(when, () => {
      const made =
        when === 'prepared' ? prepared : <S extends DrainableServer>(server: S): S => server

      it('answers what is under way, and says that it was the last', async () => {
        const gate = new Gate()
        const server = made(createServer(gated(gate)))
        const port = await listen(server)
        using client = await RawClient.connect(port)
        client.request('GET /slow?secret=1')
        await once(server, 'request')
        const drained = drain(server)
        await turns(5)
        gate.open()
        const { status, headers, body } = await client.response()
        assert.deepEqual([status, body], [200, 'waited'])
        if (when === 'prepared') assert.equal(headers['connection'], 'close')
        client.destroy()
        const { took, ...report } = await drained
        assert.deepEqual(report, { finished: 1, cut: [], left: 0, refused: 0 })
        assert.ok(took < 1_000, `took ${took} ms`)
      })

      it('H11 answers every request of a pipeline that was begun before', async () => {
        const gate = new Gate()
        const server = made(createServer(gated(gate)))
        const port = await listen(server)
        using client = await RawClient.connect(port)
        client.request('GET /1').request('GET /2').request('GET /3')
        await once(server, 'request')
        await turns(5)
        const drained = drain(server)
        gate.open()
        const answers = [await client.response(), await client.response(), await client.response()]
        assert.deepEqual(
          answers.map(({ status }) => status),
          [200, 200, 200],
        )
        client.destroy()
        assert.equal((await drained).finished, 3)
      })

      it('gives an idle connection its window, and emits close', async () => {
        const server = made(createServer(answer))
        const port = await listen(server)
        using client = await RawClient.connect(port)
        await client.request('GET /').response()
        const closed = once(server, 'close')
        const drained = drain(server, { idle: '5s' })
        await turns(10)
        const last = await client.request('GET /').response()
        assert.equal(last.headers['connection'], 'close')
        await drained
        await within(2_000, closed, 'the event close')
      })

      it('names what it cuts, with what of it was sent', async () => {
        const server = made(
          createServer((request, response) => {
            if (request.url!.startsWith('/stream')) response.write('a'.repeat(1_000))
          }),
        )
        const port = await listen(server)
        using streams = await RawClient.connect(port)
        streams.request('GET /stream?q=1')
        await streams.sees('aaa')
        using waits = await RawClient.connect(port)
        waits.request('POST /hang')
        await once(server, 'request')
        const report = await drain(server, { within: '300ms' })
        assert.equal((await waits.response()).status, 503)
        assert.equal(report.finished, 0)
        const [handler, response] = report.cut.toSorted((a, b) => a.phase.localeCompare(b.phase))
        assert.deepEqual(
          [handler!.method, handler!.path, handler!.phase],
          ['POST', '/hang', 'handler'],
        )
        assert.deepEqual([response!.path, response!.phase], ['/stream', 'response'])
        if (when === 'prepared') assert.ok(response!.bytes! > 1_000, `${response!.bytes} bytes`)
        else assert.equal(response!.bytes, undefined)
      })

      it('completes a response over TLS', async () => {
        const gate = new Gate()
        const { cert, key } = issue()
        const server = made(createSecureServer({ cert, key }, gated(gate)))
        const port = await listen(server)
        const socket = tls.connect({ port, ca: cert })
        await once(socket, 'secureConnect')
        using client = new RawClient(socket, socket, false)
        client.request('GET /')
        await once(server, 'request')
        const drained = drain(server)
        await turns(5)
        gate.open()
        assert.equal((await client.response()).body, 'waited')
        client.destroy()
        assert.equal((await drained).finished, 1)
      })

      for (const api of ['request', 'stream'] as const) {
        it(`completes the streams of HTTP/2, and names those that do not end (event ${api})`, async () => {
          const gate = new Gate()
          const server = made(http2.createServer())
          if (api === 'request') server.on('request', gated(gate))
          else server.on('stream', streamGated(gate))
          const port = await listen(server)
          const session = http2.connect(`http://127.0.0.1:${port}`)
          const [whole, endless] = ['/whole', '/endless'].map((path) =>
            session.request({ ':path': path }),
          )
          await once(endless!, 'response')
          endless!.on('error', () => {}).resume()
          const drained = drain(server, { within: '500ms' })
          await once(session, 'goaway')
          gate.open()
          const body = await text(whole!)
          const { cut, finished } = await drained
          assert.equal(body, 'waited')
          assert.equal(finished, 1)
          assert.deepEqual(
            cut.map(({ phase }) => phase),
            ['response'],
          )
          if (api === 'request' || when === 'prepared') assert.equal(cut[0]!.path, '/endless')
        })
      }
    })
  }

  it('has handshakes that are under way bounded, when it was prepared', async () => {
    const { cert, key } = issue()
    const server = prepared(createSecureServer({ cert, key }, answer))
    const port = await listen(server)
    const socket = net.connect(port)
    await once(server, 'connection')
    const { cut, took } = await drain(server, { within: '800ms' })
    assert.deepEqual(cut, [])
    assert.ok(took < 1_500, `took ${took} ms`)
    socket.destroy()
  })

  it('W5 answers an upgrade 503 while it drains, and names an upgraded connection that nobody ends', async () => {
    const server = prepared(createServer(answer))
    server.on(
      'upgrade',
      (_, socket) => void socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'),
    )
    const port = await listen(server)
    const upgrade = 'GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n'
    using upgraded = (await RawClient.connect(port)).send(upgrade)
    await upgraded.sees('101')
    using late = await RawClient.connect(port)
    await late.request('GET /').response()
    const drained = drain(server, { within: '600ms', idle: '5s' })
    await turns(10)
    assert.equal((await late.send(upgrade).response()).status, 503)
    const { cut } = await drained
    assert.deepEqual(
      cut.map(({ path, phase }) => [path, phase]),
      [['/chat', 'upgraded']],
    )
  })

  it('refuses new requests when it is told to', async () => {
    const server = createServer(answer)
    const port = await listen(server)
    using client = await RawClient.connect(port)
    await client.request('GET /').response()
    const drained = drain(server, { refuse: true, idle: '5s' })
    await turns(10)
    const { status, headers } = await client.request('GET /').response()
    assert.deepEqual([status, headers['retry-after'], headers['connection']], [503, '1', 'close'])
    const { refused, finished } = await drained
    assert.deepEqual([refused, finished], [1, 0])
  })

  it('cuts at once what is left when its signal is aborted', async () => {
    const server = createServer(() => {})
    const port = await listen(server)
    using client = await RawClient.connect(port)
    client.request('GET /')
    await once(server, 'request')
    const force = new AbortController()
    const drained = drain(server, { signal: force.signal })
    await turns(5)
    force.abort()
    assert.equal((await client.response()).status, 503)
    assert.equal((await drained).cut.length, 1)
  })

  it('gives every caller the same promise, and ends at once where nothing listens', async () => {
    const server = createServer(answer)
    assert.equal(drain(server), drain(server))
    assert.equal((await drain(server)).finished, 0)
  })

  it('X1 refuses a server that listens again after it was drained', async () => {
    const server = createServer(answer)
    await listen(server)
    await drain(server)
    await listen(server)
    await refuses(() => drain(server), /^Cannot drain a server that was drained and listens again/)
    server.close()
  })

  it('H10 tells who waits, where the loop is so busy that the whole time is over at once', async () => {
    const server = createServer(() => {})
    const port = await listen(server)
    using client = await RawClient.connect(port)
    client.request('GET /')
    await once(server, 'request')
    const drained = drain(server, { within: '300ms' })
    for (const until = performance.now() + 310; performance.now() < until;);
    const { cut } = await drained
    assert.equal(cut.length, 1)
    assert.equal((await client.response()).status, 503)
  })

  it('goes on when its listener throws, and says so at the end', async () => {
    const server = createServer(() => {})
    const port = await listen(server)
    using client = await RawClient.connect(port)
    client.request('GET /')
    await once(server, 'request')
    const broken = new Error('broken')
    const on = (): void => {
      throw broken
    }
    await assert.rejects(drain(server, { within: '300ms', on }), broken)
    assert.equal((await client.response()).status, 503)
  })

  it('X1 refuses what is no server, and times that make no sense, in words', async () => {
    await refuses(() => drain({} as never), /^Cannot drain .*: it is no server, pass one of/)
    await refuses(async () => prepare(net.createServer() as never), /it is no server/)
    const server = createServer()
    await refuses(
      () => drain(server, { within: '1s', delay: '2s' }),
      /^Cannot drain within 1s with a delay of 2s/,
    )
    await refuses(() => drain(server, { within: 5 as never }), /"within": it is not a duration/)
    await refuses(() => drain(server, { signal: 5 as never }), /as "signal": pass an AbortSignal/)
    await refuses(() => drain(server, null as never), /as options: pass an object/)
  })
})

function refuses(drain: () => Promise<unknown>, message: RegExp): Promise<void> {
  return assert.rejects(drain, { code: 'ERR_BAD_OPTION', message })
}

function prepared<S extends DrainableServer>(server: S): S {
  prepare(server)
  return server
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Answers when the gate is open; `/endless` never ends. */
function gated(gate: Gate): RequestListener & ((...args: never[]) => void) {
  return async ({ url }, response) => {
    if (url === '/endless') return void response.write('a')
    await gate.opened
    response.end('waited')
  }
}

function streamGated(
  gate: Gate,
): (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void {
  return (stream, headers) => {
    stream.on('error', () => {}).respond({ ':status': 200 })
    if (headers[':path'] === '/endless') stream.write('a')
    else void gate.opened.then(() => stream.end('waited'))
  }
}

async function text(stream: http2.ClientHttp2Stream): Promise<string> {
  let all = ''
  for await (const chunk of stream.setEncoding('utf8')) all += chunk
  return all
}
