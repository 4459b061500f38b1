import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { compile } from './compiler.ts'
import { lineAt, root } from './repository.ts'

/** An example in a document or in a comment of the source. */
export interface Snippet {
  /** Where its first line stands. */
  file: string
  line: number
  code: string
}

/** The folder, which git ignores, into which the examples are written to be compiled; removed afterwards. */
const FOLDER = `.cache/snippets-${process.pid}`

/** The `ts` fences of a markdown text, also those in HTML comments, which give context that readers need not see. */
export function fences(file: string, text: string, firstLine = 1): Snippet[] {
  const fence = /^([ \t]*)(`{3,})(?:ts|typescript)\b[^\n]*\n([\s\S]*?)^[ \t]*\2[ \t]*$/gm
  return [...text.matchAll(fence)].map(({ index, 1: indent, 3: body }) => ({
    file,
    line: firstLine + lineAt(text, index),
    code: body!.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }))
}

/** The examples of a source file's comments: their `ts` fences, or an `@example` that is code without a fence. */
export function examples(file: string, text: string): Snippet[] {
  const comments = [...text.matchAll(/^[ \t]*\/\*\*[\s\S]*?\*\//gm)]
  return comments.flatMap(({ index, 0: comment }) => {
    const body = comment.replaceAll(/^[ \t]*(\/\*\*|\*\/|\*)[ ]?/gm, '').replace(/\*\/$/, '')
    const line = lineAt(text, index)
    const fenced = fences(file, body, line)
    return fenced.length > 0 ? fenced : bareExamples(file, body, line)
  })
}

function bareExamples(file: string, body: string, firstLine: number): Snippet[] {
  const example = /^@example[^\n]*\n([\s\S]*?)(?=^@\w|$(?![\s\S]))/gm
  return [...body.matchAll(example)].map(({ index, 1: code }) => ({
    file,
    line: firstLine + lineAt(body, index),
    code: code!,
  }))
}

/** Compiles examples as a user would and returns what is wrong, each at its line of the document. */
export function check(snippets: readonly Snippet[]): string[] {
  if (snippets.length === 0) return []
  const written = new Map<string, Snippet>()
  try {
    for (const group of Map.groupBy(snippets, ({ file }) => file).values()) write(group, written)
    writeFileSync(
      join(root, FOLDER, 'tsconfig.json'),
      JSON.stringify({ extends: '../../examples/tsconfig.json', include: ['.'] }),
    )
    return compiled(written)
  } finally {
    rmSync(join(root, FOLDER), { recursive: true, force: true })
  }
}

function compiled(written: ReadonlyMap<string, Snippet>): string[] {
  const wrong = compile(FOLDER, 'TypeScript 7').map(({ file, line, message }) => {
    const snippet = written.get(file)
    return snippet ? `${snippet.file}:${snippet.line + line - 1} ${message}` : `${file} ${message}`
  })
  return [...new Set(wrong)]
}

/**
 * Writes the examples of one document into a folder of its own, so that they can import each other. One that begins with
 * `// file: app.ts` goes under that name. When a name comes again, a new edition of the folder begins: a copy of the one
 * before, in which that file is replaced.
 */
function write(snippets: readonly Snippet[], written: Map<string, Snippet>): void {
  let folder = editionOf(snippets[0]!.file, 1)
  for (const snippet of snippets) {
    const name = nameOf(snippet)
    if (written.has(`${folder}/${name}`)) folder = nextEdition(folder, written)
    const path = `${folder}/${name}`
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), snippet.code)
    written.set(path, snippet)
  }
}

function nameOf({ code, line }: Snippet): string {
  return /^\/\/ file: (\S+)/.exec(code)?.[1] ?? `line-${line}.ts`
}

function editionOf(document: string, number: number): string {
  return `${FOLDER}/${document.replaceAll(/[^\w-]+/g, '-')}/${number}`
}

function nextEdition(folder: string, written: Map<string, Snippet>): string {
  const next = folder.replace(/\d+$/, (number) => String(Number(number) + 1))
  cpSync(join(root, folder), join(root, next), { recursive: true })
  for (const [path, snippet] of written) {
    if (path.startsWith(`${folder}/`)) written.set(path.replace(folder, next), snippet)
  }
  return next
}
