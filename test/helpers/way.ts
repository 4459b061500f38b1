import { isStewardError } from '../../src/base/errors.ts'
import type { ServiceEvent } from '../../src/base/events.ts'
import { listening, started, type Asking, type Door, type More, type Routes } from './door.ts'

/** One way in which requests come to a door. */
export interface Way {
  readonly name: string
  start(routes: Routes, more?: More): Promise<Asking>
}

/** Over connections. */
export function overHttp(door: Door): Way {
  return {
    name: `${door.name} over HTTP`,
    start: (routes, more) => listening(door.app(routes), more),
  }
}

/** By `running.fetch`. */
export function byFetch(door: Door): Way {
  return {
    name: `${door.name} by running.fetch`,
    start: (routes, more) =>
      started(door.app(routes), (running, asked) => running.fetch(asked), more),
  }
}

/** An error that says how it is to be answered. */
export class Unauthorized extends Error {
  readonly status = 401

  getResponse(): Response {
    return new Response('who are you', { status: this.status })
  }
}

/** What was told as `request.failed`: by its path and the error's message. */
export function failures(
  events: readonly ServiceEvent[],
): { path: readonly string[]; message: string }[] {
  return events.flatMap((event) =>
    event.type === 'request.failed'
      ? [{ path: event.path, message: (event.error as Error).message }]
      : [],
  )
}

/** Is it one of ours with that code, and does it say so much? */
export function isOurs(code: string, says: RegExp): (error: unknown) => boolean {
  return (error) => isStewardError(error) && error.code === code && says.test(error.message)
}
