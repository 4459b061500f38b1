import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { MAIN, Program } from '../helpers/program.ts'
import { root } from '../helpers/repository.ts'
import { WsClient } from '../helpers/ws-client.ts'

const CHAT = join(root, 'test/programs/chat.ts')

/** A chat that is served, by so many workers. */
async function serving(workers: number): Promise<{ program: Program; port: number }> {
  const program = new Program([MAIN, 'serve', CHAT, '--port', '0', '--workers', String(workers), '--log', 'json']) // oxfmt-ignore
  const pids = new Set<unknown>()
  while (pids.size < workers) {
    const { pid } = await program.event('worker.ready', (line) => !pids.has(line['pid']))
    pids.add(pid)
  }
  const { url } = await program.event('supervisor.listening')
  return { program, port: Number(new URL(String(url)).port) }
}

async function asked(client: WsClient): Promise<string> {
  client.ws.send('?')
  return String(await client.next())
}

describe('the goodbye of a process', { concurrency: 2 }, () => {
  it('W1 says 1012 in a rolling restart, after the own words of the app, and the next one answers', async () => {
    const { program, port } = await serving(1)
    using _ = program
    using client = await WsClient.connect(port)
    const before = await asked(client)
    program.signal('SIGHUP')
    assert.equal(await client.next(), 'going away')
    assert.deepEqual(await client.end, { code: 1012, reason: '' })
    using again = await WsClient.connect(port)
    assert.notEqual(await asked(again), before)
    program.signal('SIGTERM')
    assert.equal(await again.next(), 'going away')
    assert.equal((await again.end).code, 1001)
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
  })

  it('says once that rooms reach the clients of one worker, where there are several', async () => {
    const { program } = await serving(3)
    using _ = program
    program.signal('SIGTERM')
    await program.exit()
    const said = program.lines.filter(({ event }) => event === 'warning')
    assert.deepEqual(said.map(({ message }) => String(message).slice(0, 46)), ['Rooms reach the clients of one worker only, an']) // oxfmt-ignore
  })

  it('says nothing of the kind where there is one', async () => {
    const { program } = await serving(1)
    using _ = program
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    assert.deepEqual(program.lines.filter(({ event }) => event === 'warning'), []) // oxfmt-ignore
  })
})
