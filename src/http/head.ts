import type { OutgoingHttpHeader, ServerResponse } from 'node:http'

/** Forgets every header that was set, as if none ever had been: Node remembers a removal in fields of its own. */
export function clearHeaders(response: ServerResponse): void {
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  response.sendDate = true
  Object.assign(response, { _removedConnection: false, _removedContLen: false, _removedTE: false })
}

/** Sets headers in every form that `writeHead` takes: an object, `[name, value, …]`, `[[name, value], …]`. */
export function setHeaders(response: ServerResponse, headers: unknown): void {
  if (Array.isArray(headers)) return setPairs(response, pairsOf(headers))
  if (typeof headers !== 'object' || headers === null) return
  for (const [name, value] of Object.entries(headers)) {
    response.setHeader(name, value as OutgoingHttpHeader)
  }
}

type Pair = [name: string, value: string | string[]]

function setPairs(response: ServerResponse, pairs: Pair[]): void {
  for (const [name] of pairs) response.removeHeader(name)
  for (const [name, value] of pairs) response.appendHeader(name, value)
}

function pairsOf(headers: unknown[]): Pair[] {
  if (Array.isArray(headers[0])) return headers as Pair[]
  const names = headers.filter((_, index) => index % 2 === 0) as string[]
  return names.map((name, index) => [name, headers[index * 2 + 1] as string])
}
