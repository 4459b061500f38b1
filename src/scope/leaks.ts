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

/** Leak mode: warns when `holder` is collected while its scope is open. The returned function ends the watch. */
export function watchLeaks(holder: object, scope: Scope): () => void {
  const stack = new Error('entered').stack ?? ''
  const entered = stack.split('\n').slice(3).join('\n').trim() || 'at an unknown place'
  const token = {}
  collected.register(holder, { scope, entered }, token)
  return () => collected.unregister(token)
}
