import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { inject, response } from '../../src/adapters/node.ts'
import { perApp, perRequest } from '../../src/scope/resource.ts'
import { listening, watchedHandler, watchedRequest } from '../helpers/door.ts'
import { addClientTests } from '../helpers/client-suite.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { addBuiltinTests, addEveryRequestTests } from '../helpers/request-suite.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { nodeDoor } from '../helpers/node-door.ts'
import { failures, isOurs, overHttp } from '../helpers/way.ts'
import { addStopTests } from '../helpers/stop-suite.ts'
import { addStreamTests } from '../helpers/stream-suite.ts'
import { addWritingTests } from '../helpers/writing-suite.ts'
import { settled } from '../helpers/fake-world.ts'
import { errorOf } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

addScopeTests(overHttp(nodeDoor))
addBuiltinTests(overHttp(nodeDoor))
addEveryRequestTests(overHttp(nodeDoor))
addClientTests(nodeDoor)
addWritingTests(nodeDoor)
addStopTests(nodeDoor)
addStreamTests(nodeDoor)

describe('steward/node', () => {
  it('R11 holds a response in one piece, up to 1 MiB, until the handler scope has closed', async () => {
    const { resource: tx, closed } = watchedHandler(settled)
    const body = 'x'.repeat(1_048_576)
    await using asking = await listening(
      inject({ tx }, (_, response) => {
        response.setHeader('x-kept', 'yes')
        response.writeHead(201, 'Made', { 'content-type': 'text/plain' }).end(body)
        assert.equal(closed.count, 0)
      }),
    )
    const answer = await asking.ask('POST /')
    assert.equal(closed.count, 1)
    assert.equal(answer.status, 201)
    assert.equal(answer.body.length, body.length)
    assert.deepEqual(
      [answer.headers['x-kept'], answer.headers['content-type']],
      ['yes', 'text/plain'],
    )
  })

  it('R11 refuses to stream while a handler-scoped resource is open, naming it', async () => {
    const { resource: tx, endings } = watchedHandler()
    const streams: Record<string, (response: ServerResponse) => unknown> = {
      write: (response) => response.write('piece'),
      flushHeaders: (response) => response.flushHeaders(),
      pipe: (response) => Readable.from(['piece']).pipe(response),
      'more than 1 MiB': (response) => response.end('x'.repeat(1_048_577)),
    }
    for (const stream of Object.values(streams)) {
      await using asking = await listening(inject({ tx }, (_, response) => stream(response)))
      assert.equal((await asking.ask('GET /')).status, 500)
      const [failure] = failures(asking.events)
      assert.match(failure!.message, /^Cannot stream while "tx" is open: .*use perRequest/)
      const end = endings.at(-1)!
      assert.ok(isOurs('ERR_HANDLER_STREAMS', /"tx"/)(end.error))
    }
  })

  it('R11 holds nothing without handler-scoped resources', async () => {
    const { resource: unit } = watchedRequest()
    await using asking = await listening(
      inject({ unit }, async (_, response) => {
        response.write('one ')
        await settled()
        response.end('two')
      }),
    )
    assert.equal((await asking.ask('GET /')).body, 'one two')
  })

  it('R11 lets a handler answer after it has returned: the commit is done by then', async () => {
    const { resource: tx, closed } = watchedHandler()
    await using asking = await listening(
      inject({ tx }, (_, response) => {
        setImmediate(() => response.end(`committed ${closed.count}`))
      }),
    )
    assert.equal((await asking.ask('GET /')).body, 'committed 1')
  })

  it('R11 forgets a held answer when the handler throws after it', async () => {
    const { resource: tx, endings } = watchedHandler()
    await using asking = await listening(
      inject({ tx }, (_, response) => {
        response.writeHead(201, { location: '/1' }).end('created')
        throw new Error('too early')
      }),
    )
    const { status, headers } = await asking.ask('POST /')
    assert.deepEqual([status, headers['location']], [500, undefined])
    assert.equal(endings[0]!.ok, false)
  })

  it('R10 does not wait for a piped stream that goes on without its client', async () => {
    const { resource: unit, closed } = watchedRequest()
    const source = new PassThrough()
    await using asking = await listening(inject({ unit }, (_, response) => source.pipe(response)))
    using client = await RawClient.connect(asking.port)
    client.request('GET /')
    source.write('piece')
    await client.sees('piece')
    client.reset()
    await within(2_000, closed.reached(1), 'the close')
    assert.equal(source.destroyed, false)
  })

  it('R12 shares one handler scope and one request scope between nested listeners', async () => {
    const { resource: tx, opened, endings } = watchedHandler()
    const { resource: unit, opened: units } = watchedRequest()
    const inner = inject({ tx, unit }, (_, response, { tx }) => {
      response.end(`tx ${tx.id}`)
    })
    const outer = inject({ tx, unit }, async (request, response) => {
      await inner(request, response)
      assert.equal(endings.length, 0)
    })
    await using asking = await listening(outer)
    assert.equal((await asking.ask('GET /')).body, 'tx 1')
    assert.deepEqual([opened.count, units.count, endings.length], [1, 1, 1])
  })

  it('gives Node’s response as a resource', async () => {
    const stamp = perRequest({ response }, ({ response }) => response.setHeader('x-stamp', 'on'))
    await using asking = await listening(inject({ stamp }, (_, response) => response.end()))
    assert.equal((await asking.ask('GET /')).headers['x-stamp'], 'on')
  })

  it('answers with the status of an error that has one, and hides its message', async () => {
    const errors = [
      { thrown: { status: 404, message: 'no row in secrets' }, status: 404, error: 'Not Found' },
      {
        thrown: { status: 422, message: 'too long', expose: true },
        status: 422,
        error: 'too long',
      },
      { thrown: { status: 200, message: 'odd' }, status: 500, error: undefined },
    ]
    for (const { thrown, status, error } of errors) {
      await using asking = await listening(
        inject({}, () => {
          throw Object.assign(new Error(thrown.message), thrown)
        }),
      )
      const answer = await asking.ask('GET /')
      assert.equal(answer.status, status)
      if (error !== undefined) assert.deepEqual(JSON.parse(answer.body), { error })
    }
  })

  it('R14 says how to start a service where none runs', async () => {
    const listener = inject({ greeting: perApp(() => 'hello') }, () => {})
    const server = createServer()
    const request = { rawHeaders: [] as string[] } as IncomingMessage
    const error = await errorOf(listener(request, {} as never))
    server.close()
    assert.ok(isOurs('ERR_NO_SERVICE', /steward serve, .*put the listener into service/)(error))
  })

  it('refuses what is no handler at once', () => {
    assert.throws(() => inject({}, undefined as never), isOurs('ERR_BAD_OPTION', /undefined/))
  })
})
