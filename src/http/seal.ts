import { closeSync, openSync, readSync } from 'node:fs'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { Deadline } from '../base/deadline.ts'
import { setBacklog } from './internals.ts'

/**
 * Closes the queue of a listening socket to everybody, so that nobody is in it when the socket is closed: the kernel resets who is, and an
 * event loop that has just accepted everybody comes too late for who arrives meanwhile.
 *
 * A connection of our own enters the queue, and the queue is made as short as it can be. From then on it is full, and the kernel drops
 * every other attempt: its client tries again after a second, and is refused. Who came before us is accepted as usual; when we are all
 * that is left in it, nobody is lost by the close. Who came behind us makes us try again.
 *
 * Whose the last connection is the kernel is asked at the end: on a busy machine ours may still be under way.
 *
 * Resolves with `true` when the socket is to be closed, in the same turn of the event loop: the next one would accept us; with `false` when
 * that was not possible in time, and where the kernel does not tell how long its queues are (proc_net_tcp(5)), at once. A client in the middle of its handshake at that moment, whose last packet is still
 * on its way, is reset all the same.
 */
export async function seal(server: Server, until: Deadline, backlog: number): Promise<boolean> {
  const { address, port } = server.address() as AddressInfo
  const host = LOCAL[address] ?? address
  const accepted = new Set<number | undefined>()
  const note = ({ remotePort }: Socket): void => void accepted.add(remotePort)
  server.prependListener('connection', note)
  while (until.remaining > 0 && lengthOf(port, address) !== undefined) {
    setBacklog(server, backlog)
    const own = net.connect({ host, port }).on('error', ignore).unref()
    // Node connects in the next tick; at once behind it, lest others come between
    await new Promise<void>((resolve) => process.nextTick(resolve))
    if (!setBacklog(server, 0)) break
    while (until.remaining > 0 && !accepted.has(own.localPort)) {
      const length = lengthOf(port, address)
      if (length === 0) break
      if (length === 1 && !isQueued(port, own.localPort, address)) break
      if (length === 1) {
        server.off('connection', note)
        return true
      }
      await turn()
    }
    own.destroy()
    await turn()
  }
  server.off('connection', note)
  return false
}

/** Where all addresses are listened on, this one is as well. */
const LOCAL: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/** How much of the kernel's table is looked at, in bytes: who listens stands before all others, of whom there may be very many. */
const HEAD = 16 * 1024

/** How many wait in the queue of a port, at whichever of its addresses; `undefined` where the kernel does not tell. */
function lengthOf(port: number, address: string): number | undefined {
  const row = new RegExp(`:${hex(port)} \\w+:0000 0A \\w+:(\\w+)`, 'g')
  const found = [...headOf(tableOf(address)).matchAll(row)]
  if (found.length === 0) return undefined
  return found.reduce((sum, [, queued]) => sum + Number.parseInt(queued!, 16), 0)
}

/** How long the whole table may be looked through, in milliseconds: some machines have tens of thousands of connections. */
const LOOK = 20

/** Has nobody accepted yet who came from this port? What is accepted has an inode. Taken for true where it takes too long to tell. */
function isQueued(port: number, peer: number | undefined, address: string): boolean {
  const row = new RegExp(
    `:${hex(port)} \\w+:${hex(peer ?? 0)} 01 \\w+:\\w+ \\w+:\\w+ \\w+ +\\d+ +\\d+ 0 `,
  )
  const enough = Deadline.in(LOOK)
  const table = headOf(tableOf(address), () => enough.remaining > 0)
  return enough.remaining === 0 || row.test(table)
}

function tableOf(address: string): string {
  return address.includes(':') ? 'tcp6' : 'tcp'
}

function hex(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0')
}

function headOf(table: string, goesOn = (head: string): boolean => head.length < HEAD): string {
  let file: number | undefined
  try {
    file = openSync(`/proc/self/net/${table}`, 'r')
    const buffer = Buffer.alloc(HEAD)
    let head = ''
    for (let read = -1; read !== 0 && goesOn(head);) {
      read = readSync(file, buffer, 0, HEAD, null)
      head += buffer.toString('latin1', 0, read)
    }
    return head
  } catch {
    return ''
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

function ignore(): void {}
