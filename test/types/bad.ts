// Every line that is marked must be refused on that line, with that text; no other line may be.
import { fake, keyed, open, per, perApp, perHandler, perRequest, request, run, swap, type Duration, type Resource } from 'steward'
import { config, folder, mailer, orders, perJob, pool, session, taken, tenants, tx, user } from './good.ts'

// A resource that would outlive what it stands on
export const a1 = perApp({ pool, tx }, ({ tx }) => tx) // ✗ 'tx' is closed with its handler, but this app resource would still hold it
export const a2 = perApp({ pool, session }, async function* ({ session }) { yield session }) // ✗ 'session' is closed with its request, but this app resource would still hold it
export const a3 = perRequest({ pool, tx }, function* ({ tx }) { yield tx }) // ✗ 'tx' is closed with its handler, but this request resource would still hold it
export const a4 = perJob({ session }, ({ session }) => session) // ✗ 'session' is closed with its request, but this job resource would still hold it
export const a5 = perRequest({ folder }, ({ folder }) => folder) // ✗ 'folder' is closed with its job, but this request resource would still hold it
export const a6 = keyed((id: string) => perApp({ session }, () => id)) // ✗ 'session' is closed with its request
export const a7 = await open({ tx }) // ✗ 'tx' is closed with its handler, but this app resource would still hold it
export const a8 = await open({ pool, session }) // ✗ 'session' is closed with its request

// Needs that the place does not meet
const app = await open({ pool })
export const b1 = await app.run({ user }, ({ user }) => user) // ✗ 'user' needs the request, and this scope has none
export const b2 = await app.run({ pool, orders }, ({ orders }) => orders) // ✗ 'orders' needs the request, and this scope has none
export const b3 = await app.enter(perRequest).run({ request }, () => 1) // ✗ 'request' needs the request, and this scope has none
export const b4 = perRequest({ run }, ({ run }) => run({ folder }, () => 1)) // ✗ 'folder' is closed with its job, and a piece of work has none

// What is no resource
export const c1 = perApp({ x: 42 }, ({ x }) => x) // ✗ Type 'number' is not assignable to type
export const c2 = await open({ x: 'text' }) // ✗ Type 'string' is not assignable to type
export const c3 = await open(pool) // ✗ is not assignable to
export const c4 = perApp(pool, () => 1) // ✗ is not assignable to

// Cycles
export const d1 = perApp({ d2 }, ({ d2 }) => d2) // ✗ Block-scoped variable 'd2' used before its declaration
export const d2 = perApp({ d1 }, ({ d1 }) => d1) // ✗ 'd2' implicitly has type 'any'

// Values are of their type
export const e1 = perRequest({ pool }, ({ pool }) => pool.nope()) // ✗ Property 'nope' does not exist on type 'Pool'
export const e2 = perRequest({ pool }, ({ pol }) => pol) // ✗ Property 'pol' does not exist on type
export const e3 = perApp(() => 42, { check: (n: string) => n }) // ✗ No overload matches this call
export const e4 = perApp(async function* () { yield 42 }, { check: (n: string) => n }) // ✗ No overload matches this call
export const e5 = perApp({ pool }, async function* ({ pool }) { const end: string = yield pool }) // ✗ a resource generator yields its value once and gets an Ending back from yield
export const e6 = app.values.config // ✗ Property 'config' does not exist
export const e7: Resource<string, 'app'> = config // ✗ is not assignable to type 'string'
export const e8: Resource<unknown, 'app'> = tx // ✗ Type '"handler"' is not assignable to type '"app"'

// Options
export const f1 = perApp(() => 1, { openTimeout: 5000 }) // ✗ No overload matches this call
export const f2 = perApp(() => 1, { openTimeout: '5 seconds' }) // ✗ No overload matches this call
export const f3 = perApp(() => 1, { opentimeout: '5s' }) // ✗ No overload matches this call
export const f4: Duration = 1_000 // ✗ is not assignable to type 'Duration'
export const f5 = await open({ pool }, { closeTimeout: 5 }) // ✗ Type 'number' is not assignable to type
export const f6 = keyed(() => perApp(() => 1), { idle: 300 }) // ✗ Type 'number' is not assignable to type

// Generators
export const g1 = perApp(function* (): Generator<number, void, string> { yield 1 }) // ✗ a resource generator yields its value once and gets an Ending back from yield
export const g2 = perApp({ pool }, async function* (): AsyncGenerator<number, void, string> { yield 1 }) // ✗ a resource generator yields its value once and gets an Ending back from yield
export const g3 = perHandler(function* () { const end = yield 1; console.log(end.okay) }) // ✗ Property 'okay' does not exist on type 'Ending'

// keyed
export const h1 = keyed((id: string) => perRequest(() => id)) // ✗ Type '"request"' is not assignable to type '"app"'
export const h2 = keyed((id: string) => id) // ✗ is not assignable to type 'Resource<
export const h3 = perRequest({ tenants }, ({ tenants }) => tenants.use(42, (pool) => pool)) // ✗ Argument of type 'number' is not assignable to parameter of type 'string'

// Overrides
export const i1 = fake(pool, { nope: true }) // ✗ No overload matches this call
export const i2 = fake(config, { url: 'x' }) // ✗ No overload matches this call
export const i3 = fake(tenants, (id) => id.length) // ✗ No overload matches this call
export const i4 = swap(config, perRequest(() => ({ url: 'x', port: 1 }))) // ✗ the stand-in is closed with its request, the original with its app
export const i5 = swap(mailer, perApp(() => 42)) // ✗ is not assignable to type 'Mailer'
export const i6 = await open({ pool }, { with: [pool] }) // ✗ is missing in type
export const i7 = swap(user, tx) // ✗ the stand-in is closed with its handler, the original with its request

// Scopes
export const j1 = per('step', pool) // ✗ Property 'kind' is missing in type 'Resource<Pool
export const j2 = app.enter(pool) // ✗ Property 'kind' is missing in type 'Resource<Pool

// Notes
export const k1 = perApp(async ({ journal }) => journal.note({ path: 1, at: '' }), { note: taken, recover: () => {} }) // ✗ Type 'number' is not assignable to type 'string'
export const k2 = perApp(async ({ journal }) => journal.note({ path: '' })) // ✗ the options of this resource have no note: give a schema as note, and recover beside it
export const k3 = perApp(async ({ journal }) => journal.note({ path: '', at: '' }), { note: taken }) // ✗ note and recover go together: a schema of what is noted, and who settles it
export const k4 = perApp({ pool }, async (_deps, { journal }) => journal.note({ path: '', at: '' }), { note: taken }) // ✗ note and recover go together: a schema of what is noted, and who settles it
export const k5: Resource<number> = perApp(() => 1, { note: taken }) // ✗ note and recover go together: a schema of what is noted, and who settles it
export const k6: Resource<number> = perApp(() => 1, { recover: () => {} }) // ✗ note and recover go together: a schema of what is noted, and who settles it
export const k7 = perApp(() => 1, { recover: ({ path }) => path }) // ✗ note and recover go together: a schema of what is noted, and who settles it
export const k8 = perApp(() => 1, { note: taken, recover: ({ pth }) => pth }) // ✗ Property 'pth' does not exist on type '{ path: string; at: Date; }'
export const k9 = perApp({ pool }, ({ pool }) => pool, { note: taken, recover: (_note, { client }) => client }) // ✗ Property 'client' does not exist on type
export const k10 = perApp(() => 1, { note: 42, recover: () => {} }) // ✗ No overload matches this call
export const k11 = perRequest(async ({ journal }) => journal.note({ path: '', at: '' }), { note: taken, recover: () => {} }) // ✗ a request resource leaves no notes: what it takes must be noted by an app resource
export const k12: Resource<number> = perHandler(() => 1, { note: taken, recover: () => {} }) // ✗ a handler resource leaves no notes: what it takes must be noted by an app resource
export const k13 = await open({ lock: perApp(() => 1, { note: taken }) }) // ✗ note and recover go together: a schema of what is noted, and who settles it
