import type { Failure } from '../supervisor/messages.ts'

/** What a page is told beside the error. */
export interface PageOptions {
  /** Which stub it is of. */
  readonly id: string
  /** A path that the service answers as soon as it is there: the page waits on it. */
  readonly awaits: string
  /** Allows the page's own script alone. */
  readonly nonce: string
}

/** What a page asks with: the stub that knows itself by it holds the answer until there is something else to see. */
export const WAITS_HEADER = 'steward-waits'

/** What every answer of a stub says: which one it is of. */
export const STUB_HEADER = 'steward-stub'

/** The error as a page that loads itself anew when the service is back, or when there is another error. */
export function errorPage({ message, text }: Failure, options: PageOptions): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Does not start: ${escaped(message.slice(0, 80))}</title>
<noscript><meta http-equiv="refresh" content="2"></noscript>
<style>${STYLE}</style>
<main>
<p class="what">The service does not start</p>
<h1>${escaped(message)}</h1>
<pre>${escaped(textBelow(message, text))}</pre>
<p class="next">Save a file and it is tried again; this page follows by itself.</p>
</main>
<script type="module" nonce="${options.nonce}">${scriptOf(options)}</script>
</html>
`
}

/** What a browser may do with the page: nothing comes from elsewhere. */
export function policyOf(nonce: string): string {
  return `default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-${nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'`
}

const STYLE = `
:root { color-scheme: light dark }
body { margin: 0; padding: 8vh 6vw; font: 16px/1.5 system-ui, sans-serif; background: light-dark(#fdfcfb, #1b1a19); color: light-dark(#2b2a28, #e8e4df) }
main { max-width: 72rem; margin: auto }
h1 { margin: 0 0 1.5rem; font-size: 1.35rem; font-weight: 600; overflow-wrap: anywhere; white-space: pre-wrap }
pre { margin: 0; padding: 1.25rem; overflow: auto; font: 14px/1.6 ui-monospace, monospace; background: light-dark(#f3efea, #262422); border-left: 3px solid light-dark(#c0392b, #ff7b6b); border-radius: 4px }
.what { margin: 0 0 .5rem; color: light-dark(#c0392b, #ff7b6b) }
.next { color: light-dark(#77726b, #98918a) }
pre:empty { display: none }
`

/** Asks for what answers once the service is there; until then the answer is held back, or the connection waits. */
function scriptOf({ id, awaits }: PageOptions): string {
  const [path, name] = [JSON.stringify(awaits), JSON.stringify(id)].map(inScript)
  return `
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
for (let changed = false; !changed; ) {
  try {
    const answer = await fetch(${path}, { cache: 'no-store', headers: { '${WAITS_HEADER}': ${name} } })
    changed = answer.headers.get('${STUB_HEADER}') !== ${name}
    await pause(50)
  } catch {
    await pause(500)
  }
}
location.reload()
`
}

/** Where it was thrown: the message is the heading already. */
function textBelow(message: string, text: string): string {
  const below = text.startsWith(message) ? text.slice(message.length) : text
  return below
    .replace(/^ \(ERR_\w+\)/, '')
    .replaceAll(/^ {2}/gm, '')
    .trim()
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!)
}

/** Nothing in a text may end the script that it is in. */
function inScript(json: string): string {
  return json.replaceAll('<', '\\u003c')
}
