import express, { type Express } from 'express'
import { perApp, service } from 'steward'
import { inject } from 'steward/express'
import { database, visits } from './resources.ts'

/** The app is a resource: each start makes its own, and what a middleware needs while it is made can be injected here. */
export const web = perApp(() => {
  const app = express().disable('x-powered-by').use(express.json())
  shorten(app)
  follow(app)
  return app
})

function shorten(app: Express): void {
  app.post(
    '/links',
    inject({ database }, (req, res, { database }) => {
      const { url } = (req.body ?? {}) as { url?: unknown }
      if (typeof url !== 'string' || !URL.canParse(url)) {
        return res.status(400).json({ error: 'Give the url of a page' })
      }
      const link = database
        .prepare(
          'insert into links (url) values (?) on conflict do update set url = url returning id',
        )
        .get(url)
      return res.status(201).json({ code: codeOf(Number(link!['id'])), url })
    }),
  )
}

function follow(app: Express): void {
  const deps = inject({ database, visits })
  app.get('/:code', deps, (req, res, next) => {
    const { database, visits } = deps.of(req)
    const id = idOf(req.params.code)
    const link = database.prepare('select url from links where id = ?').get(id)
    // Not ours: Express answers 404
    if (!link) return next()
    visits.set(id, (visits.get(id) ?? 0) + 1)
    res.redirect(String(link['url']))
  })
}

function codeOf(id: number): string {
  return id.toString(36)
}

function idOf(code: string): number {
  const id = Number.parseInt(code, 36)
  return codeOf(id) === code ? id : 0
}

export default service({ name: 'links', app: web, gracefulTimeout: '10s' })
