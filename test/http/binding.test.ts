import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { bind } from '../../src/http/binding.ts'
import { HttpServer } from '../../src/http/server.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { drainLimits } from '../helpers/serving.ts'

/** A folder that is removed at the end of the test. */
function folder(): { path(name: string): string } & Disposable {
  const root = mkdtempSync(join(tmpdir(), 'steward-'))
  return {
    path: (name) => join(root, name),
    [Symbol.dispose]: () => rmSync(root, { recursive: true }),
  }
}

const server = (): HttpServer =>
  new HttpServer({ handler: (_, response) => void response.end('answer') })

describe('bind()', () => {
  it('L3 takes the port without listening', async () => {
    const binding = await bind({ host: '127.0.0.1', port: 0 })
    const url = new URL(binding.describe())
    assert.equal(url.hostname, '127.0.0.1')
    await assert.rejects(RawClient.connect(Number(url.port)), { code: 'ECONNREFUSED' })
    const http = server()
    await http.listen(binding)
    assert.equal(http.url, binding.describe())
    using client = await RawClient.connect(Number(url.port))
    assert.equal((await client.request('GET /').response()).body, 'answer')
    await http.close()
  })

  it('L3 gives the port back when it is released', async () => {
    const first = await bind({ host: '127.0.0.1', port: 0 })
    const port = Number(new URL(first.describe()).port)
    await first.release()
    const second = await bind({ host: '127.0.0.1', port })
    await second.release()
  })

  it('L3 names a port that is in use, and says what to do', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await assert.rejects(bind({ host: '127.0.0.1', port }), {
      code: 'ERR_LISTEN',
      message: `Cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE); stop the other process or choose another with --port`,
    })
    other.close()
  })

  it('L3 names a port that somebody else begins to use meanwhile', async () => {
    const first = await bind({ host: '127.0.0.1', port: 0 })
    const port = Number(new URL(first.describe()).port)
    const second = await bind({ host: '127.0.0.1', port })
    const winner = server()
    await winner.listen(second)
    await assert.rejects(server().listen(first), { code: 'ERR_LISTEN', message: /in use/ })
    await winner.close()
  })

  it('shows an address as it is', async () => {
    for (const [host, url] of [
      ['0.0.0.0', 'http://0.0.0.0:'],
      ['::', 'http://[::]:'],
      ['localhost', /^http:\/\/(127\.0\.0\.1|\[::1\]):/],
    ] as const) {
      const binding = await bind({ host, port: 0 })
      if (typeof url === 'string') assert.ok(binding.describe().startsWith(url))
      else assert.match(binding.describe(), url)
      await binding.release()
    }
  })

  const wrong: Record<string, [Parameters<typeof bind>[0], string, RegExp]> = {
    'a port out of range': [{ host: '::1', port: 70_000 }, 'ERR_BAD_OPTION', /70000 .* 0 to 65535/],
    'a port that is no number': [{ host: '::1', port: Number.NaN }, 'ERR_BAD_OPTION', /NaN/],
    'an address of another machine': [
      { host: '192.0.2.1', port: 0 },
      'ERR_LISTEN',
      /no such address/,
    ],
    'an unknown name': [{ host: 'no.such.invalid', port: 0 }, 'ERR_LISTEN', /no.such.invalid/],
    'a descriptor that is not open': [{ fd: 999 }, 'ERR_LISTEN', /999: it is not open/],
    'a descriptor below zero': [{ fd: -1 }, 'ERR_LISTEN', /not a file descriptor/],
    'a folder that does not exist': [{ path: '/no/such/app.sock' }, 'ERR_LISTEN', /folder/],
    'a path that is too long': [{ path: `/tmp/${'x'.repeat(120)}` }, 'ERR_LISTEN', /too long/],
  }
  for (const [what, [target, code, message]] of Object.entries(wrong)) {
    it(`X1 refuses ${what} in words`, async () => {
      await assert.rejects(bind(target), { code, message })
    })
  }

  it('X1 refuses a descriptor that is no socket', async () => {
    const fd = openSync('/dev/null', 'r')
    await assert.rejects(bind({ fd }), { code: 'ERR_LISTEN', message: /not a socket/ })
    closeSync(fd)
  })

  it('V1 listens on a descriptor that was inherited', async () => {
    const socket = new net.BoundSocket({ host: '127.0.0.1' })
    const { port } = socket.address()
    const binding = await bind({ fd: socket.fd() })
    const http = server()
    await http.listen(binding)
    assert.equal(http.url, `http://127.0.0.1:${port}`)
    using client = await RawClient.connect(port)
    assert.equal((await client.request('GET /').response()).body, 'answer')
    await http.close()
  })
})

describe('a Unix socket', () => {
  it('H16 appears in its place only when it listens, and goes at the end', async () => {
    using dir = folder()
    const path = dir.path('app.sock')
    const binding = await bind({ path })
    assert.throws(() => statSync(path), { code: 'ENOENT' })
    const http = server()
    await http.listen(binding)
    assert.ok(statSync(path).isSocket())
    assert.deepEqual([http.url, http.address], [`unix:${path}`, path])
    using client = await RawClient.connect(path)
    assert.equal((await client.request('GET /').response()).body, 'answer')
    client.destroy()
    await http.drain(drainLimits())
    assert.deepEqual(readdirSync(dir.path('.')), [])
  })

  it('H16 leaves nothing behind when it never listened', async () => {
    using dir = folder()
    const binding = await bind({ path: dir.path('app.sock') })
    await binding.release()
    assert.deepEqual(readdirSync(dir.path('.')), [])
  })

  it("H16 is not removed when it is somebody else's by now", async () => {
    using dir = folder()
    const path = dir.path('app.sock')
    const [first, second] = [server(), server()]
    const [one, two] = [await bind({ path }), await bind({ path })]
    await first.listen(one)
    await second.listen(two)
    await first.drain(drainLimits())
    using client = await RawClient.connect(path)
    assert.equal((await client.request('GET /').response()).body, 'answer')
    client.destroy()
    await second.drain(drainLimits())
    assert.deepEqual(readdirSync(dir.path('.')), [])
  })

  it('H16 is refused while a process is alive behind it', async () => {
    using dir = folder()
    const path = dir.path('app.sock')
    const other = net.createServer().listen(path)
    await once(other, 'listening')
    await assert.rejects(bind({ path }), { code: 'ERR_LISTEN', message: /another process listens/ })
    other.close()
  })

  it('H16 replaces one that its process left behind', async () => {
    using dir = folder()
    const path = dir.path('app.sock')
    await using _ = { [Symbol.asyncDispose]: async () => http.close() }
    // A socket that is bound but does not listen answers like one whose process has died
    using __ = new net.BoundSocket({ path } as object)
    const http = server()
    await http.listen(await bind({ path }))
    using client = await RawClient.connect(path)
    assert.equal((await client.request('GET /').response()).body, 'answer')
  })

  it('H16 never replaces anything but a socket', async () => {
    using dir = folder()
    const path = dir.path('app.sock')
    writeFileSync(path, 'precious')
    await assert.rejects(bind({ path }), { code: 'ERR_LISTEN', message: /something else/ })
    assert.ok(statSync(path).isFile())
  })
})
