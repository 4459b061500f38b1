import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import { Counter } from '../helpers/gate.ts'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const PAGE = 'https://example.com/a/long/way'

function serve(file: string): Spawned {
  return new Spawned('examples/express/app.ts', { env: { LINKS_FILE: file } })
}

function shorten(url: string, page: unknown): Promise<Response> {
  return fetch(`${url}/links`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ url: page }),
  })
}

function follow(url: string, code: string): Promise<Response> {
  return fetch(`${url}/${code}`, { redirect: 'manual', headers: { connection: 'close' } })
}

describe('examples/express', () => {
  it('shortens a link and follows it, and says what it does not understand', async () => {
    await using links = serve(':memory:')
    const url = await links.url()
    const made = await shorten(url, PAGE)
    assert.deepEqual([made.status, await made.json()], [201, { code: '1', url: PAGE }])
    const found = await follow(url, '1')
    assert.deepEqual([found.status, found.headers.get('location')], [302, PAGE])
    assert.equal((await shorten(url, 'no page')).status, 400)
    assert.equal((await follow(url, 'zz')).status, 404)
  })

  it('counts every visit that it has answered, when it is stopped under load, and starts again', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'links.db')
    let visits = 0
    for (let start = 0; start < 2; start++) {
      await using links = serve(file)
      const url = await links.url()
      await shorten(url, PAGE)
      const followed = new Counter()
      const clients = Array.from({ length: 20 }, async () => {
        for (;;) {
          const answer = await follow(url, '1').catch(() => undefined)
          if (!answer) return
          assert.equal(answer.status, 302)
          followed.add()
        }
      })
      await followed.reached(100)
      assert.equal(await links.stop(), 0)
      await Promise.all(clients)
      visits += followed.count
    }
    using database = new DatabaseSync(file)
    assert.deepEqual(
      database
        .prepare('select * from links')
        .all()
        .map((row) => ({ ...row })),
      [{ id: 1, url: PAGE, visits }],
    )
  })
})
