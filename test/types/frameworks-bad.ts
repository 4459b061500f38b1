// Every line that is marked must be refused on that line, with that text; no other line may be.
import Fastify from 'fastify'
import express from 'express'
import { per, perApp, service } from 'steward'
import { inject as injectExpress } from 'steward/express'
import { inject as injectFastify } from 'steward/fastify'
import { inject as injectKoa } from 'steward/koa'
import { inject as injectNest } from 'steward/nest'
import { inject as injectNode } from 'steward/node'
import { path, pool, replied, resed, tx } from './frameworks-good.ts'

const perJob = per('job', perApp)
const folder = perJob(() => 'folder')

// What the place cannot give
injectFastify({ pool, folder }) // ✗ 'folder' is closed with its job, and a Fastify handler has none
injectFastify({ folder }, async () => {}) // ✗ 'folder' is closed with its job, and a Fastify handler has none
injectFastify({ resed }, async () => {}) // ✗ 'resed' needs the Express response, and a Fastify handler has none
injectFastify({ path }) // ✗ 'path' needs the Koa context, and a Fastify handler has none
injectExpress({ folder }) // ✗ 'folder' is closed with its job, and an Express handler has none
injectExpress({ replied }, () => {}) // ✗ 'replied' needs the Fastify reply, and an Express handler has none
injectKoa({ folder }, () => {}) // ✗ 'folder' is closed with its job, and a Koa handler has none
injectKoa({ replied }) // ✗ 'replied' needs the Fastify reply, and a Koa handler has none
injectNest({ folder }) // ✗ 'folder' is closed with its job, and a Nest method has none
injectNest({ replied }) // ✗ 'replied' needs the Fastify reply, and a Nest method has none
injectNode({ replied }, () => {}) // ✗ 'replied' needs the Fastify reply, and a Node handler has none
service({ app: perApp({ tx }, () => express()) }) // ✗ 'tx' is closed with its handler, but this app resource would still hold it

// What was not injected, and what has another type
injectExpress({ pool }, (_request, response, values) => response.json(values.user)) // ✗ Property 'user' does not exist
export const nobody = injectExpress({ pool }).of({} as express.Request).user // ✗ Property 'user' does not exist
Fastify().get('/', injectFastify({ pool }, async (_request, _reply, { pool }) => pool.rows)) // ✗ Property 'rows' does not exist
Fastify().get<{ Params: { id: string } }>('/', injectFastify({ pool }, async (r) => r.params.name)) // ✗ Property 'name' does not exist
express().get('/:id', injectExpress({ pool }), (request) => request.params.name) // ✗ Property 'name' does not exist

// What is no app
service({ app: { serve: () => {} } }) // ✗ 'serve' does not exist in type
service({ app: perApp(() => ({ app: Fastify() })) }) // ✗ is not assignable to
