/**
 * What is used of a WebSocket of `ws`, which brings no types of its own: whoever compiles against this package needs none of it.
 */
export interface Ws {
  readonly readyState: number
  readonly protocol: string
  /** The extensions that were agreed on; empty when none were. */
  readonly extensions: string
  /** What waits to be compressed, and what the connection has not sent yet, in bytes. */
  readonly bufferedAmount: number
  on(event: 'message', listener: (this: Ws, data: Buffer, isBinary: boolean) => void): unknown
  on(event: 'error', listener: (this: Ws, error: Error) => void): unknown
  on(event: 'close', listener: (this: Ws, code: number, reason: Buffer) => void): unknown
  /** `written` is called when the kernel has it, or the connection is over. */
  send(
    data: ArrayBufferView | ArrayBuffer,
    options: { binary: boolean },
    written?: (error?: Error | null) => void,
  ): void
  close(code: number, reason: string): void
  ping(): void
  pause(): void
  resume(): void
  terminate(): void
}
