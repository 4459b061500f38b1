import { createHash } from 'node:crypto'

/** How a request asks to be answered: its target says it, so that client and service come to the same body. */
export interface Wish {
  readonly id: string
  /** How long the handler takes before the head of its answer, in milliseconds. */
  readonly wait: number
  /** How large the answer is at least, in bytes. */
  readonly size: number
  /** In how many parts it is written; 1: in one piece. */
  readonly parts: number
  /** How long each part takes, in milliseconds. */
  readonly gap: number
  /** What the handler does with the body of the request. */
  readonly reads: 'all' | 'nothing'
  /** Does it work in a handler scope, which is committed before the answer? */
  readonly commits: boolean
}

/** The target of a request with a wish. */
export function targetOf({ id, wait, size, parts, gap, reads, commits }: Wish): string {
  const path = commits ? 'commit' : 'plain'
  return `/${path}/${id}?wait=${wait}&size=${size}&parts=${parts}&gap=${gap}&reads=${reads}`
}

/** The wish of a target. */
export function wishOf(target: string): Wish {
  const { pathname, searchParams } = new URL(target, 'http://test')
  const [, path, id = ''] = pathname.split('/')
  const number = (name: string): number => Number(searchParams.get(name) ?? 0)
  return {
    id,
    wait: number('wait'),
    size: number('size'),
    parts: number('parts'),
    gap: number('gap'),
    reads: searchParams.get('reads') === 'nothing' ? 'nothing' : 'all',
    commits: path === 'commit',
  }
}

/** What the service answers, given the body that it has read: nothing that another request would get as well. */
export function answerTo({ id, size }: Pick<Wish, 'id' | 'size'>, read: Uint8Array): Buffer {
  const digest = createHash('sha1').update(read).digest('hex')
  const line = `${id} ${read.length} ${digest}\n`
  return Buffer.from(line.repeat(Math.max(1, Math.ceil(size / line.length))))
}
