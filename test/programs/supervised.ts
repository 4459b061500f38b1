import { execSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { perApp, service } from '../../src/index.ts'
import { pause } from '../helpers/pause.ts'
import { blockLoop } from '../helpers/within.ts'
import { tell } from './tell.ts'

// A worker that answers who it is, and that dies in every way there is.

const { BROKEN = '', HOLD = '', GRACE = '25s', STEPS = '0' } = process.env
const pid = String(process.pid)

/** What is told when it has closed in order. */
const held = perApp(async function* ({ opening }) {
  if (BROKEN !== '' && existsSync(BROKEN)) throw new Error('this build is broken')
  if (HOLD === 'start') {
    await new Promise((resolve) => opening.addEventListener('abort', resolve))
    opening.throwIfAborted()
  }
  tell('app.opened', { pid: process.pid, ppid: process.ppid })
  yield 'held'
  tell('app.closed', { pid: process.pid })
})

function exhaust(): never {
  const all: unknown[] = []
  for (;;) all.push(Array.from({ length: 10_000 }, () => ({})))
}

const kept: Buffer[] = []

const ways: Record<string, (request: Request) => Response | Promise<Response>> = {
  '/exit': () => process.exit(0),
  '/abort': () => process.abort(),
  '/heap': exhaust,
  '/throw': () => {
    setImmediate(() => {
      throw new Error('nobody caught this')
    })
    return new Response('thrown')
  },
  '/block': () => {
    tell('app.blocking', { pid: process.pid })
    for (;;);
  },
  '/busy': () => {
    tell('app.blocking', { pid: process.pid })
    blockLoop(3_000)
    return new Response('free again')
  },
  '/regex': () => {
    tell('app.blocking', { pid: process.pid })
    return new Response(String(/^(a+)+$/.test(`${'a'.repeat(60)}b`)))
  },
  '/system': () => {
    tell('app.blocking', { pid: process.pid })
    return new Response(execSync('sleep 20'))
  },
  '/keep': () => {
    kept.push(Buffer.alloc(300_000_000, 1))
    return new Response(pid)
  },
  '/hang': () => {
    tell('app.handling', { pid: process.pid })
    return new Promise(() => {})
  },
  '/slow': async () => {
    tell('app.handling', { pid: process.pid })
    await pause(1_500)
    return new Response(pid, { headers: { worker: pid } })
  },
  '/spawn': () => {
    const child = spawn('sleep', ['300'], { stdio: 'ignore' })
    return new Response(String(child.pid))
  },
}

export default service({
  app: {
    async fetch(request) {
      const way = ways[new URL(request.url).pathname]
      if (way) return way(request)
      return new Response(await request.text(), { headers: { worker: pid } })
    },
  },
  resources: { held },
  onStartup: Array.from({ length: Number(STEPS) }, () => () => pause(600)),
  gracefulTimeout: GRACE as '25s',
})
