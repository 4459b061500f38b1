/** A child process that serves until its parent is gone: `node server.ts NAME`. */
const name = process.argv[2]

process.on('disconnect', () => process.exit())
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpu: user + system })
})

const { listen } = (await import(`./servers/${name}.ts`)) as { listen(): Promise<number> }
process.send?.({ port: await listen() })
