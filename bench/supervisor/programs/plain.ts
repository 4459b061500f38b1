/** A worker as one writes it by hand: it closes its server when it is told to, in whatever way, and then ends. */
import { createServer } from 'node:http'
import { answer } from './answer.ts'

const server = createServer(answer)
const close = (): void => void server.close(() => process.exit(0))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, close)
process.on('message', (message) => {
  if (message === 'shutdown') close()
})
server.listen(Number(process.env['PORT']), '127.0.0.1', () => process.send?.('ready'))
