import type { IncomingMessage, ServerResponse } from 'node:http'

/** Reads what it is sent, and answers with the id of its process. */
export function answer(request: IncomingMessage, response: ServerResponse): void {
  request.resume().on('end', () => {
    response.setHeader('Worker', String(process.pid))
    response.end('hello world')
  })
}
