import { once } from 'node:events'
import type { Server } from 'node:net'

/** How many connections the kernel queues by default until they are accepted. */
export const BACKLOG = 2048

/** Calls `listen`, and waits until the server listens; rejects with the error that keeps it from doing so. */
export async function listening(server: Server, listen: () => void): Promise<void> {
  const ready = once(server, 'listening')
  listen()
  await ready
}
