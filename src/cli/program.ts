import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { Duration } from '../base/deadline.ts'
import { INSPECTOR } from './inspection.ts'
import { serveModule } from './serve.ts'

/** The command line: what `steward` does with its arguments. Sets the exit code; never throws. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await program().parseAsync(argv.map(inspectWord))
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // Help and version are no errors; what was wrong has been printed
    process.exitCode = error.exitCode === 0 ? 0 : 2
  }
}

/** As Node has it: what follows the word is no value of it, but the module. */
function inspectWord(word: string): string {
  return word === '--inspect' || word === '--inspect-brk' ? `${word}=${INSPECTOR}` : word
}

function program(): Command {
  const { version } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { version: string }
  const command = new Command('steward')
    .description('Serves a Node service and stops it without losing anything.')
    .version(version)
    .showHelpAfterError('(steward --help shows what there is)')
    .showSuggestionAfterError()
    .exitOverride()
  addServe(command)
  addControl(command)
  addGraph(command)
  return command
}

function addServe(command: Command): void {
  const serve = command
    .command('serve')
    .description(
      'serve a module: its default export is a service(…), or an app (Hono, { fetch }, a (req, res) listener)',
    )
    .argument('<module>', 'the file, in TypeScript or JavaScript')
  addReload(addWorkers(addPlace(serve)))
    .option('--graceful-timeout <time>', 'the whole time a stop may take (25s)', time)
    .option(
      '--drain-delay <time>',
      'how long everything is still served after readiness has turned (0s)',
      time,
    )
    .option('--drain-quiet <time>', 'end that early when no request has come for so long', time)
    .addOption(
      new Option(
        '--refuse <stage>',
        'answer new requests 503 from this stage of the stop on',
      ).choices(['stopping', 'draining']),
    )
    .option('--http2', 'speak HTTP/2 as well: by ALPN with TLS, by prior knowledge without')
    .option('--keep-alive <time>', 'how long an idle connection is kept (75s)', time)
    .option('--limit-headers <time>', "how long a request's head may take to arrive (20s)", time)
    .option('--limit-request <time>', 'how long a whole request may take to arrive (5m)', time)
    .option('--limit-send <time>', 'how long a client may leave a response unread (1m)', time)
    .option('--limit-header-size <size>', "how large a request's head may be (16kb)", bytes)
    .option('--limit-connections <number>', 'how many may be open at a time (no limit)', count)
    .option(
      '--backlog <number>',
      'how many the kernel queues until they are accepted (2048)',
      count,
    )
    .addOption(
      new Option('--log <form>', 'how to log (pretty on a terminal, else json)').choices([
        'pretty',
        'json',
      ]),
    )
    .option('--pid <file>', 'write the process id to a file')
    .option('--state <folder>', 'where resources keep the notes that outlive the process', folder)
    .option('--env-file <file>', 'load environment variables from a file')
    .option(
      '--import <module>',
      'load a module first, such as tsx; may be given several times',
      several,
    )
    .option('--health-live <path>', 'path of the liveness probe (/livez)')
    .option('--health-ready <path>', 'path of the readiness probe (/readyz)')
    .option(
      '--health-keep-ready',
      'readiness does not turn at the stop: the balancer knows otherwise',
    )
    .option('--no-health', 'no probes on the port of the app')
    .option('--no-watchdog', 'no thread that ends a process whose event loop is blocked')
    .option('--signal-exit-codes', 'exit 130 or 143 after a clean stop by SIGINT or SIGTERM')
    .action(serveModule)
}

/** Where it listens, and with which certificate. */
function addPlace(serve: Command): Command {
  return serve
    .option('--host <address>', 'address to listen on (127.0.0.1, or all when PORT is set)')
    .option('-p, --port <number>', 'port to listen on (PORT, or 3000)', port)
    .option(
      '-b, --bind <where>',
      'host:port, unix:path or fd://number, in one word; may be given several times',
      several,
    )
    .option('--unix <path>', 'listen on a Unix socket')
    .option('--fd <number>', 'listen on an inherited socket', descriptor)
    .option('--tls-cert <file>', 'serve TLS with this certificate (PEM, with its chain)')
    .option('--tls-key <file>', 'its private key (PEM)')
    .option('--tls-ca <file>', 'ask clients for certificates of these authorities (PEM)')
}

/** What is watched while its code is being developed. */
function addReload(serve: Command): Command {
  return serve
    .option('--reload', 'for development: start anew whenever a file changes that was loaded')
    .option(
      '--reload-include <glob>',
      'files to watch besides; may be given several times',
      several,
    )
    .option('--reload-exclude <glob>', 'files not to watch; may be given several times', several)
    .option(
      '--reload-dir <folder>',
      'where to look for them (the working directory); may be given several times',
      several,
    )
}

/** The processes, what is told about them, and how they are watched. */
function addWorkers(serve: Command): Command {
  return serve
    .option('-w, --workers <number>', 'processes that serve, under a supervisor (1)', workers)
    .option('--no-supervisor', 'only this process, which ends when the service does')
    .option(
      '--control <path>',
      'where its control socket is, for steward status, reload, scale, stop',
    )
    .option('--no-control', 'no control socket')
    .option('--boot-timeout <time>', "how long each step of a worker's start may take (60s)", time)
    .option(
      '--hang-timeout <time>',
      'replace a worker whose event loop is blocked for so long; off: never (30s)',
      timeOrOff,
    )
    .option('--max-requests <number>', 'replace a worker after so many requests', countOrNone)
    .option(
      '--max-requests-jitter <number>',
      'and up to so many more, by chance for each worker',
      countOrNone,
    )
    .option('--max-age <time>', 'replace a worker after so long, such as 12h', time)
    .option('--max-rss <size>', 'replace a worker that holds so much memory, such as 512mb', bytes)
    .option('--notify-fd <number>', 'tell s6 there that it is ready: a newline', descriptor)
    .option(
      '--inspect <where>',
      'open an inspector in each worker, from this port on (127.0.0.1:9229); as --inspect or --inspect=host:port',
    )
    .option(
      '--inspect-brk <where>',
      'the same, and wait for a debugger before the module is loaded',
    )
}

/** The commands for a service that runs under a supervisor. */
function addControl(command: Command): void {
  const add = (name: string, description: string): Command =>
    command
      .command(name)
      .description(description)
      .option('--pid <number>', 'the service by its process id, when several run', pid)
      .option('--control <path>', 'the service by its control socket')
  add('status', 'show the services that run under a supervisor, and their workers')
    .option('--json', 'one line of JSON for each service')
    .option('--watch', 'once a second, until Ctrl-C')
    .action(later(async () => (await import('./status.ts')).status))
  add('reload', 'replace the workers of a service by new ones, one after the other')
    .option(
      '--wait',
      'until it is done; exits with 1, and says why, when the new ones do not start',
    )
    .option('--prepare', 'run what the service prepares once more, before its first new worker')
    .action(later(async () => (await import('./orders.ts')).reload))
  add('scale', 'change how many workers a service has')
    .argument('<number>', 'how many from now on', workers)
    .action(later(async () => (await import('./orders.ts')).scale))
  add('stop', 'stop a service in order, as SIGTERM does')
    .option('--wait', 'until its process is gone; exits with 1 when the stop was not clean')
    .action(later(async () => (await import('./orders.ts')).stop))
}

function addGraph(command: Command): void {
  command
    .command('graph')
    .description('draw what stands on what in a module, without opening anything')
    .argument('<module>', 'the file, in TypeScript or JavaScript')
    .addOption(
      new Option('--format <language>', 'the language of the picture')
        .choices(['mermaid', 'dot'])
        .default('mermaid'),
    )
    .option('--env-file <file>', 'load environment variables from a file')
    .option(
      '--import <module>',
      'load a module first, such as tsx; may be given several times',
      several,
    )
    .action(later(async () => (await import('./graph.ts')).graph))
}

/** A command that is loaded when it is called: a supervisor lives long, and holds nothing of the others. */
function later<Given extends unknown[]>(
  load: () => Promise<(...given: Given) => Promise<void>>,
): (...given: Given) => Promise<void> {
  return async (...given) => (await load())(...given)
}

function several(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}

function port(text: string): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && number <= 65_535) return number
  throw new InvalidArgumentError('It is no port: give a number from 0 to 65535.')
}

function pid(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is no process id: give its number.')
}

function workers(text: string): number {
  if (text === 'auto') return availableParallelism()
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is no number of workers: give 1 to 9999, or auto.')
}

function folder(text: string): string {
  if (text !== '') return text
  throw new InvalidArgumentError('It is no folder: give its path.')
}

function count(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is no such number: give a whole one of at least 1.')
}

function countOrNone(text: string): number {
  if (/^\d+$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is no such number: give a whole one, or 0 for no limit.')
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1, k: 1_024, m: 1_048_576, g: 1_073_741_824,
} // oxfmt-ignore

/** A number of bytes, or with a unit: `64kb`, `512MB`, `1.5g`. */
function bytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(?:([kmg])i?b?|b)?$/i.exec(text) ?? []
  const size = Math.round(Number(number) * UNITS[(unit ?? '').toLowerCase()]!)
  if (size > 0) return size
  throw new InvalidArgumentError('It is no size: give bytes, or 64kb, 512mb, 2gb.')
}

function descriptor(text: string): number {
  if (/^\d+$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is no file descriptor: give its number, such as 3.')
}

function timeOrOff(text: string): Duration {
  if (text === 'off') return '0s'
  const given = timeOf(text)
  if (given) return given
  throw new InvalidArgumentError('It is no time: give seconds, or 250ms, 5s, 2m, 1h; or off.')
}

function time(text: string): Duration {
  const given = timeOf(text)
  if (given) return given
  throw new InvalidArgumentError('It is no time: give seconds, or 250ms, 5s, 2m, 1h.')
}

/** As in the code, or a bare number of seconds, as servers of this kind take it. */
function timeOf(text: string): Duration | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return `${Number(text)}s`
  return /^\d+(\.\d+)?(ms|s|m|h)$/.test(text) ? (text as Duration) : undefined
}
