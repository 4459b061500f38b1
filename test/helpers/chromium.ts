import { existsSync } from 'node:fs'
import { chromium, type Browser, type Page } from 'playwright-core'
import { temporaryFolder } from './temporary-folder.ts'

/** Where systems keep it. */
const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

const path = process.env['CHROMIUM'] || PLACES.find((place) => existsSync(place))

/** Why pages cannot be tested here, for `skip`. Where the project's CI runs they have to be. */
export const NO_CHROMIUM: string | false =
  path !== undefined
    ? false
    : 'no Chromium here: apt-get install chromium, or say in CHROMIUM where one is'
if (NO_CHROMIUM && process.env['CI']) throw new Error(`Cannot test the pages: ${NO_CHROMIUM}`)

/** It is quiet in every other respect: nothing is looked up or fetched but what a page asks for. */
const FLAGS = ['--disable-gpu', '--disable-quic', '--no-first-run']

/** How long a page may take for anything, in milliseconds. */
const PATIENCE = 20_000

/** Notes with which code each connection of a page was closed. */
const NOTE_CODES = `
  globalThis.codes = []
  WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given)
      this.addEventListener('close', ({ code }) => codes.push(code))
    }
  }`

/** A browser without a window, with a folder for all that it writes; both are gone at the end of the block. */
export class Chromium implements AsyncDisposable {
  readonly #browser: Browser
  readonly #all: AsyncDisposable

  private constructor(browser: Browser, all: AsyncDisposable) {
    this.#browser = browser
    this.#all = all
  }

  static async launch(): Promise<Chromium> {
    await using stack = new AsyncDisposableStack()
    const { path: folder } = stack.use(temporaryFolder())
    const env = { ...process.env, HOME: folder, TMPDIR: folder } as Record<string, string>
    const options = { executablePath: path!, args: FLAGS, env, timeout: PATIENCE }
    const browser = stack.use(await chromium.launch(options))
    return new Chromium(browser, stack.move())
  }

  /** A page that shares nothing with the others. */
  async newPage(): Promise<Page> {
    const context = await this.#browser.newContext()
    context.setDefaultTimeout(PATIENCE)
    await context.addInitScript({ content: NOTE_CODES })
    return context.newPage()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#all[Symbol.asyncDispose]()
  }
}

/** Who looks at a page, and what went wrong on it. Closed with all its connections at the end of the block. */
export class Visitor implements AsyncDisposable {
  readonly page: Page
  /** What its console shows in red, and what its script threw and did not catch. */
  readonly troubles: string[] = []

  constructor(page: Page) {
    this.page = page
    page.on('pageerror', (error) => this.troubles.push(String(error)))
    page.on('console', (line) => {
      if (line.type() === 'error') this.troubles.push(line.text())
    })
  }

  /** With which code each of its WebSockets was closed, since it was loaded. */
  codes(): Promise<number[]> {
    return this.page.evaluate<number[]>('codes')
  }

  /** Waits until it shows this. */
  async shows(text: string): Promise<void> {
    await this.page.getByText(text).first().waitFor()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close()
  }
}
