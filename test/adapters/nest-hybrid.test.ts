import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Controller, type Type } from '@nestjs/common'
import { ClientProxyFactory, MessagePattern, Transport } from '@nestjs/microservices'
import { firstValueFrom } from 'rxjs'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { Gate } from '../helpers/gate.ts'
import { nestApp, platforms } from '../helpers/nest-door.ts'
import { freePort, quietly, refused } from '../helpers/services.ts'
import { within } from '../helpers/within.ts'

/** A controller that answers messages. */
function sums(): Type {
  class Sums {
    sum(numbers: number[]): number {
      return numbers.reduce((sum, one) => sum + one, 0)
    }
  }
  const descriptor = Object.getOwnPropertyDescriptor(Sums.prototype, 'sum')!
  MessagePattern('sum')(Sums.prototype, 'sum', descriptor)
  Controller()(Sums)
  return Sums
}

for (const platform of platforms) {
  describe(`a hybrid app of Nest on ${platform}`, () => {
    it('takes messages until traffic is over: its transports close behind onModuleDestroy', async () => {
      const told: string[] = []
      const [begun, goOn] = [new Gate(), new Gate()]
      const slow = async (): Promise<string> => {
        begun.open()
        await goOn.opened
        return 'slow page'
      }
      const provider = { onModuleDestroy: () => void told.push('onModuleDestroy') }
      const app = await nestApp(platform, [{ path: '/', interceptors: [], handle: slow }], {
        providers: [provider],
        controllers: [sums()],
      })
      const port = await freePort()
      app.connectMicroservice({ transport: Transport.TCP, options: { host: '127.0.0.1', port } })
      const running = await serve(
        service({
          app,
          onStartup: () => app.startAllMicroservices(),
          onDrained: () => void told.push('onDrained'),
        }),
        quietly,
      )
      const client = ClientProxyFactory.create({
        transport: Transport.TCP,
        options: { host: '127.0.0.1', port },
      })
      const sum = (): Promise<number> => firstValueFrom(client.send<number>('sum', [1, 2]))
      assert.equal(await within(5_000, sum(), 'the sum'), 3)
      const page = fetch(running.url)
      await within(5_000, begun.opened, 'the request')
      const stopped = running.stop()
      assert.equal(await within(5_000, sum(), 'the sum while it drains'), 3)
      goOn.open()
      assert.equal(await (await page).text(), 'slow page')
      assert.equal((await stopped).clean, true)
      assert.deepEqual(told, ['onDrained', 'onModuleDestroy'])
      assert.equal(await refused(port), true)
      client.close()
    })
  })
}
