import { pause } from '../helpers/pause.ts'
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
    // When whoever does not wait for the output has gone already
    void pause(400).then(() => process.stderr.write('all said\n'))
  },
})
