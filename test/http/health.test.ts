import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { HealthAnswer } from '../../src/http/health.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serving, type Serving } from '../helpers/serving.ts'

async function probed(report: () => HealthAnswer | Promise<HealthAnswer>): Promise<Serving> {
  const health = { live: '/livez', ready: '/readyz', report }
  return serving((_, response) => void response.end('of the app'), { health })
}

describe('the health probes', () => {
  it('P4 answers readiness by its report, and liveness always', async () => {
    let ready = true
    await using serves = await probed(() => ({ ready, body: { ready, pool: 'fine' } }))
    using client = await RawClient.connect(serves.port)
    const up = await client.request('GET /readyz').response()
    assert.equal(up.status, 200)
    assert.deepEqual(JSON.parse(up.body), { ready: true, pool: 'fine' })
    assert.equal(up.headers['cache-control'], 'no-store')
    assert.match(up.headers['content-type']!, /^application\/json/)
    ready = false
    assert.equal((await client.request('GET /readyz?verbose').response()).status, 503)
    assert.equal((await client.request('GET /livez').response()).status, 200)
    assert.equal(serves.server.served.requests, 0, 'probes are not counted')
  })

  it('P4 leaves every other path and method to the app', async () => {
    await using serves = await probed(() => ({ ready: true, body: null }))
    using client = await RawClient.connect(serves.port)
    for (const line of ['GET /', 'GET /readyzz', 'GET /ready', 'POST /readyz', 'GET /livez/']) {
      assert.equal((await client.request(line).response()).body, 'of the app', line)
    }
    assert.equal(serves.server.served.requests, 5)
  })

  it('P4 answers HEAD without a body', async () => {
    await using serves = await probed(() => ({ ready: true, body: { a: 1 } }))
    using client = await RawClient.connect(serves.port)
    client.request('HEAD /readyz')
    await client.sees('\r\n\r\n')
    assert.ok(client.received.startsWith('HTTP/1.1 200 '))
    assert.ok(client.received.endsWith('\r\n\r\n'))
  })

  it('P4 says close from the moment of the stop, as H1 says, and liveness stays 200', async () => {
    await using serves = await probed(() => ({ ready: false, body: null }))
    using first = await RawClient.connect(serves.port)
    using second = await RawClient.connect(serves.port)
    serves.server.stopping()
    const ready = await first.request('GET /readyz').response()
    assert.deepEqual([ready.status, ready.headers.connection], [503, 'close'])
    const live = await second.request('GET /livez').response()
    assert.deepEqual([live.status, live.headers.connection], [200, 'close'])
  })

  it('R16 is not ready when its report throws, and says why', async () => {
    await using serves = await probed(() => Promise.reject(new Error('no report')))
    using client = await RawClient.connect(serves.port)
    const { status, body } = await client.request('GET /readyz').response()
    assert.equal(status, 503)
    assert.doesNotMatch(body, /no report/)
    assert.equal(String((await serves.event('request.failed')).error), 'Error: no report')
  })

  it('is waited for by the drain like every request', async () => {
    const gate = new Gate<HealthAnswer>()
    const asked = new Gate()
    await using serves = await probed(() => {
      asked.open()
      return gate.opened
    })
    using client = await RawClient.connect(serves.port)
    client.request('GET /readyz')
    await asked.opened
    const drained = serves.drain()
    await serves.event('listener.closed')
    gate.open({ ready: false, body: null })
    assert.equal((await client.response()).status, 503)
    await drained
  })
})

describe('the server', () => {
  it('H19 keeps an idle connection for 75 s, and says so', async () => {
    await using serves = await serving((_, response) => void response.end())
    using client = await RawClient.connect(serves.port)
    const { headers } = await client.request('GET /').response()
    assert.equal(headers['keep-alive'], 'timeout=75')
  })

  it('says truthfully where it is reached', async () => {
    await using serves = await serving((_, response) => void response.end())
    assert.equal(serves.server.url, `http://127.0.0.1:${serves.port}`)
  })
})
