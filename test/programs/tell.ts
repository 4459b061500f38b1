/** Prints a line that a test waits for. */
export function tell(event: string, fields: object = {}): void {
  process.stdout.write(
    `${JSON.stringify({ event, at: performance.timeOrigin + performance.now(), ...fields })}\n`,
  )
}
