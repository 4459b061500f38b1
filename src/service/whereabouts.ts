import type { Debugger } from 'node:inspector'
import { Socket } from 'node:net'

/**
 * Answers each line that comes on a descriptor by one with the stack of the main thread: `{"stack":"    at …"}`. To be called in another thread, which
 * a main thread that is blocked does not hold up; it holds neither the thread nor the process. What cannot be answered is not.
 */
export function answerWhereabouts(fd: number): void {
  const socket = new Socket({ fd })
  // Whoever asks may have died
  socket.on('error', () => socket.destroy())
  socket.on('data', () => {
    mainStack().then(
      (stack) => socket.write(`${JSON.stringify({ stack })}\n`),
      () => {},
    )
  })
  socket.unref()
}

/**
 * Where the main thread is, in lines as Node prints them. It is paused for the moment that this takes: in the middle of a loop or of a regular
 * expression, but in a call of the system only when that is over.
 */
async function mainStack(): Promise<string> {
  const { Session } = await import('node:inspector')
  const session = new Session()
  session.connectToMainThread()
  const urls = new Map<string, string>()
  session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url))
  return new Promise((resolve) => {
    session.once('Debugger.paused', ({ params }) => {
      session.post('Debugger.resume')
      session.disconnect()
      resolve(shortened(params.callFrames.map((frame) => lineOf(frame, urls))).join('\n'))
    })
    session.post('Debugger.enable')
    session.post('Debugger.pause')
  })
}

/** How many frames are told from the inside, and from the outside: what lies between them is mostly a recursion. */
const INNER = 30
const OUTER = 20

function shortened(lines: readonly string[]): readonly string[] {
  const left = lines.length - INNER - OUTER
  if (left <= 0) return lines
  return [...lines.slice(0, INNER), `    … ${left} more`, ...lines.slice(-OUTER)]
}

function lineOf(
  { functionName, location }: Debugger.CallFrame,
  urls: ReadonlyMap<string, string>,
): string {
  const { scriptId, lineNumber, columnNumber = 0 } = location
  const place = `${urls.get(scriptId) || '<anonymous>'}:${lineNumber + 1}:${columnNumber + 1}`
  return functionName === '' ? `    at ${place}` : `    at ${functionName} (${place})`
}
