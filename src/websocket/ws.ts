/**
 * What is used of a WebSocket of `ws`, which brings no types of its own: whoever compiles against this package needs none of it.
 */
export interface Ws {
  readonly readyState: number
  readonly protocol: string
  on(event: 'message', listener: (this: Ws, data: Buffer, isBinary: boolean) => void): unknown
  on(event: 'error', listener: (this: Ws, error: Error) => void): unknown
  on(event: 'close', listener: (this: Ws, code: number, reason: Buffer) => void): unknown
  send(data: string | ArrayBufferView | ArrayBuffer, options?: { binary: boolean }): void
  close(code: number, reason: string): void
  ping(): void
  pause(): void
  resume(): void
  terminate(): void
}
