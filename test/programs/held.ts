import net from 'node:net'
import { once } from 'node:events'
import { stayAlive } from '../helpers/pause.ts'
import { service } from '../../src/index.ts'

// Everything that people forget to close, beside the service

const server = net.createServer()

export default service({
  app: { fetch: () => new Response('hello') },
  async onStartup() {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as net.AddressInfo
    await once(net.connect(port, '127.0.0.1'), 'connect')
    stayAlive()
  },
})
