import type { Server } from 'node:tls'
import { describeError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import type { Release, World } from '../base/world.ts'
import { Certificate } from './certificates.ts'

/** How often the files are looked at, in milliseconds. */
const EVERY = 10_000

/** What became of the last look at the files. */
type State = { is: 'current' } | { is: 'doubtful' | 'refused'; because: string }

/**
 * Serves the certificate anew whenever its files have changed: new handshakes get the new one, open connections stay. What
 * cannot be used is not taken: the old one stays, and an event `warning` says why. Emits `certificate.reloaded`, and a
 * `warning` once the certificate comes near its end. The returned function ends it; it keeps no process alive.
 *
 * ```
 *             changed, and usable: certificate.reloaded
 *      ┌──────────────────────┬───────────────────────────┐
 *      ▼                      │                           │
 *  current ── changed, ──▶ doubtful ── still not at ──▶ refused
 *      ▲      not usable      │        the next look:     │
 *      │                      │        a warning, once    │
 *      └──────────────────────┴───────────────────────────┘
 *             as they were
 * ```
 *
 * The files are read, time and again, for what is in them. Nothing tells of a change reliably: renewals swap symbolic links (certbot)
 * or a folder above (Kubernetes), and network file systems tell nobody. Times and inodes, as `fs.watchFile` compares them, would
 * say that something has happened to one file, and not whether certificate and key belong together by now.
 */
export function keepRenewed(
  server: Pick<Server, 'setSecureContext'>,
  certificate: Certificate,
  { emit, world }: { emit: Emit; world: World },
): Release {
  const renewal = new Renewal(server, certificate, emit)
  let release: Release = () => {}
  const again = (): void => {
    if (renewal.isOver || !certificate.canChange) return
    // What is awaited here never rejects
    release = world.timer(EVERY, () => void renewal.look().then(again), 'idle')
  }
  renewal.warnOfEnd()
  again()
  return () => {
    renewal.isOver = true
    release()
  }
}

class Renewal {
  /** Nothing is told or served any more. */
  isOver = false
  readonly #server: Pick<Server, 'setSecureContext'>
  readonly #emit: Emit
  #current: Certificate
  #state: State = { is: 'current' }
  /** What was said about the validity of the current one. */
  #warned: string | undefined

  constructor(server: Pick<Server, 'setSecureContext'>, current: Certificate, emit: Emit) {
    this.#server = server
    this.#current = current
    this.#emit = emit
  }

  /** Looks at the files, and takes what is new. */
  async look(): Promise<void> {
    const found = await Certificate.load(this.#current.files).catch((error: unknown) => error)
    if (this.isOver) return
    if (!(found instanceof Certificate)) this.#doubt(describeError(found))
    else if (found.isSameAs(this.#current)) this.#state = { is: 'current' }
    else this.#take(found)
    this.warnOfEnd()
  }

  /** Says it once, for each certificate and each thing to be said. */
  warnOfEnd(): void {
    const message = this.#current.warning(Date.now())
    if (message !== undefined && message !== this.#warned) this.#emit({ type: 'warning', message })
    this.#warned = message
  }

  #take(found: Certificate): void {
    this.#server.setSecureContext(found.options)
    this.#current = found
    this.#state = { is: 'current' }
    const { files, subject, validTo } = found
    const event = { file: files.cert, subject, validTo: validTo.toISOString() }
    this.#emit({ type: 'certificate.reloaded', ...event })
  }

  /** Between two writes certificate and key may not fit, or one of them be half there: only what stays so is worth a word. */
  #doubt(because: string): void {
    const state = this.#state
    const isOld = state.is !== 'current' && state.because === because
    if (isOld && state.is === 'refused') return
    this.#state = { is: isOld ? 'refused' : 'doubtful', because }
    if (!isOld) return
    const message = `${because}; the certificate from before stays, it is valid until ${this.#current.validTo.toISOString()}`
    this.#emit({ type: 'warning', message })
  }
}
