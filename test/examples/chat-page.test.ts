import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Chromium, NO_CHROMIUM, Visitor } from '../helpers/chromium.ts'
import { freePort } from '../helpers/services.ts'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const GOODBYE = 'The chat goes away for a moment. What has been said is kept.'

// Much of the first is waiting: a browser keeps its connections, and a page takes its time to come back
describe('the page of examples/chat', { skip: NO_CHROMIUM, concurrency: 2 }, () => {
  let browser: Chromium
  before(async () => (browser = await Chromium.launch()))
  after(() => browser[Symbol.asyncDispose]())

  it('W1 W4 tells everybody at the stop, and has them back with all that was said', async () => {
    using folder = temporaryFolder()
    const port = await freePort()
    await using chat = serve(folder.path, port)
    const url = await chat.url()
    await using ada = await Guest.enter(browser, url, 'ada')
    await using ben = await Guest.enter(browser, url, '<i>ben</i>')
    await ada.say('Is anybody here?')
    await ben.hears('Is anybody here?')
    await ben.say('<b>I</b> am, <img src=x onerror=alert(1)>')
    await ada.hears('<b>I</b> am, <img src=x onerror=alert(1)>')
    await ada.shows('<i>ben</i> is here · ')
    assert.deepEqual([ada.troubles, ben.troubles], [[], []])

    assert.equal(await chat.stop('SIGTERM'), 0)
    for (const guest of [ada, ben]) {
      await guest.shows(GOODBYE)
      await guest.shows('It was stopped (1001). This page waits for it.')
      assert.equal((await guest.codes())[0], 1001)
    }
    // The work that nobody waited for is done
    assert.deepEqual(transcriptOf(folder.path), await ada.texts())
    await ada.say('Are you gone?')
    await ada.shows('not there yet')

    await using again = serve(folder.path, port)
    await again.line('service.ready')
    await ben.hears('Are you gone?')
    await ben.shows('Nothing that was said is missing.')
    await using cyd = await Guest.enter(browser, url, 'cyd')
    await cyd.hears('Are you gone?')
    for (const guest of [ada, ben, cyd]) {
      assert.deepEqual(await guest.texts(), [
        'Is anybody here?',
        '<b>I</b> am, <img src=x onerror=alert(1)>',
        'Are you gone?',
      ])
      assert.deepEqual(guest.troubles.filter(isTrouble), [])
    }
  })

  it('V3 moves over to the new worker at a reload, and nothing is lost or heard twice', async () => {
    using folder = temporaryFolder()
    await using chat = serve(folder.path)
    const url = await chat.url()
    await using ada = await Guest.enter(browser, url, 'ada')
    await using ben = await Guest.enter(browser, url, 'ben')
    const said: string[] = []
    // Some of it is always under way; what was said before that has been heard
    const chatter = async (): Promise<void> => {
      const before = said.at(-1)
      const texts = Array.from({ length: 5 }, (_, index) => `number ${said.length + index}`)
      said.push(...texts)
      await ada.sayAll(texts)
      if (before !== undefined) await ada.hears(before)
    }
    for (let reload = 1; reload <= 2; reload++) {
      await chatter()
      chat.child.kill('SIGHUP')
      // On and on, until the worker that leaves parts with them: of what is said without them they are told the last hundred
      do await chatter()
      while ((await ben.codes()).length < reload && (await ada.codes()).length < reload)
      await chatter()
      await Promise.all([ada, ben].map((guest) => guest.hasClosed(reload)))
      await ben.hears(said.at(-1)!)
    }

    await ada.hears(said.at(-1)!)
    for (const guest of [ada, ben]) {
      assert.deepEqual(await guest.texts(), said)
      assert.deepEqual(await guest.codes(), [1012, 1012])
      assert.deepEqual(guest.troubles, [])
    }
  })

  it('goes on where it was after a reload of the page, and when it was offline', async () => {
    using folder = temporaryFolder()
    await using chat = serve(folder.path)
    const url = await chat.url()
    await using ada = await Guest.enter(browser, url, 'ada')
    await using ben = await Guest.enter(browser, url, 'ben')
    await ben.say('Bye')
    await ada.hears('Bye')
    await ben.page.close()
    await ada.shows('ben has left · ')
    await ada.page.reload()
    await ada.hears('Bye')

    await ada.page.context().setOffline(true)
    await ada.shows('This computer is offline')
    await ada.say('From the train')
    await ada.shows('not there yet')
    await ada.page.context().setOffline(false)
    await ada.hears('From the train')
    await ada.shows('Back again')
    assert.deepEqual(await ada.texts(), ['Bye', 'From the train'])

    await ada.page.context().setOffline(true)
    await ada.say('From the tunnel')
    await ada.page.goto('about:blank')
    await ada.page.context().setOffline(false)
    await ada.page.goBack()
    await ada.hears('From the tunnel')
    assert.deepEqual(await ada.texts(), ['Bye', 'From the train', 'From the tunnel'])
    assert.deepEqual([...ada.troubles, ...ben.troubles], [])
  })

  it('says what is too long or is not taken, and goes on', async () => {
    using folder = temporaryFolder()
    await using chat = serve(folder.path)
    await using ada = await Guest.enter(browser, await chat.url(), 'ada')
    const text = ada.page.locator('#text')
    const long = 'x'.repeat(1_001)
    await ada.say(long)
    assert.equal(await text.inputValue(), long)
    assert.equal(
      await text.evaluate('this.text.validationMessage'),
      'That is 1001 characters, and the chat takes 1000 at once',
    )
    await ada.say(long.slice(1))
    await ada.hears(long.slice(1))

    // A page that does not know the limit
    await text.fill(long)
    await text.evaluate('this.text.setCustomValidity("")')
    await text.press('Enter')
    await ada.shows('not taken')
    assert.deepEqual(await ada.codes(), [1007])
    await ada.say('Shorter, then')
    await ada.hears('Shorter, then')
    assert.deepEqual(await ada.texts(), [long.slice(1), 'Shorter, then'])
    assert.deepEqual(ada.troubles, [])
  })
})

/** Served as a user does it. */
function serve(folder: string, port = 0): Spawned {
  const options = { env: { CHAT_FOLDER: folder }, args: ['--port', String(port)] }
  return new Spawned('examples/chat/app.ts', options)
}

/** What a page may log while nobody is there: that it has tried. */
const isTrouble = (text: string): boolean => !text.includes('ERR_CONNECTION_REFUSED')

/** Somebody with the page open, in a browser. */
class Guest extends Visitor {
  static async enter(browser: Chromium, url: string, name: string): Promise<Guest> {
    const guest = new Guest(await browser.newPage())
    await guest.page.goto(`${url}/?room=harbour&name=${encodeURIComponent(name)}`)
    await guest.page.locator('body.connected').waitFor()
    return guest
  }

  async say(text: string): Promise<void> {
    await this.page.locator('#text').fill(text)
    await this.page.locator('#text').press('Enter')
  }

  /** All of it before anything of it can have been heard. */
  async sayAll(texts: readonly string[]): Promise<void> {
    const say = `text.value = said; document.getElementById('say').requestSubmit()`
    await this.page.evaluate(`for (const said of ${JSON.stringify(texts)}) { ${say} }`)
  }

  /** Waits until it has lost so many connections. */
  async hasClosed(count: number): Promise<void> {
    await this.page.waitForFunction(`codes.length === ${count}`)
  }

  /** Waits until this was said, by whomever, and the chat has it. */
  async hears(text: string): Promise<void> {
    await this.page.locator(SAID).getByText(text, { exact: true }).waitFor()
  }

  /** What was said, as it is on the page. */
  texts(): Promise<string[]> {
    return this.page.locator(SAID).locator('p').allTextContents()
  }
}

const SAID = 'li:not(.waiting, .refused)'

/** What was said, as it is in the file that nobody waits for. */
function transcriptOf(folder: string): string[] {
  const lines = readFileSync(join(folder, 'transcript.txt'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => line.replace(/^\S+ #\S+ \S+: /, ''))
}
