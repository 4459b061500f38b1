import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { join as joinPath } from 'node:path/posix'
import { lineAt, read, root } from './repository.ts'

/** The links of a markdown file that lead to no file, or to no heading, of the repository. */
export function brokenLinks(file: string): string[] {
  const text = withoutCode(read(file))
  const link =
    /\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*<?(\S+?)>?\s*$|\b(?:href|src)="([^"]+)"/gm
  return [...text.matchAll(link)].flatMap((match) => {
    const target = match[1] ?? match[2] ?? match[3]!
    if (/^[a-z][a-z+.-]*:/i.test(target) || leads(file, target)) return []
    return [`${file}:${lineAt(text, match.index)} links to ${target}, which is not there`]
  })
}

function leads(file: string, target: string): boolean {
  const [path = '', anchor] = decodeURI(target).split('#')
  const to = path === '' ? file : joinPath(file, '..', path)
  if (!existsSync(join(root, to))) return false
  if (anchor === undefined || statSync(join(root, to)).isDirectory()) return true
  return !to.endsWith('.md') || anchors(read(to)).has(anchor)
}

/** The anchors of a markdown text, made of its headings as GitHub makes them, and those that are written in HTML. */
export function anchors(text: string): Set<string> {
  const found = new Set<string>()
  for (const [, heading] of withoutFences(text).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const slug = slugOf(heading!)
    let unique = slug
    for (let n = 1; found.has(unique); n++) unique = `${slug}-${n}`
    found.add(unique)
  }
  for (const [, id] of text.matchAll(/<\w+\s[^>]*\b(?:id|name)="([^"]+)"/g)) found.add(id!)
  return found
}

function slugOf(heading: string): string {
  const words = heading.replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/<[^>]+>/g, '')
  return words
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-')
}

function withoutFences(text: string): string {
  return text.replaceAll(/^[ \t]*(`{3,}|~{3,})[\s\S]*?^[ \t]*\1[ \t]*$/gm, blank)
}

function withoutCode(text: string): string {
  return withoutFences(text).replaceAll(/(`+)[^`\n](?:.*?[^`])?\1(?!`)/g, blank)
}

function blank(text: string): string {
  return text.replaceAll(/[^\n]/g, ' ')
}
