import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { anchors, brokenLinks } from './helpers/links.ts'
import { list, read } from './helpers/repository.ts'
import { check, examples, fences } from './helpers/snippets.ts'

const documents = list('*.md', 'docs/**/*.md', 'examples/**/*.md')

describe('the documentation', () => {
  it('shows only examples that compile for a user', () => {
    const inDocuments = documents.flatMap((file) => fences(file, read(file)))
    const inSources = list('src/**/*.ts').flatMap((file) => examples(file, read(file)))
    assert.deepEqual(check([...inDocuments, ...inSources]), [])
  })

  it('links only to what is there', () => {
    assert.deepEqual(documents.flatMap(brokenLinks), [])
  })
})

describe('fences()', () => {
  it('finds the ts fences with the line of their first line', () => {
    const text = [
      '# Title',
      '```ts',
      'let a',
      '```',
      '```sh',
      'ls',
      '```',
      '- item',
      '  ```ts',
      '  let b',
      '  ```',
    ]
    assert.deepEqual(fences('a.md', text.join('\n')), [
      { file: 'a.md', line: 3, code: 'let a\n' },
      { file: 'a.md', line: 10, code: 'let b\n' },
    ])
  })
})

describe('examples()', () => {
  it('finds fenced and bare examples in comments', () => {
    const text = [
      '/**',
      ' * Opens.',
      ' *',
      ' * @example',
      ' * ```ts',
      ' * open()',
      ' * ```',
      ' */',
      'export function open() {}',
      '',
      '  /**',
      '   * @example',
      '   * close()',
      '   * @throws never',
      '   */',
    ]
    assert.deepEqual(examples('a.ts', text.join('\n')), [
      { file: 'a.ts', line: 6, code: 'open()\n' },
      { file: 'a.ts', line: 13, code: 'close()\n' },
    ])
  })
})

describe('anchors()', () => {
  it('makes them of the headings as GitHub does', () => {
    const text =
      '# What is `ERR_X`, and why?\n## Two\n## Two\n```sh\n# no heading\n```\n<a id="here"></a>'
    assert.deepEqual([...anchors(text)], ['what-is-err_x-and-why', 'two', 'two-1', 'here'])
  })
})
