/** Who waits for something that is under way: told once how it ended. */
export interface Waiter {
  done(): void
  failed(error: unknown): void
}

/** An opening or a closing that takes its time. Who waits for it is told by a call, which costs no promise. */
export interface Underway {
  tell(waiter: Waiter): void
}

/** For who would rather have a promise. */
export function promised(underway: Underway): Promise<void> {
  return new Promise((done, failed) => underway.tell({ done, failed }))
}
