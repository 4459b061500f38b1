import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { ServiceEvent } from '../../src/base/events.ts'
import { bind, bindAll, type BindTarget } from '../../src/http/binding.ts'
import { HttpServer, type HttpServerOptions } from '../../src/http/server.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { drainLimits } from '../helpers/serving.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { describeEach } from '../helpers/ways.ts'

const free: BindTarget = { host: '127.0.0.1', port: 0 }
const portOf = (url: string): number => Number(new URL(url).port)

interface Several extends AsyncDisposable {
  readonly server: HttpServer
  readonly path: string
  readonly events: ServiceEvent[]
}

/** A server on two ports and a Unix socket. */
async function several(options: Partial<HttpServerOptions> = {}): Promise<Several> {
  const folder = temporaryFolder()
  const path = join(folder.path, 'a.sock')
  const events: ServiceEvent[] = []
  const handler: HttpServerOptions['handler'] = (_, response) => void response.end('answer')
  const server = new HttpServer({ handler, ...options, emit: (event) => void events.push(event) })
  await server.listen(...(await bindAll([free, free, { path }])))
  return {
    server,
    path,
    events,
    async [Symbol.asyncDispose]() {
      await server.close()
      folder[Symbol.dispose]()
    },
  }
}

function places({ server, path }: Several): (number | string)[] {
  const [first, second] = server.urls
  return [portOf(first!), portOf(second!), path]
}

describeEach('a server in several places', (way) => {
  const connect = (place: number | string): Promise<RawClient> =>
    RawClient.connect(place, { tls: way.isSecure })

  it('answers in each, and says where they are', async () => {
    await using serves = await several(way.options)
    assert.equal(serves.server.url, serves.server.urls[0])
    assert.match(
      serves.server.urls.join(' '),
      /^(https?:\/\/127\.0\.0\.1:\d+ ){2}unix:\/.*a\.sock$/,
    )
    for (const place of places(serves)) {
      using client = await connect(place)
      assert.equal((await client.request('GET /').response()).body, 'answer')
    }
    assert.equal(serves.server.served.requests, 3)
  })

  it('H3 closes them all once each of their queues is empty, in one drain', async () => {
    const gate = new Gate()
    const handler: HttpServerOptions['handler'] = async (_, response) => {
      await gate.opened
      response.end('answer')
    }
    await using serves = await several({ ...way.options, handler })
    const all = places(serves)
    const clients = await Promise.all(
      all.flatMap((place) => Array.from({ length: 20 }, () => connect(place))),
    )
    for (const client of clients) client.request('GET /')
    const drained = serves.server.drain(drainLimits())
    gate.open()
    for (const client of clients) {
      const { status, headers } = await client.response()
      assert.deepEqual([status, headers['connection']], [200, 'close'])
    }
    await drained
    for (const place of all) await assert.rejects(connect(place))
    assert.equal(existsSync(serves.path), false)
    assert.equal(serves.events.filter(({ type }) => type === 'listener.closed').length, 1)
    assert.equal(serves.server.served.cut, 0)
    for (const client of clients) client[Symbol.dispose]()
  })

  it('H3 closes each of two addresses of one port, with who waits at the other', async () => {
    const server = new HttpServer({
      handler: (_, response) => void response.end('answer'),
      ...way.options,
    })
    const [first] = await bindAll([free])
    const port = portOf(first!.describe())
    const second = await bind({ host: '127.0.0.2', port })
    await server.listen(first!, second)
    const began = performance.now()
    await server.drain(drainLimits())
    // Not the second that it may take where the queue never empties
    assert.ok(performance.now() - began < 500)
  })

  it('X2 counts the connections of all of them against the one limit', async () => {
    await using serves = await several({ ...way.options, limits: { connections: 2 } })
    const [first, second, third] = places(serves)
    using one = await connect(first!)
    using other = await connect(second!)
    assert.equal((await one.request('GET /').response()).status, 200)
    assert.equal((await other.request('GET /').response()).status, 200)
    using beyond = await RawClient.connect(third!)
    await beyond.closed
    assert.equal(beyond.received, '')
    assert.equal(serves.events.filter(({ type }) => type === 'warning').length, 1)
  })
})

describe('a server in several places', () => {
  it('listens in none when one of them cannot be listened on after all', async () => {
    const bindings = await bindAll([free, free])
    const taken = createServer().listen(portOf(bindings[1]!.describe()), '127.0.0.1')
    await once(taken, 'listening')
    const server = new HttpServer({ handler: () => {} })
    await assert.rejects(server.listen(...bindings), { code: 'ERR_LISTEN' })
    await assert.rejects(RawClient.connect(portOf(bindings[0]!.describe())))
    taken.close()
  })
})

describe('bindAll()', () => {
  it('L3 takes all of them or none: a port in use leaves nothing behind', async () => {
    using folder = temporaryFolder()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const path = join(folder.path, 'a.sock')
    const first = await bind(free)
    const taken = portOf(first.describe())
    await first.release()
    const wanted = [{ host: '127.0.0.1', port: taken }, { path }, { host: '127.0.0.1', port }]
    await assert.rejects(bindAll(wanted), { code: 'ERR_LISTEN', message: /the port is in use/ })
    assert.deepEqual(readdirSync(folder.path), [])
    const again = createServer().listen(taken, '127.0.0.1')
    await once(again, 'listening')
    again.close()
    other.close()
  })

  it('takes every address of a name, on one port', async () => {
    const bindings = await bindAll([{ host: 'localhost', port: 0 }])
    const urls = bindings.map((binding) => new URL(binding.describe()))
    assert.equal(urls[0]!.hostname, '127.0.0.1')
    assert.equal(new Set(urls.map(({ port }) => port)).size, 1)
    for (const { hostname } of urls) assert.match(hostname, /^(127\.0\.0\.1|\[::1\])$/)
    for (const binding of bindings) await binding.release()
  })

  for (const [one, other] of [
    ['127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '127.0.0.1'],
    ['127.0.0.1', '0.0.0.0'],
  ] as const) {
    it(`X1 refuses ${other} beside ${one} on one port: the kernel would notice only later`, async () => {
      const first = await bind({ host: one, port: 0 })
      const port = portOf(first.describe())
      await first.release()
      const wanted = [
        { host: one, port },
        { host: other, port },
      ]
      await assert.rejects(bindAll(wanted), { code: 'ERR_LISTEN', message: /given as well/ })
    })
  }
})
