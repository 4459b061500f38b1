import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { join } from 'node:path/posix'
import { lineAt, list, read } from './helpers/repository.ts'

/** The layers of ARCHITECTURE.md: a file imports its own folder and what is below it. */
const LAYERS: Record<string, number> = {
  base: 0,
  scope: 1,
  http: 2,
  websocket: 2,
  tasks: 2,
  service: 3,
  supervisor: 4,
  adapters: 5,
  dashboard: 5,
  cli: 6,
  testing: 6,
}
/** `src/index.ts`, the main door: it shows what one process needs, and nothing of the supervisor. */
const MAIN_DOOR = 3.5

/** The only code that may name a signal: how one process hears them, and what kills when nobody hears. */
const KNOWS_SIGNALS = /^src\/(service\/(signals|watchdog)\.ts|supervisor\/|cli\/)/
const HANDLES_SIGNALS = /^src\/service\/(signals|watchdog)\.ts$/

const MAX_LINES = 400
const FORBIDDEN_NAME = /(^|[-/.])(utils?|commons?|helpers?|misc|shared)(?=[-/.])/

const sources = list('src/**/*.ts')

describe('the layers', () => {
  it('contain every source file', () => {
    const homeless = sources.filter((path) => layerOf(path) === undefined)
    assert.deepEqual(homeless, [], 'a folder of src needs a place in LAYERS and in ARCHITECTURE.md')
  })

  it('are imported downwards only', () => {
    assert.deepEqual(sources.flatMap(wrongImports), [])
  })

  it('would refuse an upward and a sideways import', () => {
    assert.equal(allowed('src/scope/scope.ts', 'src/service/serve.ts'), false)
    assert.equal(allowed('src/http/drain.ts', 'src/websocket/socket.ts'), false)
    assert.equal(allowed('src/service/service.ts', 'src/index.ts'), false)
    assert.equal(allowed('src/index.ts', 'src/supervisor/supervisor.ts'), false)
    assert.equal(allowed('src/index.ts', 'src/service/serve.ts'), true)
    assert.equal(allowed('src/service/serve.ts', 'src/http/drain.ts'), true)
    assert.equal(allowed('src/http/drain.ts', 'src/http/connections.ts'), true)
  })
})

describe('the doors', () => {
  const doors = sources.filter((path) => /(^|\/)index\.ts$|^src\/adapters\/[^/]+\.ts$/.test(path))

  it('are what package.json exports, and nothing else', () => {
    assert.deepEqual(exportedSources(), doors)
  })

  it('hold export lines only, where they are an index.ts', () => {
    const indexes = doors.filter((path) => path.endsWith('/index.ts'))
    const withCode = indexes.filter((path) => beyondExports(read(path)) !== '')
    assert.deepEqual(withCode, [])
  })
})

describe('the error codes', () => {
  const codes = [...read('src/base/errors.ts').matchAll(/^\s*\| '(ERR_[A-Z0-9_]+)'/gm)].map(
    (match) => match[1]!,
  )
  const headings = [...read('docs/errors.md').matchAll(/^## (ERR_[A-Z0-9_]+)$/gm)].map(
    (match) => match[1]!,
  )

  it('have one heading each in docs/errors.md', () => {
    assert.notEqual(codes.length, 0)
    assert.deepEqual(
      codes.filter((code) => !headings.includes(code)),
      [],
    )
    assert.deepEqual(headings, [...new Set(headings)])
  })

  it('are all that docs/errors.md has headings for', () => {
    assert.deepEqual(
      headings.filter((heading) => !codes.includes(heading)),
      [],
    )
  })
})

describe('the files', () => {
  it('are named after the one thing they do', () => {
    assert.deepEqual(
      sources.filter((path) => FORBIDDEN_NAME.test(path)),
      [],
    )
  })

  it(`have at most ${MAX_LINES} lines`, () => {
    const long = [...sources, ...list('test/**/*.ts', 'examples/**/*.ts')]
      .map((path) => ({ path, lines: read(path).trimEnd().split('\n').length }))
      .filter(({ lines }) => lines > MAX_LINES)
    assert.deepEqual(long, [])
  })

  it('leave signals to service/signals.ts', () => {
    const named = findInCode(
      /['"]SIG(TERM|INT|HUP|QUIT|KILL)['"]|\bSIG(TERM|INT)\b/g,
      KNOWS_SIGNALS,
    )
    assert.deepEqual(named, [])
    const handled = /\bprocess\s*\.\s*(on|once|addListener|prependListener)\(\s*['"]SIG/g
    assert.deepEqual(findInCode(handled, HANDLES_SIGNALS), [])
  })
})

/** The layer of a file of src; undefined when its folder has none. */
function layerOf(path: string): number | undefined {
  if (path === 'src/index.ts') return MAIN_DOOR
  return LAYERS[folderOf(path)]
}

function folderOf(path: string): string {
  const parts = path.split('/')
  return parts.length > 2 ? parts[1]! : ''
}

function allowed(from: string, to: string): boolean {
  if (folderOf(from) !== '' && folderOf(from) === folderOf(to)) return true
  return (layerOf(to) ?? Infinity) < (layerOf(from) ?? -1)
}

/** The imports of a file that point upwards or sideways, or at the package itself, in words. */
function wrongImports(path: string): string[] {
  const code = withoutComments(read(path))
  const pattern = /(?:\bfrom|\bimport|\bimport\(|\bnew URL\()\s*['"]([^'"]+)['"]/g
  return [...code.matchAll(pattern)].flatMap((match) => {
    const target = match[1]!
    const place = `${path}:${lineAt(code, match.index)}`
    if (/^steward(\/|$)/.test(target)) return [`${place} imports the package itself: "${target}"`]
    // A URL that is no module of ours is data: package.json, the package's own folder
    if (!target.startsWith('.') || !target.endsWith('.ts')) return []
    const to = join(path, '..', target)
    return allowed(path, to) ? [] : [`${place} imports ${to}, which is not below it`]
  })
}

/** The source files behind package.json's `exports`, sorted. */
function exportedSources(): string[] {
  const { exports } = JSON.parse(read('package.json')) as {
    exports: Record<string, string | { types: string; default: string }>
  }
  const targets = Object.values(exports).filter((target) => typeof target === 'object')
  for (const target of targets) {
    assert.equal(target.types, target.default.replace(/\.js$/, '.d.ts'))
  }
  return targets.map((target) => sourceOf(target.default)).toSorted()
}

/** The source file of a built one: `./dist/http/index.js` is made of `src/http/index.ts`. */
function sourceOf(built: string): string {
  return built.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts')
}

/** What is left of a door without its comments and `export … from` lines. */
function beyondExports(text: string): string {
  const reexport = /export\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s+from\s+'[^']+'/g
  return withoutComments(text).replaceAll(reexport, '').trim()
}

/** Where the code of src, comments aside, has the pattern, except in the files that may. */
function findInCode(pattern: RegExp, except: RegExp): string[] {
  return sources
    .filter((path) => !except.test(path))
    .flatMap((path) => {
      const code = withoutComments(read(path))
      return [...code.matchAll(pattern)].map((match) => {
        return `${path}:${lineAt(code, match.index)} says ${match[0]}`
      })
    })
}

/** The text with its comments blanked out; every line keeps its number. */
function withoutComments(text: string): string {
  const token =
    /('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g
  return text.replaceAll(token, (match: string, literal?: string) => {
    return literal ?? match.replaceAll(/[^\n]/g, ' ')
  })
}
