import { Deadline } from '../../src/base/deadline.ts'
import { bind } from '../../src/http/binding.ts'
import { HttpServer } from '../../src/http/server.ts'

// Serves on the listening socket that it inherited as descriptor 3, says "ready", stops on SIGTERM and ends by itself.

const server = new HttpServer({
  async handler(request, response) {
    const body = await request.setEncoding('utf8').toArray()
    response.setHeader('Worker', process.pid).end(body.join(''))
  },
})

process.once('SIGTERM', () => {
  const limits = {
    t1: Deadline.in(10_000),
    t2: Deadline.in(11_000),
    cleanup: Deadline.in(12_000),
    idle: 1_000,
    force: new AbortController().signal,
  }
  const tell = (): unknown => process.stdout.write(`${JSON.stringify(server.served)}\n`)
  void server.drain(limits).then(tell)
})

await server.listen(await bind({ fd: 3 }))
process.stdout.write('ready\n')
