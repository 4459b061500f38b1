import Fastify, { type FastifyInstance } from 'fastify'
import { perApp, service, stopping } from 'steward'
import steward, { inject } from 'steward/fastify'
import { database, news, newTicket, transaction, type Ticket } from './resources.ts'

const newOne = {
  body: {
    type: 'object',
    required: ['title'],
    properties: { title: { type: 'string', minLength: 1 } },
  },
} as const

/** The app is a resource: each start makes its own, and closes it when the last request has been answered. */
export const web = perApp(async () => {
  const app = Fastify()
  await app.register(steward)
  reading(app)
  writing(app)
  app.addHook('onClose', async () => console.error('The ticket office has closed'))
  return app
})

function reading(app: FastifyInstance): void {
  const deps = inject({ database, news, stopping })

  app.get('/tickets', { preHandler: deps }, async (request) => {
    return deps.of(request).database.prepare('select * from tickets order by id').all()
  })

  // A long poll: answers when there is a newer ticket, and at once when the service stops
  app.get<{ Querystring: { after?: string } }>(
    '/tickets/next',
    { preHandler: deps },
    async (request) => {
      const { database, news, stopping } = deps.of(request)
      const newer = database.prepare('select * from tickets where id > ? order by id')
      const after = Number(request.query.after ?? 0)
      let tickets = newer.all(after)
      while (tickets.length === 0 && !stopping.aborted) {
        await newTicket(news, stopping)
        tickets = newer.all(after)
      }
      return { tickets, stopping: stopping.aborted }
    },
  )
}

function writing(app: FastifyInstance): void {
  app.post<{ Body: { title: string } }>(
    '/tickets',
    { schema: newOne },
    inject({ transaction }, async (request, reply, { transaction }) => {
      const insert = transaction.prepare('insert into tickets (title) values (?) returning *')
      return reply.code(201).send(insert.get(request.body.title))
    }),
  )

  app.post<{ Params: { id: string } }>(
    '/tickets/:id/close',
    inject({ transaction }, async ({ params }, reply, { transaction }) => {
      const close = transaction.prepare('update tickets set closed = 1 where id = ? returning *')
      const before = transaction.prepare('select * from tickets where id = ?').get(params.id)
      const ticket = close.get(params.id) as Ticket | undefined
      if (!ticket) return reply.code(404).send({ error: 'There is no such ticket' })
      // The 409 takes the update back
      if (before?.['closed']) return reply.code(409).send({ error: 'It is closed already' })
      return ticket
    }),
  )
}

export default service({ name: 'tickets', app: web, gracefulTimeout: '10s' })
