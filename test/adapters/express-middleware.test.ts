import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import express, { type RequestHandler } from 'express'
import { inject } from '../../src/adapters/express.ts'
import { addClientTests } from '../helpers/client-suite.ts'
import { listening, watchedHandler, watchedRequest } from '../helpers/door.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { expressMiddlewareDoor, expresses, onError, quiet } from '../helpers/express-door.ts'
import { settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { addBuiltinTests, addEveryRequestTests } from '../helpers/request-suite.ts'
import { addStopTests } from '../helpers/stop-suite.ts'
import { addStreamTests } from '../helpers/stream-suite.ts'
import { overHttp } from '../helpers/way.ts'
import { within } from '../helpers/within.ts'
import { addWritingTests } from '../helpers/writing-suite.ts'

for (const [name, make] of Object.entries(expresses)) {
  const door = expressMiddlewareDoor(name, make)
  addBuiltinTests(overHttp(door))
  addEveryRequestTests(overHttp(door))
  addWritingTests(door)
  addStreamTests(door)
}

// Express 4 does not tell when a handler has returned
const door = expressMiddlewareDoor('Express 5', express)
addScopeTests(overHttp(door))
addClientTests(door)
addStopTests(door)

describe('steward/express as a middleware, which Express tells of its handlers', () => {
  it('R11 ends the handler scope when the handler has returned, though it has answered before', async () => {
    const { resource: tx, closed, endings } = watchedHandler()
    const leave = new Gate()
    const app = express().use(inject({ tx }))
    app.post('/', async (_request, response) => {
      response.status(201).send('created')
      leave.open()
      await settled()
      assert.equal(closed.count, 0)
    })
    await using asking = await listening(app)
    assert.equal((await asking.ask('POST /')).status, 201)
    await leave.opened
    assert.deepEqual(endings, [{ ok: true, status: 201 }])
  })

  it('R11 forgets the answer of a handler that fails after it, and takes its work back', async () => {
    const { resource: tx, endings } = watchedHandler()
    const broken = new Error('too late')
    const app = express().use(inject({ tx }))
    app.post('/', async (_request, response) => {
      response.status(201).location('/1').send('created')
      await settled()
      throw broken
    })
    await using asking = await listening(quiet(app))
    const { status, body, headers } = await asking.ask('POST /')
    assert.deepEqual([status, body, headers['location']], [500, 'broken', undefined])
    assert.deepEqual(endings, [{ ok: false, error: broken, status: 500 }])
  })

  it('R11 takes the work of a handler back that failed, whatever its error handlers answer', async () => {
    const { resource: tx, closed, endings } = watchedHandler(settled)
    const { resource: unit, endings: requests } = watchedRequest()
    const broken = new Error('broken')
    const app = express().use(inject({ tx, unit }))
    app.get('/', (_request, _response, next) => next(broken))
    onError(app, (_error, response) => response.send('never mind'))
    await using asking = await listening(app)
    const { status, body } = await asking.ask('GET /')
    assert.deepEqual([status, body, closed.count], [200, 'never mind', 1])
    await asking.running.stop()
    assert.deepEqual(endings, [{ ok: false, error: broken, status: 200 }])
    assert.deepEqual(requests, [{ ok: false, error: broken, status: 200 }])
  })

  it('R10 waits for the handlers of an app inside the app', async () => {
    const { resource: tx, closed, endings } = watchedHandler()
    const [inHandler, leave] = [new Gate(), new Gate()]
    const inner = express().get('/', async (_request, response) => {
      inHandler.open()
      await leave.opened
      response.send('to nobody')
    })
    const app = express().use(inject({ tx }), express().use('/deep', inner))
    await using asking = await listening(app)
    const client = await RawClient.connect(asking.port)
    client.request('GET /deep')
    await within(2_000, inHandler.opened, 'the handler')
    client.reset()
    await client.closed
    await settled()
    assert.equal(closed.count, 0)
    leave.open()
    await within(2_000, closed.reached(1), 'the close')
    // As around a handler: it has come to its end
    assert.deepEqual(endings, [{ ok: true, status: 200 }])
  })

  it('does not wait for a middleware that waits for the end of the response', async () => {
    const { resource: tx, closed } = watchedHandler()
    const finished = new Gate()
    const waits: RequestHandler = async (_request, response, next) => {
      next()
      await once(response, 'finish')
      finished.open()
    }
    const app = express().use(waits, inject({ tx }), waits)
    app.get('/', async (_request, response) => void response.send('fine'))
    await using asking = await listening(app)
    assert.equal((await within(2_000, asking.ask('GET /'), 'the answer')).body, 'fine')
    await within(2_000, finished.opened, 'its end')
    assert.equal(closed.count, 1)
  })
})
