import type { Scope } from './scope.ts'

interface Watched {
  readonly scope: Scope
  readonly entered: string
}

const collected = new FinalizationRegistry<Watched>(({ scope, entered }) => {
  if (scope.state !== 'open') return
  scope.root.emit({
    type: 'warning',
    message: `A ${scope.kind.name} scope was garbage-collected unclosed: close it, or use await using. It was entered ${entered}`,
  })
})

/** Our own frames tell nothing. */
const HERE = new URL('.', import.meta.url).href

/** Leak mode: warns when `holder` is collected while its scope is open. The returned function ends the watch. */
export function watchLeaks(holder: object, scope: Scope): () => void {
  const [, ...frames] = (new Error('entered').stack ?? '').split('\n')
  const theirs = frames.filter((frame) => !frame.includes(HERE))
  const entered = theirs.join('\n').trim() || 'at an unknown place'
  const token = {}
  collected.register(holder, { scope, entered }, token)
  return () => collected.unregister(token)
}
