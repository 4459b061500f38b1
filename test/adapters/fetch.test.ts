import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Visit } from '../../src/service/visit.ts'
import { listening, started, watchedRequest, type Door, type More } from '../helpers/door.ts'
import { addEveryRequestTests } from '../helpers/request-suite.ts'
import { byFetch, failures, overHttp, Unauthorized } from '../helpers/way.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { within } from '../helpers/within.ts'

/** An app by hand: an object with `fetch`, without a framework. */
const door: Door = {
  name: '{ fetch }',
  app: (routes) => ({
    fetch: async (request) => {
      const route = routes[new URL(request.url).pathname]
      if (!route) return new Response(null, { status: 404 })
      const { status = 200, body = '' } = await route.handle({}, { text: () => request.text() })
      return new Response(body as string, { status })
    },
  }),
}

addEveryRequestTests(overHttp(door))
addEveryRequestTests(byFetch(door))

const ways = {
  'over HTTP': (fetch: unknown, more?: More) => listening({ fetch }, more),
  'by running.fetch': (fetch: unknown, more?: More) =>
    started({ fetch }, (running, asked) => running.fetch(asked), more),
}

for (const [name, start] of Object.entries(ways)) {
  describe(`{ fetch } ${name}`, () => {
    it('answers what fetch answers, at once or later', async () => {
      const fetch = (request: Request): Response | Promise<Response> =>
        request.url.endsWith('/later')
          ? Promise.resolve(new Response('later'))
          : new Response('at once')
      await using asking = await start(fetch)
      assert.equal((await asking.ask('GET /')).body, 'at once')
      assert.equal((await asking.ask('GET /later')).body, 'later')
    })

    it('answers 500 for what it throws or rejects with, told once, without its message', async () => {
      const fetch = (request: Request): Promise<Response> => {
        if (request.url.endsWith('/later')) return Promise.reject(new Error('a secret'))
        throw new Error('a secret')
      }
      const asking = await start(fetch)
      for (const line of ['GET /', 'GET /later']) {
        const { status, body } = await asking.ask(line)
        assert.equal(status, 500)
        assert.doesNotMatch(body, /secret/)
      }
      await asking[Symbol.asyncDispose]()
      const failure = { path: [], message: 'a secret' }
      assert.deepEqual(failures(asking.events), [failure, failure])
    })

    it('answers with what an error says, and does not tell: it is an answer', async () => {
      const fetch = (): Response => {
        throw new Unauthorized('who are you')
      }
      await using asking = await start(fetch)
      const { status, body } = await asking.ask('GET /')
      assert.deepEqual([status, body], [401, 'who are you'])
      assert.deepEqual(failures(asking.events), [])
    })

    it('answers 500, and says why, when fetch gives no response', async () => {
      const asking = await start((request: Request) =>
        request.url.endsWith('/later') ? Promise.resolve(undefined) : undefined,
      )
      assert.equal((await asking.ask('GET /')).status, 500)
      assert.equal((await asking.ask('GET /later')).status, 500)
      await asking[Symbol.asyncDispose]()
      const said = failures(asking.events).map(({ message }) => message)
      assert.equal(said.length, 2)
      assert.match(said[0]!, /^Cannot answer: the app's fetch gave undefined, return a Response$/)
    })

    it('is given an execution context, whose work is waited for', async () => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const asking = await start((_: Request, _env: unknown, execution: Visit) => {
        execution.waitUntil(promise)
        execution.passThroughOnException()
        return Response.json(execution.props)
      })
      assert.equal((await asking.ask('GET /')).body, '{}')
      assert.equal(asking.running.state, 'running')
      const stopped = asking.running.stop()
      resolve()
      assert.equal((await within(4_000, stopped, 'the stop')).clean, true)
    })
  })
}

describe('{ fetch }', () => {
  it('answers 400 for a request whose Host is none, and opens nothing', async () => {
    const { resource: audit, opened } = watchedRequest()
    await using asking = await listening(
      { fetch: () => new Response('fine') },
      { everyRequest: { audit } },
    )
    using client = await RawClient.connect(asking.port)
    client.send('GET / HTTP/1.1\r\nHost: a b/?\r\n\r\n')
    assert.equal((await client.response()).status, 400)
    assert.equal(opened.count, 0)
  })
})
