import { checkClosing } from '../base/closing.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import type { Speaker } from './connections.ts'
import type { Traffic } from './traffic.ts'

/** How clients that stay for long are parted with, when the service stops. */
export interface Goodbye {
  /** The code of a WebSocket's Close frame (RFC 6455 §7.4). */
  readonly code: number
  readonly reason: string
  /** At once, in the place of one after the other. */
  readonly atOnce: boolean
}

/** What is said where nobody has said otherwise. */
export const GOING_AWAY: Goodbye = { code: 1001, reason: '', atOnce: false }

/** Could a stop be told so to close WebSockets? `undefined`: nothing was said. @throws `ERR_BAD_OPTION` */
export function checkGoodbye(goodbye: unknown): void {
  if (goodbye === undefined) return
  if (typeof goodbye !== 'object' || goodbye === null) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use ${describe(goodbye)} as "goodbye": pass an object, goodbye: { reason: 'back soon' }`,
    )
  }
  const { code = GOING_AWAY.code, reason = '' } = goodbye as { code?: number; reason?: string }
  checkClosing(code, reason)
}

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
 * Says goodbye to the client of everybody who speaks, in random order, evenly over min(1 ms × clients, a fifth of `left`). `left` is what is left of the drain, in milliseconds.
 */
export function sayGoodbyes(traffic: Traffic, left: number): Goodbyes {
  const { world, goodbye } = traffic
  const waiting = shuffled(traffic.speakers(), world.random)
  const count = waiting.length
  const over = goodbye.atOnce ? 0 : Math.min(APART * count, SHARE * left)
  const began = world.now()
  let release: Release = () => {}
  const tell = (until: number): void => {
    while (count - waiting.length < until) waiting.pop()!.goodbye(goodbye, traffic.ownTime)
  }
  const step = (): void => {
    const share = over === 0 ? 1 : Math.min(1, (world.now() - began + STEP) / over)
    tell(Math.ceil(count * share))
    if (waiting.length > 0) release = world.timer(STEP, step)
  }
  if (count > 0) {
    traffic.emit({ type: 'goodbye.started', clients: count, code: goodbye.code, over })
    step()
  }
  const stop = (): void => release()
  return { hurry: () => (stop(), tell(count)), stop }
}

function shuffled(speakers: Speaker[], random: () => number): Speaker[] {
  for (let last = speakers.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[speakers[last], speakers[other]] = [speakers[other]!, speakers[last]!]
  }
  return speakers
}
