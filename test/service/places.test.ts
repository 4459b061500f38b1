import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { placesOf } from '../../src/service/places.ts'

const posix = { platform: 'linux' } as const

describe('placesOf()', () => {
  it('takes everything that is named: the address, the words, the Unix socket, the descriptor', () => {
    const bind = ['[::1]:3001', '3002', 'unix:/b.sock', 'unix:///c.sock', 'fd://4']
    const { given, targets } = placesOf({ host: '::', port: 80, bind, unix: '/a.sock', fd: 3 })
    assert.equal(given, true)
    assert.deepEqual(targets(), [
      { host: '::', port: 80 },
      { host: '::1', port: 3001 },
      { host: '127.0.0.1', port: 3002 },
      { path: '/b.sock' },
      { path: '/c.sock' },
      { fd: 4 },
      { path: '/a.sock' },
      { fd: 3 },
    ])
  })

  it('takes no default beside what is named', () => {
    const { given, targets } = placesOf({ unix: '/a.sock' })
    assert.deepEqual([given, targets()], [true, [{ path: '/a.sock' }]])
    assert.equal(placesOf({}).given, false)
  })

  for (const bind of ['', 'nowhere', 'host:', '1:70000', 'fd://x', [], ['3000', 5]]) {
    it(`X1 refuses ${JSON.stringify(bind)} in words`, () => {
      assert.throws(() => placesOf({ bind: bind as string[] }), {
        code: 'ERR_BAD_OPTION',
        message: /^Cannot listen on .*: give host:port, unix:path or fd:\/\/number$/,
      })
    })
  }

  it('V17 refuses descriptors on Windows, and nothing else', () => {
    for (const options of [{ fd: 3 }, { bind: 'fd://3' }]) {
      assert.throws(() => placesOf(options, { platform: 'win32' }), {
        code: 'ERR_BAD_OPTION',
        message: 'Cannot listen on file descriptor 3: Windows hands none on, give host and port',
      })
      assert.deepEqual(placesOf(options, posix).targets(), [{ fd: 3 }])
    }
    assert.equal(placesOf({ port: 1 }, { platform: 'win32' }).given, true)
  })
})
