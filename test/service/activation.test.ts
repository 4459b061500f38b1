import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { activate, isActivated, type ActivatedProcess } from '../../src/service/activation.ts'

const place = { port: 3000, host: '127.0.0.1' }
const byDefault = { targets: () => [place], given: false }
const byOption = { targets: () => [place], given: true }

function activated(env: Record<string, string>): ActivatedProcess {
  const argv = ['/usr/bin/node', '/srv/shop/node_modules/.bin/steward', 'serve', 'my app.ts']
  return { env, pid: 42, execPath: '/usr/bin/node', execArgv: ['--enable-source-maps'], argv }
}

describe('activate()', () => {
  it('P9 listens on the socket that systemd has passed to this process, and empties the environment', () => {
    const env = {
      LISTEN_PID: '42',
      LISTEN_FDS: '1',
      LISTEN_FDNAMES: 'shop.socket',
      LISTEN_PIDFDID: '7',
      HOME: '/',
    }
    assert.equal(isActivated(activated(env)), true)
    const { targets, warnings } = activate(byDefault, activated(env))
    assert.deepEqual([targets, warnings], [[{ fd: 3 }], []])
    assert.deepEqual(env, { HOME: '/' })
    assert.equal(isActivated(activated(env)), false)
  })

  it('P9 does not even look at the default place then', () => {
    const targets = (): never => assert.fail('PORT is not read')
    const passed = activated({ LISTEN_PID: '42', LISTEN_FDS: '1' })
    assert.deepEqual(activate({ targets, given: false }, passed).targets, [{ fd: 3 }])
  })

  it('P9 warns of sockets for another process, with the line for the unit', () => {
    const env = { LISTEN_PID: '41', LISTEN_FDS: '1' }
    assert.equal(isActivated(activated(env)), false)
    const { targets, warnings } = activate(byDefault, activated(env))
    assert.deepEqual(targets, [place])
    assert.deepEqual(warnings, [
      `systemd's sockets are not used: LISTEN_PID=41 is another process than this one, 42; start node itself, and not through npx, npm or a shell: ExecStart=/usr/bin/node --enable-source-maps /srv/shop/node_modules/.bin/steward serve "my app.ts"`,
    ])
    assert.deepEqual(env, {})
  })

  it('P9 listens on all of several sockets', () => {
    const { targets, warnings } = activate(
      byDefault,
      activated({ LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'web:admin' }),
    )
    assert.deepEqual([targets, warnings], [[{ fd: 3 }, { fd: 4 }, { fd: 5 }], []])
  })

  it('P9 lets a place that was given win, and warns of the socket', () => {
    const passed = (): ActivatedProcess =>
      activated({ LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'web' })
    const { targets, warnings } = activate(byOption, passed())
    assert.deepEqual(targets, [place])
    assert.deepEqual(warnings, [
      'Nobody accepts on what systemd has passed as "web" (descriptor 3), and its clients wait: another place to listen on was given; give no place, or remove the socket unit',
    ])
    const same = { targets: () => [place, { fd: 3 }], given: true }
    assert.deepEqual(activate(same, passed()), { targets: [place, { fd: 3 }], warnings: [] })
  })

  it('P9 takes no sockets where there are none', () => {
    for (const env of [
      {},
      { LISTEN_FDS: '1' },
      { LISTEN_PID: '42' },
      { LISTEN_PID: '42', LISTEN_FDS: '0' },
      { LISTEN_PID: '', LISTEN_FDS: '' },
    ]) {
      assert.deepEqual(activate(byDefault, activated(env)), { targets: [place], warnings: [] })
    }
  })

  it('X1 refuses a number of sockets that is none', () => {
    for (const LISTEN_FDS of ['one', '-1', '1e3', '99999']) {
      const passed = activated({ LISTEN_PID: '42', LISTEN_FDS })
      assert.throws(() => activate(byDefault, passed), {
        code: 'ERR_BAD_OPTION',
        message: `Cannot listen on the environment's LISTEN_FDS="${LISTEN_FDS}": it is no number of sockets, leave it to systemd to set it`,
      })
    }
  })
})
