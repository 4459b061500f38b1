import type { OpenContext } from './context.ts'

/** Tells that the opening of an app's resource begins. */
export function tellOpening(context: OpenContext): void {
  const { emit, world } = context.scope.root
  emit({ type: 'resource.opening', name: context.name })
  context.began = world.now()
}

/** Tells that an app's resource is open. */
export function tellOpened({ scope: { root }, name, began }: OpenContext): void {
  root.emit({ type: 'resource.opened', name, took: root.world.now() - began })
}

/** Tells that an app's resource failed to open. */
export function tellFailed({ scope: { root }, name, began }: OpenContext, error: unknown): void {
  root.emit({ type: 'resource.failed', name, took: root.world.now() - began, error })
}

/** Tells of a failure for which no caller is left. */
export function tellUnheard({ scope, name }: OpenContext, error: unknown): void {
  const message = `"${name}" failed to open when nobody waited for it any more`
  scope.root.emit({ type: 'error', message, error })
}

/** Tells that the close of what came too late failed. */
export function tellCloseFailed({ scope, name }: OpenContext, error: unknown): void {
  const message = `"${name}" was open too late, and closing it failed`
  scope.root.emit({ type: 'error', message, error })
}
