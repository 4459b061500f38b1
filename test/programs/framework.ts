import 'reflect-metadata'
import { Controller, Get, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import express from 'express'
import Fastify from 'fastify'
import Koa from 'koa'

// An app of the framework that FRAMEWORK names, as one would have it anyway, without `listen()`

const apps: Record<string, () => unknown> = {
  fastify() {
    const app = Fastify()
    app.get('/', async () => 'hello')
    app.addHook('onClose', async () => console.error('closed by its hook'))
    return app
  },
  express: () => express().get('/', (_request, response) => void response.send('hello')),
  koa: () =>
    new Koa().use((ctx) => {
      ctx.body = 'hello'
    }),
  async nest() {
    class Hello {
      greet(): string {
        return 'hello'
      }

      onApplicationShutdown(): void {
        console.error('closed by its hook')
      }
    }
    Controller()(Hello)
    Get()(Hello.prototype, 'greet', Object.getOwnPropertyDescriptor(Hello.prototype, 'greet')!)
    class App {}
    Module({ controllers: [Hello] })(App)
    const app = await NestFactory.create(App, { logger: false })
    return app.enableShutdownHooks()
  },
}

const make = apps[process.env['FRAMEWORK'] ?? '']!
const made = { app: make() }
// A Fastify app is a promise of its own start, too
export default made.app instanceof Promise ? await made.app : made.app
