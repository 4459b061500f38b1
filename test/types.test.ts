import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { compile, compilers, type Diagnostic } from './helpers/compiler.ts'
import { read } from './helpers/repository.ts'

const GOOD = ['good', 'hono-good', 'frameworks-good'].map((name) => `test/types/${name}.ts`)
const BAD = ['bad', 'hono-bad', 'frameworks-bad'].map((name) => `test/types/${name}.ts`)

/** The lines that say that they must be refused, and a part of the sentence that refuses them. */
function expectations(source: string): Map<number, string> {
  const marks = source
    .split('\n')
    .map((text, index) => [index + 1, /\/\/ ✗ (.+)$/.exec(text)?.[1]] as const)
  return new Map(marks.filter((mark): mark is [number, string] => mark[1] !== undefined))
}

/** Where what was refused and what had to be refused differ, in words. */
function differences(source: string, refused: readonly Diagnostic[]): string[] {
  const expected = expectations(source)
  const onLine = Map.groupBy(refused, ({ line }) => line)
  const missed = [...expected].flatMap(([line, part]) => {
    const messages = (onLine.get(line) ?? []).map(({ message }) => message)
    if (messages.some((message) => message.includes(part))) return []
    return `line ${line} must be refused with "${part}", but: ${messages.join('\n') || 'it compiles'}`
  })
  const extra = refused.filter(({ line }) => !expected.has(line))
  return [
    ...missed,
    ...extra.map(({ line, message }) => `line ${line} must compile, but: ${message}`),
  ]
}

describe('the types', () => {
  for (const compiler of Object.keys(compilers) as (keyof typeof compilers)[]) {
    describe(`on ${compiler}`, () => {
      const diagnostics = compile('test/types', compiler)
      const of = (file: string) => diagnostics.filter((diagnostic) => diagnostic.file === file)

      it('accept every good program', () => {
        assert.deepEqual(GOOD.flatMap(of), [])
      })

      it('refuse every bad line in words, and no other line', () => {
        assert.deepEqual(
          BAD.flatMap((file) => differences(read(file), of(file))),
          [],
        )
      })

      it('are themselves in order', () => {
        const elsewhere = diagnostics.filter(({ file }) => ![...GOOD, ...BAD].includes(file))
        assert.deepEqual(elsewhere, [])
      })
    })
  }
})

describe('the comparison of refused lines', () => {
  const source = ['fine', 'broken // ✗ not a sentence', 'fine'].join('\n')
  const refused = (line: number, message: string): Diagnostic => ({ file: BAD[0]!, line, message })

  it('finds no difference where the marked line is refused as marked', () => {
    assert.deepEqual(differences(source, [refused(2, 'TS1: A\n  it is not a sentence')]), [])
  })

  it('finds a marked line that compiles or is refused with other words', () => {
    assert.equal(differences(source, []).length, 1)
    assert.equal(differences(source, [refused(2, 'TS1: something else')]).length, 1)
  })

  it('finds an unmarked line that is refused', () => {
    const both = [refused(2, 'TS1: not a sentence'), refused(3, 'TS2: oops')]
    assert.equal(differences(source, both).length, 1)
  })
})
