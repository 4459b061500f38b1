import assert from 'node:assert/strict'
import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { digestOf, Watched, type WatchedOptions } from '../../src/supervisor/watched.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const nothing = { base: '/app', folders: [], include: [], exclude: [], files: [] }

describe('what was loaded', () => {
  it('D6 is watched from then on, once', () => {
    const watched = new Watched(nothing)
    const loaded = { digest: 'a', generation: 1 }
    assert.equal(watched.loads('/elsewhere/db.ts', loaded), 'new')
    assert.equal(watched.loads('/elsewhere/db.ts', loaded), 'watched')
    assert.equal(watched.ignores('/elsewhere/db.ts', true), false)
  })

  it('D6 is not watched where it was installed, or is excluded', () => {
    const watched = new Watched({ ...nothing, exclude: ['generated', 'src/*.gen.ts'] })
    const what = (file: string): string => watched.loads(file, { digest: 'a', generation: 1 })
    assert.equal(what('/app/node_modules/hono/index.js'), 'ignored')
    assert.equal(what('/app/src/generated/client.ts'), 'ignored')
    assert.equal(what('/app/src/db.gen.ts'), 'ignored')
    assert.equal(what('/app/src/db.ts'), 'new')
  })

  it('D4 is outdated when two workers of one generation have loaded different content', () => {
    const watched = new Watched(nothing)
    watched.loads('/app/db.ts', { digest: 'a', generation: 1 })
    assert.equal(watched.loads('/app/db.ts', { digest: 'b', generation: 2 }), 'watched')
    assert.equal(watched.loads('/app/db.ts', { digest: 'c', generation: 2 }), 'outdated')
  })

  it('D4 has changed when its content is another, and only then', () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'db.ts')
    writeFileSync(file, 'one')
    const watched = new Watched(nothing)
    watched.loads(file, { digest: digestOf(file), generation: 1 })
    utimesSync(file, new Date(), new Date())
    assert.equal(watched.hasChanged(file), false)
    writeFileSync(file, 'two')
    assert.deepEqual([watched.hasChanged(file), watched.hasChanged(file)], [true, false])
    rmSync(file)
    assert.deepEqual([watched.hasChanged(file), watched.hasChanged(file)], [true, false])
  })

  it('D6 is not watched any more when a later generation is ready without it', () => {
    using folder = temporaryFolder()
    const [old, page] = [join(folder.path, 'old.ts'), join(folder.path, 'page.html')]
    const watched = new Watched({ ...nothing, folders: [folder.path], include: ['*.html'] })
    watched.loads(old, { digest: 'a', generation: 1 })
    watched.loads(page, { digest: '', generation: 1 })
    watched.loads('/app/app.ts', { digest: 'a', generation: 2 })
    assert.equal(watched.ignores(old, true), false, 'the start of the later one may yet fail')
    assert.deepEqual(watched.isReady(2), [old])
    writeFileSync(old, 'changed')
    writeFileSync(page, 'changed')
    assert.deepEqual([old, page, '/app/app.ts'].map((file) => watched.hasChanged(file)), [false, true, true]) // oxfmt-ignore
  })

  it('D6 has changed when it was not there, and is now', () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'later.ts')
    const watched = new Watched(nothing)
    watched.loads(file, { digest: digestOf(file), generation: 1 })
    assert.equal(watched.hasChanged(file), false)
    writeFileSync(file, 'there')
    assert.equal(watched.hasChanged(file), true)
  })
})

describe('--reload-include and --reload-exclude', () => {
  it('D6 take a name anywhere below the folder, and a path from it', () => {
    const { ignores } = looking({ include: ['*.html', 'config/*.json', './locales/**'] })
    for (const path of ['page.html', 'views/page.html', 'config/a.json', 'locales/en/a.txt']) {
      assert.equal(ignores(path), false, path)
    }
    for (const path of ['page.css', 'views/config/a.json', 'config/deep/a.json']) {
      assert.equal(ignores(path), true, path)
    }
  })

  it('D6 exclude files and whole folders, by name and by path', () => {
    const { ignores, ignoresFolder } = looking({
      include: ['*'],
      exclude: ['*.tmp', 'cache/', 'data/**'],
    })
    for (const path of ['a.tmp', 'deep/a.tmp', 'cache/a', 'deep/cache/a', 'data/a/b']) {
      assert.equal(ignores(path), true, path)
    }
    assert.equal(ignoresFolder('deep/cache'), true)
    for (const path of ['a.txt', 'cached/a', 'deep/data/a']) {
      assert.equal(ignores(path), false, path)
    }
  })

  it('D6 never look into node_modules and .git', () => {
    const { ignores, ignoresFolder } = looking({ include: ['*'] })
    assert.equal(ignoresFolder('node_modules'), true)
    assert.equal(ignoresFolder('.git'), true)
    assert.equal(ignores('deep/node_modules/a/index.js'), true)
    assert.equal(ignoresFolder('deep'), false)
  })

  it('D6 notice a file that comes and one that goes', () => {
    using folder = temporaryFolder()
    const page = join(folder.path, 'page.html')
    writeFileSync(page, 'there from the beginning')
    const watched = new Watched({ ...nothing, folders: [folder.path], include: ['*.html'] })
    watched.see(page)
    assert.equal(watched.hasChanged(page), false)
    const other = join(folder.path, 'new/other.html')
    mkdirSync(dirname(other))
    writeFileSync(other, 'new')
    assert.equal(watched.hasChanged(other), true)
    rmSync(page)
    assert.equal(watched.hasChanged(page), true)
  })
})

/** What is ignored below `/app`. */
function looking(options: Partial<WatchedOptions>): {
  ignores(path: string): boolean
  ignoresFolder(path: string): boolean
} {
  const watched = new Watched({ ...nothing, folders: ['/app'], ...options })
  return {
    ignores: (path) => watched.ignores(join('/app', path), true),
    ignoresFolder: (path) => watched.ignores(join('/app', path), false),
  }
}
