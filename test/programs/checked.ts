import { perApp, service } from '../../src/index.ts'

/** What is broken: `critical`, `other`. */
const broken = new Set<string>()
const checkOf = (name: string) => () => {
  if (broken.has(name)) throw new Error(`postgres://user:secret@db is ${name} and broken`)
}

const critical = perApp(() => 'critical', { check: checkOf('critical'), critical: true })
const other = perApp(() => 'other', { check: checkOf('other') })

export default service({
  resources: { critical, other },
  app: {
    fetch(request: Request) {
      const { pathname } = new URL(request.url)
      if (pathname.startsWith('/break/')) broken.add(pathname.slice('/break/'.length))
      return new Response(`app ${pathname}`)
    },
  },
})
