import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Chromium, NO_CHROMIUM, Visitor } from '../helpers/chromium.ts'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

describe('the page of examples/shop', { skip: NO_CHROMIUM }, () => {
  it('L5 shows every order at once, and tells the visitors at the stop', async () => {
    using folder = temporaryFolder()
    const options = { env: { SHOP_FOLDER: folder.path }, args: ['--port', '0', '--workers', '2'] }
    await using shop = new Spawned('examples/shop/app.ts', options)
    await using browser = await Chromium.launch()
    const url = await shop.url()
    await using ada = await enter(browser, url)
    await using ben = await enter(browser, url)
    await ada.page.locator('#user').fill('<i>ada</i>')
    const biscuits = ada.page.locator('.item', { hasText: "Ship's biscuits" })
    await biscuits.getByRole('button', { name: 'Order', exact: true }).click()
    await ada.shows('201: order 1 is on its way')
    await ben.shows("Ship's biscuits for <i>ada</i>")
    await ben.shows('999 left')
    await biscuits.getByRole('button', { name: '20 at once' }).click()
    await ada.shows('20 orders, one transaction at a time: 20 × 201')
    await ben.shows('#21')
    assert.deepEqual([ada.troubles, ben.troubles], [[], []])

    assert.equal(await shop.stop('SIGTERM'), 0)
    for (const visitor of [ada, ben]) {
      await visitor.shows('The shop has closed')
      await visitor.shows('The long poll was answered: 200, stopping')
      await visitor.shows('The report came to its end')
      assert.equal(await visitor.page.getByRole('button', { disabled: false }).count(), 0)
      assert.deepEqual(visitor.troubles.filter(isTrouble), [])
    }
  })
})

/** What the browser logs of a page that asks whether the shop is open again: 503 while it closes, and then nobody is there. */
const isTrouble = (text: string): boolean => !/status of 503|ERR_CONNECTION_REFUSED/.test(text)

async function enter(browser: Chromium, url: string): Promise<Visitor> {
  const visitor = new Visitor(await browser.newPage())
  await visitor.page.goto(url)
  await visitor.page.locator('body.open').waitFor()
  return visitor
}
