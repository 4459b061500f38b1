import type { Socket as NetSocket } from 'node:net'
import type { Release, World } from '../base/world.ts'

/** A connection that is looked after. */
export interface Patient {
  readonly raw: NetSocket
  /** Is it held back by us? Then nothing can be heard of it. */
  readonly isPaused: boolean
  ping(): void
  /** Nothing has come of it for too long. */
  dead(): void
}

interface Heard {
  readonly bytes: number
  readonly at: number
}

/** How often a connection is asked for a sign of life, and how long it may give none, in milliseconds. */
export interface PulseLimits {
  readonly every: number
  readonly limit: number
}

/**
 * Pings connections, and ends those of which nothing has come for too long: a peer whose network is gone sends no FIN. Every byte is a
 * sign of life. One timer for all of them, and none while there are none.
 */
export class Pulse {
  readonly #world: World
  readonly #limits: PulseLimits
  readonly #heard = new Map<Patient, Heard>()
  #release: Release | undefined

  constructor(world: World, limits: PulseLimits) {
    this.#world = world
    this.#limits = limits
  }

  /** Looks after a connection, until it is to be left alone. */
  watch(patient: Patient): void {
    this.#heard.set(patient, { bytes: patient.raw.bytesRead, at: Math.trunc(this.#world.now()) })
    this.#release ??= this.#again()
  }

  /** Looks after it no more. */
  leave(patient: Patient): void {
    this.#heard.delete(patient)
    if (this.#heard.size > 0) return
    this.#release?.()
    this.#release = undefined
  }

  #again(): Release {
    return this.#world.timer(this.#limits.every, () => this.#look(), 'idle')
  }

  #look(): void {
    const now = Math.trunc(this.#world.now())
    for (const [patient, heard] of this.#heard) {
      const bytes = patient.raw.bytesRead
      if (bytes !== heard.bytes || patient.isPaused) this.#heard.set(patient, { bytes, at: now })
      else if (now - heard.at >= this.#limits.limit) patient.dead()
      patient.ping()
    }
    this.#release = this.#heard.size > 0 ? this.#again() : undefined
  }
}
