/** Bounds a wait: rejects, and says what was awaited, when `work` has not settled within so many milliseconds. */
export async function within<T>(ms: number, work: Promise<T>, what = 'this'): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms} ms for ${what}`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Blocks the event loop for so many milliseconds, as a busy handler does. */
export function blockLoop(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** So many turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
