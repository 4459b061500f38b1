/** A message as it came: text is a string, everything else its bytes. */
export type Message = string | Uint8Array

/** How much may wait to be read before the client is held back: messages, and their bytes or characters. */
const MESSAGES = 256
const SIZE = 65_536

/** Holds the client back, and lets it go on. */
export interface Tap {
  pause(): void
  resume(): void
}

/** What has come and was not read yet, in order. Whoever reads more slowly than the client sends holds it back. */
export class Inbox {
  readonly #tap: Tap
  readonly #queue: Message[] = []
  #size = 0
  #isPaused = false
  #isOver = false
  /** Those who wait for a message, the first one first. Hardly ever more than one, in every socket that is idle. */
  #readers: readonly ((result: IteratorResult<Message, undefined>) => void)[] = []

  constructor(tap: Tap) {
    this.#tap = tap
  }

  /** Is the client held back? */
  get isPaused(): boolean {
    return this.#isPaused
  }

  /** A message has come. */
  push(message: Message): void {
    const reader = this.#readers[0]
    if (reader) {
      this.#readers = this.#readers.slice(1)
      return reader({ done: false, value: message })
    }
    this.#queue.push(message)
    this.#size += message.length
    if (this.#isPaused || (this.#size < SIZE && this.#queue.length < MESSAGES)) return
    this.#isPaused = true
    this.#tap.pause()
  }

  /** The next message; done when none will come. */
  next(): Promise<IteratorResult<Message, undefined>> {
    const message = this.#queue.shift()
    if (message === undefined) return this.#isOver ? Promise.resolve(DONE) : this.#wait()
    this.#size -= message.length
    if (this.#isPaused && this.#size < SIZE / 2 && this.#queue.length < MESSAGES / 2) this.#goOn()
    return Promise.resolve({ done: false, value: message })
  }

  /** Nobody will read what has come: what still comes is forgotten. */
  discard(): void {
    this.#queue.length = 0
    this.#size = 0
    if (this.#isPaused) this.#goOn()
  }

  /** Nothing more will come. */
  end(): void {
    this.#isOver = true
    for (const reader of this.#readers) reader(DONE)
    this.#readers = []
  }

  #wait(): Promise<IteratorResult<Message, undefined>> {
    return new Promise((resolve) => {
      // A literal has no room for others, which what is added to has
      this.#readers = this.#readers.length === 0 ? [resolve] : [...this.#readers, resolve]
    })
  }

  #goOn(): void {
    this.#isPaused = false
    this.#tap.resume()
  }
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined }
