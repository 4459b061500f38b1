import { service } from '../../src/index.ts'

/** More than any pipe holds. */
const LINES = 3_000

export default service({
  onDrained() {
    for (let line = 0; line < LINES; line++) {
      process.stdout.write(
        `${JSON.stringify({ event: 'app.said', line, text: 'x'.repeat(1_000) })}\n`,
      )
    }
    process.stderr.write('all said\n')
  },
})
