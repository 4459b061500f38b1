import type { IncomingMessage } from 'node:http'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { StewardError } from '../base/errors.ts'
import { input } from '../scope/builtin.ts'
import { requestKind } from '../scope/kind.ts'
import { perRequest, type Resource } from '../scope/resource.ts'

/** The request of a request scope, in the web's types, whatever the framework. */
export interface RequestInfo {
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  /** The address of the client that is connected; empty where there is no connection. */
  readonly ip: string
  /** The path parameters of the route, where the framework has routes. */
  readonly params: Readonly<Record<string, string>>
}

/** The request that this scope is for. A scope without one (a script, a task) refuses what needs it, in words. */
export const request: Resource<RequestInfo, 'request', 'request'> = input(requestKind, 'request')

/**
 * The route's path parameters, checked by any Standard Schema (Zod, Valibot, ArkType).
 *
 * @throws `ERR_BAD_REQUEST` when it opens and they do not fit: a 400 that names each issue
 */
export function param<Schema extends StandardSchemaV1>(schema: Schema): Checked<Schema> {
  return checked('path parameters', schema, ({ params }) => params)
}

/**
 * The query, checked by any Standard Schema: a parameter given once is a string, several times an array.
 *
 * @throws `ERR_BAD_REQUEST` when it opens and it does not fit: a 400 that names each issue
 */
export function query<Schema extends StandardSchemaV1>(schema: Schema): Checked<Schema> {
  return checked('query', schema, ({ url }) => collect(url.searchParams))
}

/**
 * The request's headers, names in lower case, checked by any Standard Schema.
 *
 * @throws `ERR_BAD_REQUEST` when it opens and they do not fit: a 400 that names each issue
 */
export function header<Schema extends StandardSchemaV1>(schema: Schema): Checked<Schema> {
  return checked('headers', schema, ({ headers }) => Object.fromEntries(headers))
}

/** A resource of what a schema made of a part of the request. */
export type Checked<Schema extends StandardSchemaV1> = Resource<
  StandardSchemaV1.InferOutput<Schema>,
  'request',
  'request'
>

/** A request that does not fit its schema: frameworks that know `getResponse` or `status` answer 400 by themselves. */
export class BadRequest extends StewardError {
  readonly status = 400
  /** The same, under the name that Nest and Fastify look for first. */
  readonly statusCode = 400
  /** What is wrong, by path. */
  readonly issues: readonly { readonly path: string; readonly message: string }[]

  constructor(part: string, issues: BadRequest['issues']) {
    const list = issues
      .map(({ path, message }) => (path ? `${path}: ${message}` : message))
      .join('; ')
    super('ERR_BAD_REQUEST', `Cannot use the ${part} of the request: ${list}`)
    this.issues = issues
  }

  getResponse(): Response {
    return Response.json({ error: this.message, issues: this.issues }, { status: this.status })
  }
}

function checked<Schema extends StandardSchemaV1>(
  part: string,
  schema: Schema,
  read: (request: RequestInfo) => unknown,
): Checked<Schema> {
  if (typeof schema?.['~standard']?.validate !== 'function') {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot check the ${part}: what was given is no Standard Schema, pass one of Zod, Valibot or ArkType`,
    )
  }
  const { validate } = schema['~standard']
  const judge = (
    result: StandardSchemaV1.Result<unknown>,
  ): StandardSchemaV1.InferOutput<Schema> => {
    if (result.issues) throw new BadRequest(part, result.issues.map(plain))
    return result.value
  }
  const open = ({ request }: { request: RequestInfo }): unknown => {
    const result = validate(read(request))
    return result instanceof Promise ? result.then(judge) : judge(result)
  }
  return perRequest({ request }, open)
}

function plain(issue: StandardSchemaV1.Issue): { path: string; message: string } {
  const path =
    issue.path?.map((part) => String(typeof part === 'object' ? part.key : part)).join('.') ?? ''
  return { path, message: issue.message }
}

function collect(search: URLSearchParams): Record<string, string | string[]> {
  const values: Record<string, string | string[]> = {}
  for (const key of search.keys()) {
    const all = search.getAll(key)
    values[key] = all.length > 1 ? all : all[0]!
  }
  return values
}

/** Where a request's path parameters are known: asked when somebody reads them, since routes match one after the other. */
export interface Routed {
  readonly params: Readonly<Record<string, string>>
}

/** The request in the web's types, as Node or the web has received it. */
export function requestInfoOf(source: IncomingMessage | Request, routed: Routed): RequestInfo {
  // Not `instanceof`: the server's adapter puts a class of its own in the place of Request, and HTTP/2 has another one than Node's
  return 'rawHeaders' in source
    ? new NodeRequestInfo(source, routed)
    : new WebRequestInfo(source, routed)
}

/** What Node received: each part is made when somebody asks for it. */
class NodeRequestInfo implements RequestInfo {
  readonly #incoming: IncomingMessage
  readonly #routed: Routed
  #url: URL | undefined
  #headers: Headers | undefined

  constructor(incoming: IncomingMessage, routed: Routed) {
    this.#incoming = incoming
    this.#routed = routed
  }

  get method(): string {
    return this.#incoming.method ?? 'GET'
  }

  get url(): URL {
    return (this.#url ??= urlOf(this.#incoming))
  }

  get headers(): Headers {
    return (this.#headers ??= headersOf(this.#incoming))
  }

  get ip(): string {
    return this.#incoming.socket.remoteAddress ?? ''
  }

  get params(): Readonly<Record<string, string>> {
    return this.#routed.params
  }
}

function urlOf({ socket, headers, url = '/' }: IncomingMessage): URL {
  const scheme = 'encrypted' in socket ? 'https' : 'http'
  // HTTP/2 says the host in a field of its own (RFC 9113 §8.3.1)
  const host = headers[':authority'] ?? headers.host ?? 'localhost'
  const base = `${scheme}://${String(host)}`
  // A path that begins with two slashes is no host
  const target = url.startsWith('/') ? base + url : url
  return URL.parse(target, base) ?? new URL('http://localhost/')
}

function headersOf({ rawHeaders, headers: named }: IncomingMessage): Headers {
  const headers = new Headers()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name, value] = [rawHeaders[index]!, rawHeaders[index + 1]!]
    if (!name.startsWith(':')) headers.append(name, value)
    else if (name === ':authority' && !named.host) headers.set('host', value)
  }
  return headers
}

/** A web request. Without a connection there is no address. */
class WebRequestInfo implements RequestInfo {
  readonly #request: Request
  readonly #routed: Routed
  #url: URL | undefined

  constructor(request: Request, routed: Routed) {
    this.#request = request
    this.#routed = routed
  }

  get method(): string {
    return this.#request.method
  }

  get url(): URL {
    return (this.#url ??= new URL(this.#request.url))
  }

  get headers(): Headers {
    return this.#request.headers
  }

  get ip(): string {
    return ''
  }

  get params(): Readonly<Record<string, string>> {
    return this.#routed.params
  }
}
