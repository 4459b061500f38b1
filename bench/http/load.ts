/** A child process that asks as fast as it is answered, on kept-alive connections, one request at a time on each. */
import autocannon from 'autocannon'
import type { LoadAnswer, LoadQuestion } from './messages.ts'

process.on('disconnect', () => process.exit())
process.on('message', (question: LoadQuestion) => void run(question))

async function run({ url, connections, seconds }: LoadQuestion): Promise<void> {
  const result = await autocannon({ url, connections, duration: seconds })
  const answer: LoadAnswer = {
    requests: result.requests.total,
    seconds: result.duration,
    failed: result.non2xx + result.errors + result.timeouts,
  }
  process.send?.(answer)
}
