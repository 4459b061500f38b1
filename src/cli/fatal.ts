import { stripVTControlCharacters, styleText } from 'node:util'
import { describeError, isStewardError, withoutSecrets, type ErrorCode } from '../base/errors.ts'
import type { Failure } from '../supervisor/messages.ts'

/** Wrong use: nothing was started, and starting again changes nothing. */
const WRONG_USE = new Set<ErrorCode>([
  'ERR_APP_NOT_USABLE', 'ERR_BAD_OPTION', 'ERR_CAPTIVE', 'ERR_CYCLE', 'ERR_EXCLUSIVE', 'ERR_MODULE_LISTENS', 'ERR_MODULE_NOT_FOUND',
  'ERR_MODULE_NO_DEFAULT', 'ERR_NOT_A_RESOURCE', 'ERR_NOT_RUNNING', 'ERR_OVERRIDE_UNUSED', 'ERR_SCOPE_UNKNOWN', 'ERR_TLS',
]) // oxfmt-ignore

/** 2 for wrong use, 1 for a start that failed. */
export function exitCodeOf(error: unknown): 1 | 2 {
  return isStewardError(error) && WRONG_USE.has(error.code) ? 2 : 1
}

/** How a command writes: for a person at a terminal, as plain text, as JSON lines. */
export type Form = 'pretty' | 'plain' | 'json'

/** For commands that have no log of their own. */
function formOf(stream: { isTTY?: boolean }): Form {
  return stream.isTTY ? 'pretty' : 'plain'
}

/** Says why nothing runs: one sentence, then the stacks of what user code threw. */
export function printFatal(error: unknown, form: Form = formOf(process.stderr)): void {
  const text = form === 'json' ? `${JSON.stringify(fatalLine(error))}\n` : fatalText(error, form)
  process.stderr.write(text)
}

/** How much of an error is handed on, in characters: one that quotes a whole file is cut. */
const LONGEST = 8_000

/** The same for whoever is not at the terminal. */
export function failureOf(error: unknown): Failure {
  const message = withoutSecrets(describeError(error))
  const text = stripVTControlCharacters(fatalText(error, 'plain')).replace(/^steward: /, '')
  return { message: message.slice(0, LONGEST), text: text.trimEnd().slice(0, LONGEST) }
}

function fatalLine(error: unknown): object {
  const code = isStewardError(error) ? error.code : undefined
  const message = withoutSecrets(describeError(error))
  return { time: new Date().toISOString(), level: 'fatal', code, message, stacks: stacksOf(error) }
}

function fatalText(error: unknown, form: Form): string {
  const sentence = withoutSecrets(describeError(error))
  const code = isStewardError(error) ? ` (${error.code})` : ''
  const head =
    form === 'pretty'
      ? styleText('red', `✗ ${sentence}`, { stream: process.stderr })
      : `steward: ${sentence}`
  const stacks = stacksOf(error).map((stack) => `\n${stack.replaceAll(/^/gm, '  ')}\n`)
  return `${head}${code}\n${stacks.join('')}`
}

/** Where user code threw; our own errors say what they mean without. */
function stacksOf(error: unknown): string[] {
  const thrown = isStewardError(error)
    ? [error.cause, ...error.errors.filter((one) => one !== error.cause)]
    : [error]
  return thrown.flatMap((one) => {
    if (isStewardError(one)) return one === error ? [] : [one.message, ...stacksOf(one).slice(0, 3)]
    return stacksWithCauses(one)
  })
}

/** How many causes lead on from an error at most: they may go in a circle. */
const DEPTH = 5

function stacksWithCauses(thrown: unknown, depth = DEPTH): string[] {
  if (!(thrown instanceof Error) || !thrown.stack || depth === 0) return []
  const own = withoutSecrets(ofUserCode(thrown.stack))
  const [first, ...others] = stacksWithCauses(thrown.cause, depth - 1)
  return first === undefined ? [own] : [own, `caused by ${first}`, ...others]
}

/** Where this command itself is, and what reads its arguments. */
const OWN_FOLDERS = [new URL('.', import.meta.url).href, '/node_modules/commander/']

/** A stack without its frames within Node, and within this command: they help nobody to find what is wrong. */
export function ofUserCode(stack: string): string {
  const lines = stack.split('\n')
  const isOurs = (line: string): boolean =>
    /^\s+at .*\(?node:(?:internal\/|diagnostics_channel)/.test(line) ||
    OWN_FOLDERS.some((folder) => line.includes(folder))
  return lines.filter((line) => !(/^\s+at /.test(line) && isOurs(line))).join('\n')
}

/** A reader of what is printed that goes away is no reason to stop. */
export function survivePipes(): void {
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
}
