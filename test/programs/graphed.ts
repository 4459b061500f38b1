import { Hono } from 'hono'
import { keyed, perApp, perHandler, perRequest, request, service } from '../../src/index.ts'
import { stayAlive } from '../helpers/pause.ts'
import { inject } from '../../src/adapters/hono.ts'

const opened = (): never => {
  throw new Error('a picture opens nothing')
}

// A module may begin something that would keep the process
stayAlive()

const db = perApp(opened)
const pool = perApp({ db }, opened, { lazy: true })
const tenants = keyed((_name: string) => perApp(opened), { name: 'tenants' })
const orders = perRequest({ pool, request, tenants }, opened)
const transaction = perHandler({ pool }, opened, { name: 'tx "1"' })

const app = new Hono().get('/', inject({ orders, transaction }), (c) => c.text(''))

export default service({ app, resources: { db }, onStartup: opened })
