// Every line that is marked must be refused on that line, with that text; no other line may be.
import { Hono } from 'hono'
import { hc } from 'hono/client'
import { per, perApp, perRequest, service } from 'steward'
import { context, inject, socket, websocket, type Injected } from 'steward/hono'
import { inject as injectIntoNode, response } from 'steward/node'
import { page, pool, seat, stamp, tx, user } from './hono-good.ts'

const perJob = per('job', perApp)
const folder = perJob(() => 'folder')
const app = new Hono()

// What the place cannot give
app.get('/', inject({ pool, folder }), (c) => c.text('')) // ✗ 'folder' is closed with its job, and a Hono handler has none
app.get('/', inject({ stamp }), (c) => c.text('')) // ✗ 'stamp' needs the Node response, and a Hono handler has none
app.get('/', inject({ response }), (c) => c.text('')) // ✗ 'response' needs the Node response, and a Hono handler has none
injectIntoNode({ page }, () => {}) // ✗ 'page' needs the Hono context, and a Node handler has none
injectIntoNode({ context }, () => {}) // ✗ 'context' needs the Hono context, and a Node handler has none
injectIntoNode({ folder }, () => {}) // ✗ 'folder' is closed with its job, and a Node handler has none
service({ app, everyRequest: { tx } }) // ✗ 'tx' is closed with its handler, and every request has none
service({ app, everyRequest: { page } }) // ✗ 'page' needs the Hono context, and every request has none
service({ app, resources: { user } }) // ✗ 'user' is closed with its request, and a service has none

// Resources that would outlive what they stand on
export const late = perRequest({ tx }, ({ tx }) => tx) // ✗ 'tx' is closed with its handler, but this request resource would still hold it

// What is no resource
app.get('/', inject({ pool: 42 }), (c) => c.text('')) // ✗ Type 'number' is not assignable to type
app.get('/', inject(pool), (c) => c.text('')) // ✗ is not assignable to

// What was not injected, and what was under another type
app.get('/', inject({ pool }), (c) => c.text(c.var.user)) // ✗ Property 'user' does not exist
app.get('/', inject({ pool }), (c) => c.text(c.var.pool)) // ✗ 'Pool' is not assignable to
app.get('/:id', inject({ pool }), (c) => c.text(c.req.param('name'))) // ✗ Type 'undefined' is not assignable to type 'string'
new Hono<Injected<{ pool: typeof pool }>>().get('/', (c) => c.text(c.var.user)) // ✗ Property 'user' does not exist

// RPC types are kept, not loosened
const api = new Hono().get('/orders', inject({ pool }), (c) => c.json({ count: 1 }))
const answer = await hc<typeof api>('').orders.$get()
export const count: string = (await answer.json()).count // ✗ Type 'number' is not assignable to type 'string'

// What it does once
service({ resources: { pool }, prepare: ({ pol }) => pol }) // ✗ Property 'pol' does not exist on type
service({ prepare: perRequest(() => 1) }) // ✗ is not assignable to type
// A connection lasts for hours: nothing of a handler is held as long
app.get('/', websocket({ tx }, async () => {})) // ✗ 'tx' is closed with its handler, and a WebSocket has none
app.get('/', inject({ socket, tx }), (c) => c.var.socket.ended()) // ✗ 'tx' is closed with its handler, and a Hono handler has none
app.get('/', websocket({ stamp }, async () => {})) // ✗ 'stamp' needs the Node response, and a WebSocket has none
service({ app, everyRequest: { seat } }) // ✗ 'seat' needs the WebSocket, and every request has none
injectIntoNode({ socket }, () => {}) // ✗ 'socket' needs the WebSocket, and a Node handler has none
app.get('/', websocket({}, async (socket) => void (await socket.send({})))) // ✗ is not assignable to
hc<typeof api>('').orders.$ws() // ✗ Property '$ws' does not exist
// Options are those of a WebSocket
app.get('/', inject({ pool }, { maxPayload: 1 }), (c) => c.text('')) // ✗ these are options of a WebSocket, and none is injected
app.get('/', inject({ socket }, { maxPayloads: 1 }), (c) => c.var.socket.ended()) // ✗ 'maxPayloads' does not exist in type 'WebSocketOptions'
app.get('/', inject({ seat }, { pingEvery: 5 }), (c) => c.text('')) // ✗ Type 'number' is not assignable to type
