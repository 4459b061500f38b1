import { Hono } from 'hono'
import { run } from 'steward'
import { inject, websocket } from 'steward/hono'
import { z } from 'zod'
import { addEntry, type Entry } from './history.ts'
import { feed, page, place, transaction, transcript, visitor } from './resources.ts'

/** What a page sends. Anything else closes its connection, with 1007 and what is wrong with it. */
const Saying = z.object({
  key: z.string().min(8).max(64),
  text: z.string().trim().min(1).max(1_000),
})

const conversation = websocket(
  { feed, place, visitor, transcript, run },
  async (socket, { feed, place: { room }, visitor: { name, after }, transcript, run }, c) => {
    const write = (
      kind: Entry['kind'],
      { text, key }: Said = NOTHING,
    ): Promise<Entry | undefined> =>
      run({ transaction }, ({ transaction }) =>
        addEntry(transaction, { room, kind, who: name, text, key }),
      )

    using _seat = feed.join(socket, room, after)
    await write('joined')
    try {
      for await (const said of socket.json(Saying)) {
        const entry = await write('said', said)
        // Nobody waits for the transcript, but the stop does
        if (entry) c.executionCtx.waitUntil(transcript.keep(entry))
      }
    } finally {
      // However it ended: the connection is closed by now, and the database is open until this is written
      await write('left')
    }
  },
  { maxPayload: 16_384 },
)

interface Said {
  readonly text: string
  readonly key: string | null
}

const NOTHING: Said = { text: '', key: null }

export const app = new Hono()
  .get('/', inject({ page }), (c) => c.html(c.var.page))
  .get('/rooms/:room', conversation)
