import type { ServiceEvent } from '../../src/base/events.ts'
import type { Figures, FromWorker, ToWorker, Whereabouts } from '../../src/supervisor/messages.ts'
import { Supervisor } from '../../src/supervisor/supervisor.ts'
import type { SupervisorOptions, System } from '../../src/supervisor/system.ts'
import type { Child, Exit } from '../../src/supervisor/worker.ts'
import { FakeWorld } from './fake-world.ts'

/** What a worker tells that has nothing to do. */
const IDLE: Figures = {
  served: 0, connections: 0, underWay: 0, oldest: 0, busy: 0, delay: 0, heap: 1e6, rss: 5e7,
} // oxfmt-ignore

/** The process of a worker that does what a test says. Killed, it is gone at once, as the kernel does it. */
export class FakeChild implements Child {
  readonly pid: number
  readonly slot: number
  readonly generation: number
  readonly sent: ToWorker[] = []
  isGone = false
  isReady = false
  /** Does a debugger trace it, or has its inspector open? */
  isDebugged = false
  /** Where it is, if it is asked. */
  where: Whereabouts | Promise<Whereabouts> = { stack: '    at spin (app.ts:1:1)' }
  #onMessage: (message: FromWorker) => void = () => {}
  #onExit: (exit: Exit) => void = () => {}

  constructor(pid: number, { slot, generation }: { slot: number; generation: number }) {
    this.pid = pid
    this.slot = slot
    this.generation = generation
  }

  send(message: ToWorker): void {
    this.sent.push(message)
  }

  kill(): void {
    this.exit(null, 'SIGKILL')
  }

  async whereabouts(): Promise<Whereabouts> {
    return this.where
  }

  isTraced(): boolean {
    return this.isDebugged
  }

  onMessage(listener: (message: FromWorker) => void): void {
    this.#onMessage = listener
  }

  onExit(listener: (exit: Exit) => void): void {
    this.#onExit = listener
  }

  /** Was it asked to stop? */
  get isAsked(): boolean {
    return this.sent.some(({ t }) => t === 'stop')
  }

  say(message: FromWorker): void {
    if (!this.isGone) this.#onMessage(message)
  }

  ready(): void {
    this.isReady = true
    this.say({ t: 'ready' })
  }

  /** It tells how it does. */
  beat(figures: Partial<Figures> = {}, inspected = false): void {
    this.say({ t: 'beat', figures: { ...IDLE, ...figures }, inspected })
  }

  /** It stops in order, as it was asked to. */
  obey(code: 0 | 1 = 0): void {
    this.say({ t: 'closed', clean: code === 0 })
    this.exit(code)
  }

  exit(code: number | null, signal: string | null = null): void {
    if (this.isGone) return
    this.isGone = true
    this.#onExit({ code, signal })
  }
}

/** A supervisor in a world without processes. */
export class FakeSystem implements System {
  readonly world = new FakeWorld()
  readonly children: FakeChild[] = []
  /** What stands in for them. */
  readonly stubs: FakeChild[] = []
  readonly events: ServiceEvent[] = []
  released = 0
  readonly supervisor: Supervisor

  constructor(workers: number, options: Partial<SupervisorOptions> = {}) {
    const emit = (event: ServiceEvent): void => void this.events.push(event)
    const usual = { workers, emit, boot: 60_000, grace: 25_000, hang: 0 }
    this.supervisor = new Supervisor(this, { ...usual, ...options })
  }

  /** One whose workers are all ready. */
  static running(workers: number, options?: Partial<SupervisorOptions>): FakeSystem {
    const system = new FakeSystem(workers, options)
    system.supervisor.start()
    system.child(0).ready()
    for (const child of system.starting) child.ready()
    return system
  }

  spawn({ isStub, ...place }: Parameters<System['spawn']>[0]): FakeChild {
    const list = isStub ? this.stubs : this.children
    const child = new FakeChild((isStub ? 5_000 : 1_000) + list.length, place)
    list.push(child)
    return child
  }

  release(): void {
    this.released++
  }

  /** The worker that was spawned so many-th. */
  child(index: number): FakeChild {
    return this.children[index]!
  }

  get last(): FakeChild {
    return this.children.at(-1)!
  }

  /** Those that have a process. */
  get alive(): FakeChild[] {
    return this.children.filter(({ isGone }) => !isGone)
  }

  /** Time goes by, in which everybody lives who is ready, but these. */
  async live(ms: number, ...silent: FakeChild[]): Promise<void> {
    for (const until = this.world.now() + ms; this.world.now() < until;) {
      for (const child of this.alive) {
        if (child.isReady && !silent.includes(child)) child.beat()
      }
      await this.world.advance(Math.min(1_000, until - this.world.now()))
    }
  }

  /** Those that are to become ready. */
  get starting(): FakeChild[] {
    return this.alive.filter(({ isReady, isAsked }) => !isReady && !isAsked)
  }

  /** Those that serve, as slot and generation: `0.1`. */
  get serving(): string[] {
    const { workers } = this.supervisor
    const ready = workers.filter(({ state }) => state === 'ready')
    return ready.map(({ slot, generation }) => `${slot}.${generation}`).sort()
  }

  /** The names of what was told, of these if any are given. */
  names(...wanted: string[]): string[] {
    const names = this.events.map(({ type }) => type as string)
    return wanted.length > 0 ? names.filter((name) => wanted.includes(name)) : names
  }

  /** The last event of a type. */
  told<Type extends ServiceEvent['type']>(
    type: Type,
  ): Extract<ServiceEvent, { type: Type }> | undefined {
    const isOf = (event: ServiceEvent): event is Extract<ServiceEvent, { type: Type }> =>
      event.type === type
    return this.events.findLast(isOf)
  }
}
