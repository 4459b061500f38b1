import type { Release } from '../base/world.ts'
import type { Connection } from './connections.ts'
import type { Traffic } from './traffic.ts'

/** How an upgraded connection is parted with, when the service stops. */
export interface Goodbye {
  /** The code of the Close frame (RFC 6455 §7.4). */
  readonly code: number
  readonly reason: string
  /** At once, in the place of one after the other. */
  readonly atOnce: boolean
}

/** What is said where nobody has said otherwise. */
export const GOING_AWAY: Goodbye = { code: 1001, reason: '', atOnce: false }

/** How long the goodbyes take: this much for each client, so that they do not all come back in the same moment. */
const APART = 1

/** At most this share of the drain. */
const SHARE = 0.2

/** How far apart two looks are, in milliseconds. */
const STEP = 10

/** Goodbyes that are being said. */
export interface Goodbyes {
  /** Says the rest now. */
  hurry(): void
  readonly stop: Release
}

/**
 * Says goodbye on every upgraded connection that has a speaker, in random order, evenly over min(1 ms × connections, a fifth of
 * `left`). `left` is what is left of the drain, in milliseconds.
 */
export function sayGoodbyes(traffic: Traffic, left: number): Goodbyes {
  const { world, goodbye } = traffic
  const speaking = [...traffic.connections].filter(({ upgraded }) => upgraded?.speaker)
  const waiting = shuffled(speaking, world.random)
  const count = waiting.length
  const over = goodbye.atOnce ? 0 : Math.min(APART * count, SHARE * left)
  const began = world.now()
  let release: Release = () => {}
  const tell = (until: number): void => {
    while (count - waiting.length < until) traffic.sayGoodbye(waiting.pop()!)
  }
  const step = (): void => {
    const share = over === 0 ? 1 : Math.min(1, (world.now() - began + STEP) / over)
    tell(Math.ceil(count * share))
    if (waiting.length > 0) release = world.timer(STEP, step)
  }
  if (count > 0) {
    traffic.emit({ type: 'goodbye.started', sockets: count, code: goodbye.code, over })
    step()
  }
  const stop = (): void => release()
  return { hurry: () => (stop(), tell(count)), stop }
}

function shuffled(connections: Connection[], random: () => number): Connection[] {
  for (let last = connections.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[connections[last], connections[other]] = [connections[other]!, connections[last]!]
  }
  return connections
}
