import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { ready } from '../child.ts'

/** `ws` alone, with what we have set, too. */
const http = createServer()
const server = new WebSocketServer({ noServer: true, maxPayload: 1_048_576 })
http.on('upgrade', (request, socket, head) => {
  server.handleUpgrade(request, socket, head, (ws) => {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }))
  })
})
http.listen(0, '127.0.0.1', () =>
  ready(http.address(), async () => {
    for (const one of server.clients) one.close(1001)
    server.close()
    http.close()
  }),
)
