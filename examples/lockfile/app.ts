import { Hono } from 'hono'
import { service } from 'steward'
import { inject } from 'steward/hono'
import { lock } from './lock.ts'

const app = new Hono().get('/', inject({ lock }), (c) =>
  c.text(`Process ${process.pid} holds ${c.var.lock}\n`),
)

export default service({ name: 'lockfile', app, resources: { lock } })
