import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { run, signal } from '../../src/scope/builtin.ts'
import { perRequest } from '../../src/scope/resource.ts'
import { header, query, request } from '../../src/service/request.ts'
import { route, watchedHandler, watchedRequest } from './door.ts'
import { failures, Unauthorized, type Way } from './way.ts'

/** A Standard Schema by hand: wants `page` to be a number. */
export function pageSchema(
  how: 'sync' | 'async' = 'sync',
): StandardSchemaV1<{ page: string }, { page: number }> {
  const validate = (value: unknown): StandardSchemaV1.Result<{ page: number }> => {
    const page = Number((value as { page?: string }).page)
    return Number.isNaN(page)
      ? { issues: [{ message: 'is no number', path: ['page'] }] }
      : { value: { page } }
  }
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: how === 'sync' ? validate : async (value) => validate(value),
    },
  }
}

/** The built-in resources of a request. */
export function addBuiltinTests({ name, start }: Way): void {
  describe(`built-in resources, ${name}`, () => {
    it('gives the request in web types', async () => {
      await using asking = await start({
        '/': route({ request }, ({ request: { method, url, headers } }) => ({
          body: `${method} ${url.pathname} ${url.searchParams.get('a')} ${headers.has('x-none')}`,
        })),
      })
      assert.equal((await asking.ask('PUT /?a=1')).body, 'PUT / 1 false')
    })

    for (const how of ['sync', 'async'] as const) {
      it(`checks the query by a schema that is ${how}: a 400 names each issue`, async () => {
        const paging = query(pageSchema(how))
        const asking = await start({
          '/': route({ paging }, ({ paging }) => ({ body: `page ${paging.page + 1}` })),
        })
        assert.equal((await asking.ask('GET /?page=2')).body, 'page 3')
        const { status, headers, body } = await asking.ask('GET /?page=two')
        assert.equal(status, 400)
        assert.match(headers['content-type']!, /application\/json/)
        assert.deepEqual(JSON.parse(body), {
          error: 'Cannot use the query of the request: page: is no number',
          issues: [{ path: 'page', message: 'is no number' }],
        })
        await asking[Symbol.asyncDispose]()
        assert.deepEqual(
          failures(asking.events).map(({ path }) => path),
          [['paging']],
        )
      })
    }

    it('checks the headers by a schema', async () => {
      const paged = header(pageSchema())
      await using asking = await start({ '/': route({ paged }, () => ({ body: 'fine' })) })
      assert.equal((await asking.ask('GET /')).status, 400)
    })

    it('gives `run`: a handler scope for each piece of work', async () => {
      const { resource: tx, endings } = watchedHandler()
      await using asking = await start({
        '/': route({ run }, async ({ run }) => {
          const first = await run({ tx }, ({ tx }) => tx.id)
          await run({ tx }, () => Promise.reject(new Error('only this one'))).catch(() => {})
          return { body: `${first}` }
        }),
      })
      assert.equal((await asking.ask('GET /')).body, '1')
      assert.deepEqual(
        endings.map(({ ok }) => ok),
        [true, false],
      )
    })

    it('gives `signal`, which a request that ends well never aborts', async () => {
      const signals: AbortSignal[] = []
      const asking = await start({
        '/': route({ signal }, ({ signal }) => {
          signals.push(signal)
          return { body: 'fine' }
        }),
      })
      await asking.ask('GET /')
      await asking[Symbol.asyncDispose]()
      assert.equal(signals[0]!.aborted, false)
    })
  })
}

/** What is opened for every request, whatever the route; for ways that go through the service. */
export function addEveryRequestTests({ name, start }: Way): void {
  describe(`everyRequest, ${name}`, () => {
    it('opens for each request, whatever the route, and closes with it', async () => {
      const { resource: audit, opened, closed } = watchedRequest()
      const asking = await start({ '/': route({}, () => ({})) }, { everyRequest: { audit } })
      await asking.ask('GET /')
      await asking.ask('GET /elsewhere')
      await asking[Symbol.asyncDispose]()
      assert.deepEqual([opened.count, closed.count], [2, 2])
    })

    it('shares its request scope with the handler', async () => {
      const { resource: audit, opened } = watchedRequest()
      const routes = { '/': route({ audit }, () => ({})) }
      await using asking = await start(routes, { everyRequest: { audit } })
      await asking.ask('GET /')
      assert.equal(opened.count, 1)
    })

    it('answers with an error that says how, and does not call the app', async () => {
      let called = 0
      const guard = perRequest(async () => {
        throw new Unauthorized('who are you')
      })
      const routes = { '/': route({}, () => ({ body: `${++called}` })) }
      const asking = await start(routes, { everyRequest: { guard } })
      const { status, body } = await asking.ask('GET /')
      assert.deepEqual([status, body, called], [401, 'who are you', 0])
      await asking[Symbol.asyncDispose]()
      assert.deepEqual(failures(asking.events), [{ path: ['guard'], message: 'who are you' }])
    })

    it('answers 400 for a request that does not fit', async () => {
      const routes = { '/': route({}, () => ({})) }
      await using asking = await start(routes, { everyRequest: { paging: query(pageSchema()) } })
      assert.equal((await asking.ask('GET /?page=1')).status, 200)
      assert.equal((await asking.ask('GET /?page=one')).status, 400)
    })

    it('answers 500 for any other error, told once with its path', async () => {
      const guard = perRequest(() => {
        throw new Error('no database')
      })
      const routes = { '/': route({}, () => ({})) }
      const asking = await start(routes, { everyRequest: { guard } })
      const { status, body } = await asking.ask('GET /')
      assert.equal(status, 500)
      assert.doesNotMatch(body, /no database/)
      await asking[Symbol.asyncDispose]()
      assert.deepEqual(failures(asking.events), [{ path: ['guard'], message: 'no database' }])
    })
  })
}
