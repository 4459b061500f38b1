import http2, { type Http2ServerResponse } from 'node:http2'
import { setImmediate as turn } from 'node:timers/promises'
import { serving } from '../helpers/serving.ts'
import { certificate } from '../helpers/ways.ts'

// Ends a server at the moment at which one stream has been closed with its answer unsent, and another has something to send. Exits, or stands still
// for ever.

const isSecure = process.env['TLS'] === 'yes'
const serves = await serving(
  async (request, response) => {
    await turn()
    if (request.url === '/closed') {
      response.end('and that is all')
      return (response as unknown as Http2ServerResponse).stream.close()
    }
    response.write('something')
    void serves.server.close().then(() => process.exit(0))
  },
  { http2: true, ...(isSecure ? { tls: certificate } : {}) },
)
const url = `${isSecure ? 'https' : 'http'}://127.0.0.1:${serves.port}`
const client = http2.connect(url, { rejectUnauthorized: false })
client.on('error', () => {})
client.once('remoteSettings', () => {
  for (const path of ['/closed', '/open']) client.request({ ':path': path }).on('error', () => {})
})
