// Programs that must compile, on every compiler of test/types.test.ts.
import {
  fake,
  keyed,
  open,
  per,
  perApp,
  perHandler,
  perRequest,
  request,
  run,
  type signal,
  type stopping,
  swap,
  type Context,
  type Duration,
  type Keyed,
  type Lease,
  type Live,
  type LiveScope,
  type Notebook,
  type Per,
  type RequestInfo,
  type Resource,
  type Run,
  type Used,
  type ValueOf,
} from 'steward'
import type { StandardSchemaV1 } from '@standard-schema/spec'

type Equal<A, B> =
  (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false
const is = <_Same extends true>(): void => {}

export class Pool {
  readonly url: string
  constructor(url: string) {
    this.url = url
  }
  async connect(): Promise<Client> {
    return new Client()
  }
  async end(): Promise<void> {}
  async ping(): Promise<boolean> {
    return true
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

export class Client {
  async query(sql: string): Promise<{ id: number; sql: string }[]> {
    return [{ id: 1, sql }]
  }
  release(_broken: boolean): void {}
}

// Every form of opener: the value's type is inferred, nothing is written down

export const config = perApp(() => ({ url: 'pg://', port: 3000 }))
is<Equal<typeof config, Resource<{ url: string; port: number }, 'app'>>>()

export const pool = perApp(
  { config },
  async function* ({ config }, { opening }) {
    is<Equal<typeof config, { url: string; port: number }>>()
    is<Equal<typeof opening, AbortSignal>>()
    const pool = new Pool(config.url)
    yield pool
    await pool.end()
  },
  { check: (pool) => pool.ping(), openTimeout: '5s', closeTimeout: '1.5m', critical: true },
)
is<Equal<typeof pool, Resource<Pool, 'app'>>>()

export const disposable = perApp({ config }, ({ config }) => new Pool(config.url), {
  dispose: true,
})
is<Equal<typeof disposable, Resource<Pool, 'app'>>>()

export const asyncValue = perApp({ pool }, async ({ pool }) => (await pool.connect()).query('x'))
is<Equal<typeof asyncValue, Resource<{ id: number; sql: string }[], 'app'>>>()

export const maybe = perApp(() => process.env['X'])
is<Equal<typeof maybe, Resource<string | undefined, 'app'>>>()

export const nothing = perApp(() => {})
is<Equal<typeof nothing, Resource<void, 'app'>>>()

export const callable = perApp(() => (id: string) => id.length)
is<Equal<typeof callable, Resource<(id: string) => number, 'app'>>>()

export const syncGenerator = perApp(function* () {
  yield new Map<string, number>()
})
is<Equal<typeof syncGenerator, Resource<Map<string, number>, 'app'>>>()

export const syncPromise = perApp(function* () {
  yield Promise.resolve(1)
})
is<Equal<typeof syncPromise, Resource<number, 'app'>>>()

export const branch = perApp({ config }, async function* ({ config }) {
  if (config.port > 1) yield { kind: 'a' as const }
  else yield { kind: 'b' as const }
})
is<Equal<typeof branch, Resource<{ kind: 'a' } | { kind: 'b' }, 'app'>>>()

interface Mailer {
  send(to: string): Promise<void>
}
export const mailer = perApp(async function* (): AsyncGenerator<Mailer> {
  yield { async send() {} }
})
is<Equal<typeof mailer, Resource<Mailer, 'app'>>>()
export const annotated: Resource<Mailer, 'app'> = perApp(() => ({ async send() {}, extra: 1 }))

// `use`, for callback APIs

const transaction = async <T>(work: (client: Client) => Promise<T>): Promise<T> =>
  work(new Client())

export const tx = perHandler({ pool }, (_, { use }) => transaction((client) => use(client)))
is<Equal<typeof tx, Resource<Client, 'handler'>>>()

export const alone = perRequest(async ({ use }) => transaction((client) => use(client)))
is<Equal<typeof alone, Resource<Client, 'request'>>>()

export const usedOrNot = perRequest(async (context: Context) => {
  is<Equal<ReturnType<typeof context.use<Client>>, Promise<Used<Client>>>>()
  return context.name
})
is<Equal<typeof usedOrNot, Resource<string, 'request'>>>()

// What yield gives

export const client = perHandler({ pool }, async function* ({ pool }) {
  const client = await pool.connect()
  const end = yield client
  is<Equal<typeof end.ok, boolean>>()
  is<Equal<typeof end.status, number | undefined>>()
  if (end.ok) is<Equal<typeof end.error, undefined>>()
  else is<Equal<typeof end.error, unknown>>()
  client.release(!end.ok)
})
is<Equal<typeof client, Resource<Client, 'handler'>>>()

export const ended = perRequest(function* () {
  const end = yield 1
  is<Equal<typeof end.ok, boolean>>()
})
is<Equal<typeof ended, Resource<number, 'request'>>>()

// Shorter-lived ones may stand on longer-lived ones, and on their own kind

export const session = perRequest({ pool, config }, ({ pool }) => ({ pool, n: 0 }))
export const step = perHandler({ session, pool, tx }, async function* ({ tx }) {
  yield tx
})
is<Equal<typeof step, Resource<Client, 'handler'>>>()

export const perJob = per('job', perApp)
export const perMessage = per('message', perHandler)
export const folder = perJob({ pool }, () => '/tmp')
is<Equal<typeof folder, Resource<string, 'job'>>>()
export const message = perMessage({ pool, session, tx }, ({ tx }) => tx)
is<Equal<typeof message, Resource<Client, 'message'>>>()

// What a resource needs beyond its scope travels with it

is<Equal<typeof request, Resource<RequestInfo, 'request', 'request'>>>()
export const user = perRequest({ request, pool }, ({ request }) =>
  request.headers.get('authorization'),
)
is<Equal<typeof user, Resource<string | null, 'request', 'request'>>>()
export const orders = perHandler({ user, tx }, ({ user }) => [user])
is<Equal<typeof orders, Resource<(string | null)[], 'handler', 'request'>>>()

// Built-in resources

is<Equal<typeof stopping, Resource<AbortSignal, 'app'>>>()
is<Equal<typeof signal, Resource<AbortSignal, 'request'>>>()
is<Equal<typeof run, Resource<Run, 'request'>>>()
export const batch = perRequest(
  { run },
  ({ run }) =>
    () =>
      run({ tx, user }, ({ tx }) => tx.query('x')),
)
is<Equal<ValueOf<typeof batch>, () => Promise<{ id: number; sql: string }[]>>>()

// keyed

export const tenants = keyed((tenant: string) => perApp({ config }, () => new Pool(tenant)), {
  idle: '5m',
})
is<Equal<typeof tenants, Resource<Keyed<string, Pool>, 'app'>>>()
export const tenant = perRequest({ tenants, request }, ({ tenants, request }, { use }) =>
  tenants.use(request.url.hostname, use),
)
is<Equal<typeof tenant, Resource<Pool, 'request', 'request'>>>()

// open, run, enter

export async function script(): Promise<void> {
  await using app = await open({ pool, asyncValue, tenants }, { closeTimeout: '5s' })
  is<Equal<typeof app.values.pool, Pool>>()
  is<Equal<typeof app.values.asyncValue, { id: number; sql: string }[]>>()
  const rows = await app.run({ tx, session, pool }, async ({ tx, session }) => {
    is<Equal<typeof tx, Client>>()
    return [session.n, await tx.query('x')] as const
  })
  is<Equal<typeof rows, readonly [number, { id: number; sql: string }[]]>>()
  is<Equal<Awaited<ReturnType<typeof syncWork>>, number>>()
  const syncWork = () => app.run({ folder }, ({ folder }) => folder.length)
  await using scope = app.enter(perRequest)
  is<Equal<typeof scope, LiveScope<'request', 'app' | 'request'>>>()
  const lease = await app.values.tenants.lease('acme')
  is<Equal<typeof lease, Lease<Pool>>>()
  const used = await app.values.tenants.use('acme', async (pool) => pool.url)
  is<Equal<typeof used, string>>()
}

// Overrides

const quiet: Mailer = { async send() {} }
export const overrides = [
  fake(mailer, quiet),
  fake(mailer, { async send() {}, sent: [] }),
  fake(config, { url: 'pg://test', port: 1 }),
  fake(tenants, (tenant) => new Pool(tenant)),
  fake(user, null),
  swap(mailer, annotated),
  swap(tx, alone),
  swap(
    session,
    perApp({ pool }, ({ pool }) => ({ pool, n: 1, more: true })),
  ),
]

// Durations

export const durations: Duration[] = ['250ms', '5s', '0.5m', '1h']

// Hover texts of the main functions: what an editor shows is what these say

is<Equal<ValueOf<typeof pool>, Pool>>()
is<Equal<Awaited<ReturnType<typeof open<{ pool: typeof pool }>>>, Live<{ pool: typeof pool }>>>()
is<Equal<typeof perApp, Per<'app', 'app'>>>()
is<Equal<typeof perRequest, Per<'request', 'app' | 'request'>>>()
is<Equal<typeof perHandler, Per<'handler', 'app' | 'request' | 'handler'>>>()
is<Equal<typeof perMessage, Per<'message', 'app' | 'request' | 'handler' | 'message'>>>()
is<Equal<Parameters<typeof fake>[0], Resource<unknown, string, string>>>()
is<Equal<Parameters<Keyed<string, Pool>['use']>[1], (value: Pool) => unknown>>()

// 600 resources cost the compiler no more than their number

const base = { config, pool, mailer, maybe, branch }
export const many = [
  perApp({ ...base }, (all) => all.pool),
  perRequest({ ...base, session, user }, (all) => all.session),
  perHandler({ ...base, session, user, tx }, (all) => all.tx),
]

// Notes: what is noted and what is settled are typed by the schema, in every form of opener

interface Taken {
  path: string
  at: string
}
export declare const taken: StandardSchemaV1<Taken, { path: string; at: Date }>

export const lock = perApp(
  async function* ({ journal }) {
    is<Equal<typeof journal, Notebook<Taken>>>()
    await journal.note({ path: 'shop.lock', at: 'now' })
    const end = yield 42
    if (end.ok) return
  },
  {
    exclusive: true,
    check: (value) => value.toFixed(),
    note: taken,
    recover: ({ path, at }, _deps, { attempt, opening }) => [
      path.length,
      at.getTime(),
      attempt,
      opening.aborted,
    ],
  },
)
is<Equal<typeof lock, Resource<number, 'app'>>>()

export const leased = perApp(
  { pool },
  async ({ pool }, { journal, use }) => {
    await journal.note({ path: pool.url, at: 'now' })
    return await use(pool.url)
  },
  { note: taken, recover: async ({ at }, { pool }) => [await pool.connect(), at.getTime()] },
)
is<Equal<typeof leased, Resource<string, 'app'>>>()

export const named = perApp(
  ({ journal, name }) => journal.note({ path: name, at: '' }).then(() => name),
  { note: taken, recover: () => {} },
)
is<Equal<typeof named, Resource<string, 'app'>>>()
