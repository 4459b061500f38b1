import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import type { Entry } from '../../examples/chat/history.ts'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { WsClient } from '../helpers/ws-client.ts'

const GOODBYE = 'The chat goes away for a moment. What has been said is kept.'

describe('examples/chat', () => {
  it('lets everybody in a room hear everybody in the same order, and nobody else', async () => {
    await using chat = await open()
    using ada = await chat.enter('harbour', 'ada')
    using ben = await chat.enter('harbour', 'ben')
    using eve = await chat.enter('attic', 'eve')
    for (let number = 1; number <= 20; number++) {
      ada.say(`a${number}`)
      ben.say(`b${number}`)
    }
    await Promise.all([ada.said(40), ben.said(40)])

    assert.deepEqual(ada.spoken, ben.spoken)
    for (const who of ['a', 'b']) {
      assert.deepEqual(
        ada.spoken.filter((text) => text.startsWith(who)),
        Array.from({ length: 20 }, (_, index) => `${who}${index + 1}`),
      )
    }
    eve.say('alone')
    await eve.said(1)
    assert.deepEqual(eve.spoken, ['alone'])
  })

  it('tells who comes what was said before, and who comes back what is new', async () => {
    await using chat = await open()
    using ada = await chat.enter('harbour', 'ada')
    ada.say('one')
    await ada.said(1)
    using ben = await chat.enter('harbour', 'ben')
    await ben.said(1)
    assert.deepEqual(ben.spoken, ['one'])
    ben.ws.close()
    await ada.heard(({ kind, who }) => kind === 'left' && who === 'ben')
    ada.say('two')
    await ada.said(2)

    using again = await chat.enter('harbour', 'ben', { after: ben.entries.at(-1)!.id })
    await again.said(1)
    assert.deepEqual([again.spoken, again.hasGap], [['two'], false])
  })

  it('tells who was away for long the last hundred entries, and that there is a gap before them', async () => {
    await using chat = await open()
    using ada = await chat.enter('harbour', 'ada')
    for (let number = 1; number <= 101; number++) ada.say(`a${number}`)
    await ada.said(101)
    const { id } = ada.entries[0]!
    using ben = await chat.enter('harbour', 'ben', { after: id })
    using cyd = await chat.enter('harbour', 'cyd', { after: id + 3 })

    assert.deepEqual([ben.spoken[0], ben.hasGap], ['a2', true])
    assert.deepEqual([cyd.spoken[0], cyd.hasGap], ['a4', false])
  })

  it('W1 W4 says goodbye to everybody, writes down that they have left, and closes the database', async () => {
    await using chat = await open()
    const names = ['ada', 'ben', 'cyd', 'dot', 'eli']
    const members = await Promise.all(names.map((name) => chat.enter('harbour', name)))
    members[0]!.say('the last word')
    await Promise.all(members.map((member) => member.said(1)))

    assert.equal(await chat.process.stop('SIGTERM'), 0)
    for (const member of members) {
      assert.equal((await member.end).code, 1001)
      assert.deepEqual(member.goodbyes, [GOODBYE])
    }
    // A database that was not closed leaves two more files
    assert.deepEqual(readdirSync(chat.folder), ['chat.db', 'transcript.txt'])
    const left = entriesIn(chat.folder).filter(({ kind }) => kind === 'left')
    assert.deepEqual(left.map(({ who }) => who).toSorted(), names)
    // Nobody waited for the transcript, and it is whole
    assert.match(readFileSync(join(chat.folder, 'transcript.txt'), 'utf8'), /ada: the last word\n$/)
    const { clean, served } = await chat.process.line('service.closed')
    assert.equal(clean, true)
    const { told, lost } = (served as { sockets: { told: number; lost: number } }).sockets
    assert.deepEqual([told, lost], [5, 0])
    const troubles = chat.process.log.filter(({ level }) => level !== 'info' && level !== 'debug')
    assert.deepEqual(troubles, [])
  })

  it('W1 has everybody come back after a reload, and keeps what is said twice once', async () => {
    await using chat = await open()
    using ada = await chat.enter('harbour', 'ada')
    ada.say('before', 'key-before')
    await ada.said(1)
    chat.process.child.kill('SIGHUP')
    assert.equal((await ada.end).code, 1012)
    assert.deepEqual(ada.goodbyes, [GOODBYE])

    using again = await chat.enter('harbour', 'ada', { after: ada.entries.at(-1)!.id })
    again.say('before', 'key-before')
    again.say('after')
    await again.said(1)
    assert.deepEqual(again.spoken, ['after'])
    await chat.process.line('roll.ended')
    assert.equal(await chat.process.stop(), 0)
    const said = entriesIn(chat.folder).filter(({ kind }) => kind === 'said')
    assert.deepEqual(
      said.map(({ text }) => text),
      ['before', 'after'],
    )
  })

  it('reaches those whom another process serves, in the same order', async () => {
    await using chat = await open()
    await using other = await open(chat.folder)
    using ada = await chat.enter('harbour', 'ada')
    using ben = await other.enter('harbour', 'ben')
    for (let number = 1; number <= 10; number++) {
      ada.say(`a${number}`)
      ben.say(`b${number}`)
    }
    await Promise.all([ada.said(20), ben.said(20)])

    assert.deepEqual(ada.spoken, ben.spoken)
  })

  it('closes with 1007 what does not fit, and with 1009 what is too large', async () => {
    await using chat = await open()
    using ada = await chat.enter('harbour', 'ada')
    ada.say(' ')
    const { code, reason } = await ada.end
    assert.equal(code, 1007)
    assert.match(reason, /^The message does not fit: text: /)
    using ben = await chat.enter('harbour', 'ben')
    ben.ws.send('hello')
    assert.deepEqual(await ben.end, { code: 1007, reason: 'The message is no JSON' })
    using cyd = await chat.enter('harbour', 'cyd')
    cyd.say('x'.repeat(20_000))
    assert.equal((await cyd.end).code, 1009)

    using dot = await chat.enter('harbour', 'dot')
    await dot.heard(({ kind, who }) => kind === 'left' && who === 'cyd')
    assert.deepEqual(dot.spoken, [])
  })

  it('refuses other origins, unknown paths, and who does not say a name', async () => {
    await using chat = await open()
    const refused = async (path: string, origin?: string): Promise<number> =>
      (await WsClient.refused(chat.port, path, origin === undefined ? {} : { origin })).status

    assert.equal(await refused('/rooms/harbour?name=eve', 'https://elsewhere.example'), 403)
    assert.equal(await refused('/kitchen?name=eve'), 404)
    assert.equal(await refused('/rooms/Harbour?name=eve'), 400)
    assert.equal(await refused('/rooms/harbour'), 400)
    assert.equal(await refused('/rooms/harbour?name=eve&after=-1'), 400)
    assert.equal((await fetch(`${chat.url}/rooms/harbour?name=eve`)).status, 426)
    assert.equal(await chat.process.stop(), 0)
    assert.deepEqual(entriesIn(chat.folder), [])
  })

  it('shows a page that needs nothing from anywhere else', async () => {
    await using chat = await open()
    const answer = await fetch(chat.url)
    const html = await answer.text()

    assert.match(answer.headers.get('content-type')!, /^text\/html/)
    assert.match(html, /<title>/)
    assert.doesNotMatch(html, /(?:src|href)="(?!data:)|@import|url\(/)
  })
})

/** A chat that is open, in a process of its own, with a folder that is gone at the end of the block. */
interface Chat extends AsyncDisposable {
  readonly process: Spawned
  readonly folder: string
  readonly url: string
  readonly port: number
  enter(room: string, name: string, options?: { after?: number }): Promise<Member>
}

async function open(given?: string): Promise<Chat> {
  const temporary = given === undefined ? temporaryFolder() : undefined
  const folder = given ?? temporary!.path
  const process = new Spawned('examples/chat/app.ts', { env: { CHAT_FOLDER: folder } })
  const url = await process.url()
  const port = Number(new URL(url).port)
  return {
    process,
    folder,
    url,
    port,
    enter: (room, name, { after = 0 } = {}) =>
      Member.enter(port, `/rooms/${room}?name=${name}&after=${after}`),
    async [Symbol.asyncDispose]() {
      await process[Symbol.asyncDispose]()
      temporary?.[Symbol.dispose]()
    },
  }
}

/** Somebody in a room, and what they have heard. */
class Member implements Disposable {
  readonly #client: WsClient
  readonly entries: Entry[] = []
  /** Does what it was told at first not reach back to what it has seen? */
  hasGap = false
  readonly #goodbyes: string[] = []

  private constructor(client: WsClient) {
    this.#client = client
  }

  /** Enters a room, and waits until the room has heard of it. */
  static async enter(port: number, path: string): Promise<Member> {
    const member = new Member(await WsClient.connect(port, path))
    const name = new URL(path, 'http://chat').searchParams.get('name')
    await member.heard(({ kind, who }) => kind === 'joined' && who === name)
    return member
  }

  get ws(): WsClient['ws'] {
    return this.#client.ws
  }

  get end(): WsClient['end'] {
    return this.#client.end
  }

  /** What was said, by whomever, in the order in which it was heard. */
  get spoken(): string[] {
    return this.entries.filter(({ kind }) => kind === 'said').map(({ text }) => text)
  }

  /** The words of the service before its end. Whatever came before them has been heard, too. */
  get goodbyes(): string[] {
    while (this.#client.messages.length > 0) this.#take(this.#client.messages.shift()!)
    return this.#goodbyes
  }

  say(text: string, key: string = crypto.randomUUID()): void {
    this.ws.send(JSON.stringify({ key, text }))
  }

  async said(count: number): Promise<void> {
    while (this.spoken.length < count) this.#take(await this.#client.next())
  }

  async heard(what: (entry: Entry) => boolean): Promise<void> {
    while (!this.entries.some(what)) this.#take(await this.#client.next())
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]()
  }

  #take(message: string | Buffer): void {
    const {
      entries = [],
      hasGap,
      goodbye,
    } = JSON.parse(String(message)) as {
      entries?: Entry[]
      hasGap?: boolean
      goodbye?: string
    }
    this.hasGap ||= hasGap === true
    this.entries.push(...entries)
    if (goodbye !== undefined) this.#goodbyes.push(goodbye)
  }
}

function entriesIn(folder: string): Entry[] {
  using database = new DatabaseSync(join(folder, 'chat.db'), { readOnly: true })
  return database.prepare('select * from entries order by id').all() as unknown as Entry[]
}
