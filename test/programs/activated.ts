import { spawnSync } from 'node:child_process'
import { service } from '../../src/index.ts'
import { tell } from './tell.ts'

/** What a child gets of what systemd gave to its parent. */
function child(): { variables: string[]; sockets: string[] } {
  const { stdout } = spawnSync('/bin/sh', ['-c', 'env; ls -l /proc/self/fd'], { encoding: 'utf8' })
  const lines = stdout.split('\n')
  return {
    variables: lines.filter((line) => /^(LISTEN|NOTIFY|WATCHDOG)_/.test(line)),
    // Beyond the standard streams
    sockets: lines.filter((line) => / (\d\d+|[3-9]) -> socket:/.test(line)),
  }
}

export default service({
  app: { fetch: () => new Response('hello') },
  onStartup: () => tell('app.child', { pid: process.pid, ...child() }),
})
