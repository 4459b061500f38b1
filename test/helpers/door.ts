import type { ServiceEvent } from '../../src/base/events.ts'
import { perHandler, perRequest, type Ending, type Resource } from '../../src/scope/resource.ts'
import type { Resources, Values } from '../../src/scope/resource.ts'
import type { Running } from '../../src/service/running.ts'
import type { StartOptions } from '../../src/service/options.ts'
import { serve, start } from '../../src/service/serve.ts'
import { service, type ServedApp } from '../../src/service/service.ts'
import { Counter } from './gate.ts'
import { RawClient, type RawResponse } from './raw-client.ts'
import { within } from './within.ts'

/** What a handler answers, whatever the framework. A body in pieces is streamed. */
export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | AsyncIterable<string>
}

/** What a handler is asked, whatever the framework. */
export interface Asked {
  /** Reads the body. */
  text(): Promise<string>
}

/** A handler and what is injected into it. */
export interface Route {
  readonly wanted: Resources
  handle(values: Record<string, unknown>, asked: Asked): Answer | Promise<Answer>
}

export type Routes = Readonly<Record<string, Route>>

/** A route whose handler knows the types of its values. */
export function route<const Wanted extends Resources>(
  wanted: Wanted,
  handle: (values: Values<Wanted>, asked: Asked) => Answer | Promise<Answer>,
): Route {
  return { wanted, handle }
}

/** A service that runs, and how it is asked. */
export interface Asking extends AsyncDisposable {
  readonly running: Running
  readonly events: ServiceEvent[]
  /** Asks, and reads the whole answer: `ask('GET /orders')`. */
  ask(line: string, body?: string): Promise<RawResponse>
}

/** The same, over connections. */
export interface Listening extends Asking {
  readonly port: number
}

/** A framework's door, which puts handlers into an app. */
export interface Door {
  readonly name: string
  app(routes: Routes): ServedApp
}

/** More of a service than its app. */
export interface More extends Pick<StartOptions, 'with'> {
  everyRequest?: Resources
}

/** Serves an app on a port of its own. */
export async function listening(app: unknown, more: More = {}): Promise<Listening> {
  const events: ServiceEvent[] = []
  const { with: overrides = [], ...rest } = more
  const running = await serve(service({ app: app as ServedApp, ...(rest as {}) }), {
    port: 0,
    signals: false,
    with: overrides,
    on: (event) => events.push(event),
  })
  const port = Number(new URL(running.url).port)
  return {
    running,
    events,
    port,
    ask: async (line, body) => {
      using client = await RawClient.connect(port)
      return await client.request(line, body).response()
    },
    [Symbol.asyncDispose]: () => stopped(running),
  }
}

/** Runs an app without a listener; `how` asks it. */
export async function started(
  app: unknown,
  how: (running: Running, request: Request) => Promise<Response>,
  more: More = {},
): Promise<Asking> {
  const events: ServiceEvent[] = []
  const { with: overrides = [], ...rest } = more
  const running = await start(service({ app: app as ServedApp, ...(rest as {}) }), {
    with: overrides,
    on: (event) => events.push(event),
  })
  return {
    running,
    events,
    ask: async (line, body) => answered(await how(running, asRequest(line, body))),
    [Symbol.asyncDispose]: () => stopped(running),
  }
}

/** `GET /orders` as a web request. */
export function asRequest(line: string, body?: string): Request {
  const [method, path] = line.split(' ')
  return new Request(new URL(path!, 'http://localhost'), {
    method: method!,
    ...(body === undefined ? {} : { body }),
  })
}

async function answered(response: Response): Promise<RawResponse> {
  const headers = Object.fromEntries(response.headers)
  return { status: response.status, headers, body: await response.text() }
}

async function stopped(running: Running): Promise<void> {
  await within(8_000, running.stop('the test is over'), 'the stop')
}

/** Something that is opened and closed with a scope, and tells. */
export interface Unit {
  readonly id: number
}

/** A resource that tells of its life, for tests. */
export interface Watched<Scope extends string> {
  readonly resource: Resource<Unit, Scope>
  readonly opened: Counter
  readonly closed: Counter
  /** How its scopes ended, in order. */
  readonly endings: Ending[]
}

/** A resource of the request that is watched; `closing` runs when it closes. */
export function watchedRequest(closing: () => unknown = () => {}): Watched<'request'> {
  return watched((open) => perRequest(open), closing)
}

/** The same for the handler. */
export function watchedHandler(closing: () => unknown = () => {}): Watched<'handler'> {
  return watched((open) => perHandler(open), closing)
}

function watched<Scope extends string>(
  make: (open: () => AsyncGenerator<Unit, void, Ending>) => Resource<Unit, Scope>,
  closing: () => unknown,
): Watched<Scope> {
  const [opened, closed] = [new Counter(), new Counter()]
  const endings: Ending[] = []
  const resource = make(async function* () {
    opened.add()
    endings.push(yield { id: opened.count })
    closed.add()
    await closing()
  })
  return { resource, opened, closed, endings }
}
