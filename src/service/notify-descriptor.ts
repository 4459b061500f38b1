import { closeSync, fstatSync, writeSync } from 'node:fs'
import { describeError, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'

/**
 * Tells whoever waits at that descriptor that the service is ready, as s6 wants it: a newline, and then the end. Gives what listens to the
 * events of the service, or of its supervisor.
 *
 * @throws `ERR_BAD_OPTION` for a descriptor that is not open, or standard input or output
 */
export function notifyDescriptor(fd: number, emit: Emit): Emit {
  checkOpen(fd)
  let isTold = false
  return ({ type }) => {
    if (isTold || (type !== 'service.ready' && type !== 'worker.ready')) return
    isTold = true
    try {
      writeSync(fd, '\n')
      closeSync(fd)
    } catch (error) {
      const message = `Nobody hears at descriptor ${fd} that the service is ready: ${describeError(error)}`
      emit({ type: 'warning', message })
    }
  }
}

function checkOpen(fd: number): void {
  if (fd <= 2) {
    throw cannot(fd, 'it is standard input or output, and would be closed; take 3 or more')
  }
  try {
    fstatSync(fd)
  } catch (cause) {
    throw cannot(fd, `${describeError(cause)}; the parent process must pass it on`, cause)
  }
}

function cannot(fd: number, found: string, cause?: unknown): StewardError {
  const details = cause === undefined ? {} : { cause }
  return new StewardError('ERR_BAD_OPTION', `Cannot notify at descriptor ${fd}: ${found}`, details)
}
