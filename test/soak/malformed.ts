import type { Random } from '../helpers/random.ts'

/** Something that is no request, or hardly one. */
export interface Malformed {
  readonly kind: string
  readonly bytes: Buffer
}

/** One of a kind, drawn; every third with bytes of it changed at random. */
export function malformed(random: Random): Malformed {
  const kind = random.pick(NAMES)
  const bytes = Buffer.from(KINDS[kind](random), 'latin1')
  return random.chance(0.33)
    ? { kind: `${kind}, changed`, bytes: mutate(bytes, random) }
    : { kind, bytes }
}

/** In pieces, cut at random places; often everywhere when it is short. */
export function pieces(bytes: Buffer, random: Random): Buffer[] {
  if (random.chance(0.4)) return [bytes]
  if (bytes.length < 120 && random.chance(0.3)) {
    return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
  }
  const count = random.int(1, 4)
  const cuts = Array.from({ length: count }, () => random.int(0, bytes.length))
  const places = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
  const parts = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
  return parts.filter((part) => part.length > 0)
}

type Kind = (random: Random) => string

const head = (line: string, ...headers: string[]): string =>
  [line, 'Host: test', ...headers, '', ''].join('\r\n')

const post = (...headers: string[]): string => head('POST /plain/x HTTP/1.1', ...headers)

const KINDS = {
  'a broken request line': (random) =>
    random.pick([
      'GET\r\n\r\n',
      'GET /\r\n\r\n',
      head(' GET / HTTP/1.1'),
      head('GET  / HTTP/1.1'),
      head('GET / / HTTP/1.1'),
      head('get / HTTP/1.1'),
      head('G@T / HTTP/1.1'),
      head('GET /\x00 HTTP/1.1'),
      head('GET /\x7f\xff HTTP/1.1'),
      head('GET\t/\tHTTP/1.1'),
      head('BREW /pot HTTP/1.1'),
      '\r\n\r\n\r\n',
      '\x00\x01\x02\x03',
      'SSH-2.0-client\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    ]),

  'a wrong version': (random) => {
    const version = random.pick([
      'HTTP/0.9',
      'HTTP/1.2',
      'HTTP/2.0',
      'HTTP/3',
      'HTTP/11',
      'HTTQ/1.1',
    ])
    return head(`GET /plain/x ${version}`)
  },

  'the preface of HTTP/2': () =>
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00',

  'an odd target': (random) => {
    const targets = ['*', 'test:80', 'http://test/plain/x', 'http://', '//', '/..//%zz', '?', '/\\']
    return head(`${random.pick(['GET', 'OPTIONS', 'POST'])} ${random.pick(targets)} HTTP/1.1`)
  },

  'a long target': (random) => head(`GET /plain/${'x'.repeat(random.int(5_000, 40_000))} HTTP/1.1`),

  'a broken header': (random) =>
    head(
      'GET /plain/x HTTP/1.1',
      random.pick([
        'A',
        ': b',
        'A : b',
        'A\x00: b',
        'A: \x00',
        'A: b\rC: d',
        'A: b\nC: d',
        '\x80: b',
        '(): b',
      ]),
    ),

  'a folded header': () => head('GET /plain/x HTTP/1.1', 'A: b', '  c', '\td'),

  'only line feeds': () => 'GET /plain/x HTTP/1.1\nHost: test\n\n',

  'only carriage returns': () => 'GET /plain/x HTTP/1.1\rHost: test\r\r',

  'headers too large': (random) =>
    head('GET /plain/x HTTP/1.1', `A: ${'b'.repeat(random.int(10_000, 90_000))}`),

  'many headers': (random) => {
    const count = random.int(500, 3_000)
    return head('GET /plain/x HTTP/1.1', ...Array.from({ length: count }, (_, n) => `A${n}: b`))
  },

  'no host, or several': (random) =>
    random.pick([
      'GET /plain/x HTTP/1.1\r\n\r\n',
      head('GET /plain/x HTTP/1.1', 'Host: other'),
      'GET /plain/x HTTP/1.1\r\nHost: a b/\\@\r\n\r\n',
      'GET /plain/x HTTP/1.1\r\nHost:\r\n\r\n',
    ]),

  'a wrong length': (random) => {
    const length = random.pick([
      '-1',
      '+5',
      '0x5',
      '5, 5',
      '5, 6',
      '1e3',
      '99999999999999999999',
      '',
      'five',
    ])
    return `${post(`Content-Length: ${length}`)}hello`
  },

  'a length that is not kept': (random) =>
    `${post(`Content-Length: ${random.pick([1, 3, 10, 5_000])}`)}hello`,

  'two lengths': (random) =>
    `${post('Content-Length: 5', `Content-Length: ${random.pick([5, 6])}`)}hello`,

  'a length and chunks': () =>
    `${post('Content-Length: 5', 'Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\n\r\n`,

  'another encoding': (random) => {
    const encodings = [
      'gzip',
      'chunked, gzip',
      'gzip, chunked',
      'chunked, chunked',
      'xchunked',
      ' ',
    ]
    return `${post(`Transfer-Encoding: ${random.pick(encodings)}`)}5\r\nhello\r\n0\r\n\r\n`
  },

  'broken chunks': (random) => {
    const chunks = random.pick([
      'x\r\n',
      '-5\r\nhello\r\n',
      '5\r\nhello',
      '5\r\nhelloo\r\n0\r\n\r\n',
      '5\nhello\n0\n\n',
      'fffffffffffffffff\r\nhello',
      '5 \r\nhello\r\n0\r\n\r\n',
      '\r\n',
      '0\r\nTrailer\r\n\r\n',
      '0\r\nA: b\r\nContent-Length: 3\r\n\r\n',
    ])
    return post('Transfer-Encoding: chunked') + chunks
  },

  'large chunk extensions': (random) =>
    `${post('Transfer-Encoding: chunked')}5;${'a'.repeat(random.int(1_000, 40_000))}\r\nhello\r\n0\r\n\r\n`,

  CONNECT: (random) => head(`CONNECT ${random.pick(['test:443', '/', 'a b', 'test'])} HTTP/1.1`),

  'an upgrade': (random) => {
    const wanted = random.pick(['websocket', 'h2c', 'TLS/1.0', 'nobody-knows', ''])
    const more =
      wanted === 'h2c' ? ['HTTP2-Settings: AAMAAABkAAQAAP__'] : ['Sec-WebSocket-Key: eA==']
    const connection = random.pick(['Upgrade', 'upgrade, HTTP2-Settings', 'keep-alive, Upgrade'])
    const request = head(
      'GET /plain/x HTTP/1.1',
      `Connection: ${connection}`,
      `Upgrade: ${wanted}`,
      ...more,
    )
    return request + random.pick(['', '\x81\x85\x00\x00\x00\x00hello'])
  },

  'an odd expectation': (random) => {
    const expectation = random.pick([
      '100-continue',
      '100-Continue, x',
      'gold',
      '',
      '\xff',
      '200-ok',
    ])
    return `${post('Content-Length: 5', `Expect: ${expectation}`)}hello`
  },

  'an odd Connection': (random) => {
    const connection = random.pick([
      'close, keep-alive',
      'keep-alive, close',
      'te',
      ',,,',
      'close\x00',
    ])
    return head('GET /plain/x HTTP/1.1', `Connection: ${connection}`)
  },

  'a part of a head': (random) => {
    const whole = head('GET /plain/x HTTP/1.1', 'A: b')
    return whole.slice(0, random.int(1, whole.length - 1))
  },

  noise: (random) =>
    String.fromCharCode(...Array.from({ length: random.int(1, 500) }, () => random.int(0, 255))),
} satisfies Record<string, Kind>

const NAMES = Object.keys(KINDS) as (keyof typeof KINDS)[]

function mutate(bytes: Buffer, random: Random): Buffer {
  const list = [...bytes]
  for (let left = random.int(1, 4); left > 0; left--) {
    const at = random.int(0, list.length)
    const what = random.pick(['change', 'insert', 'remove', 'repeat'])
    if (what === 'change') list[Math.min(at, list.length - 1)] = random.int(0, 255)
    else if (what === 'insert') list.splice(at, 0, random.pick([0, 9, 10, 13, 32, 58, 255]))
    else if (what === 'remove') list.splice(at, random.int(1, 5))
    else list.splice(at, 0, ...list.slice(at, at + random.int(1, 20)))
  }
  return Buffer.from(list.length > 0 ? list : [0])
}
