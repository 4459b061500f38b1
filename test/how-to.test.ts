import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { MAIN } from './helpers/program.ts'
import { list, read } from './helpers/repository.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

/** Every fence of the documentation in these languages. */
function fences(languages: string, ...files: string[]): { file: string; text: string }[] {
  const fence = new RegExp(`^\`\`\`(?:${languages})\\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  return files.flatMap((file) =>
    [...read(file).matchAll(fence)].map(([, text]) => ({ file, text: text! })),
  )
}

/** The options of each `steward serve` in a text, in shell words or as an array. */
function commandsIn(text: string): string[][] {
  return [...text.matchAll(/steward"?,? "?serve\b(.*)/g)].map(([, rest]) =>
    [...rest!.matchAll(/(?<![\w-])--?[a-z][\w-]*/g)].map(([option]) => option),
  )
}

/** A number in the one fence of a page that has it. */
function numberIn(file: string, languages: string, pattern: RegExp): number {
  const found = fences(languages, file).flatMap(({ text }) => pattern.exec(text)?.[1] ?? [])
  assert.equal(found.length, 1, `${file} has ${String(pattern)} ${found.length} times`)
  return Number(found[0])
}

const documents = list('*.md', 'docs/**/*.md')

describe('the pages about platforms', () => {
  it('show only options that the command has', () => {
    const { stdout } = spawnSync(process.execPath, [MAIN, 'serve', '--help'], { encoding: 'utf8' })
    const known = new Set([...stdout.matchAll(/(?<![\w-])--?[a-z][\w-]*/g)].map(([name]) => name))
    const used = fences('sh|ini|dockerfile|yaml', ...documents).flatMap(({ file, text }) =>
      commandsIn(text).flatMap((options) => options.map((option) => ({ file, option }))),
    )
    assert.ok(used.length > 5)
    assert.deepEqual(
      used.filter(({ option }) => !known.has(option)),
      [],
    )
  })

  it('give the platform more time than the service takes, and its watchdog', () => {
    const seconds = /--graceful-timeout", "(\d+)"/
    const ours = (page: string, language: string): number => numberIn(page, language, seconds)
    const containers = 'docs/how-to/containers.md'
    const kubernetes = 'docs/how-to/kubernetes.md'
    // What Docker gives by itself
    assert.ok(ours(containers, 'dockerfile') + 1 < 10)
    const compose = numberIn(containers, 'yaml', /stop_grace_period: (\d+)s/)
    assert.ok(ours(containers, 'yaml') + 1 < compose)
    const pod = numberIn(kubernetes, 'yaml', /terminationGracePeriodSeconds: (\d+)/)
    assert.ok(ours(kubernetes, 'yaml') + 1 < pod)
    // Without the option it is 25 s
    assert.ok(25 + 1 < numberIn('docs/how-to/systemd.md', 'ini', /TimeoutStopSec=(\d+)/))
  })

  it('start the service itself, and not a shell or npm around it', () => {
    const starts = fences('ini|dockerfile|yaml', ...documents).flatMap(({ text }) => [
      ...text.matchAll(/^\s*(?:CMD|command:|ExecStart=)(?=.)\s*(.*)$/gm),
    ])
    assert.ok(starts.length > 3)
    for (const [line, command] of starts) {
      assert.match(command!, /^(\["|\/usr\/bin\/node )node_modules\/\.bin\/steward/, line)
    }
  })
})

describe('the units of systemd', () => {
  const { error } = spawnSync('systemd-analyze', ['--version'])
  const skip = error ? 'no systemd-analyze here' : false

  /** What systemd says to a unit among those of the page. */
  function verify(unit: string, change: (text: string) => string = (text) => text): string {
    using folder = temporaryFolder()
    for (const { text } of fences('ini', 'docs/how-to/systemd.md')) {
      const [, name] = /^# \/etc\/systemd\/system\/(\S+)$/m.exec(text) ?? []
      const path = join(folder.path, name!)
      mkdirSync(dirname(path), { recursive: true })
      // The program has to be there
      writeFileSync(path, change(text).replaceAll('/usr/bin/node', process.execPath))
    }
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', `./${unit}`], {
      cwd: folder.path,
      env: { ...process.env, SYSTEMD_UNIT_PATH: `${folder.path}:` },
      encoding: 'utf8',
    })
    return stderr
  }

  for (const unit of ['shop.service', 'shop.socket']) {
    it(`P9 are what systemd takes: ${unit}`, { skip }, () => {
      assert.equal(verify(unit), '')
    })
  }

  it('would be refused with a mistake', { skip }, () => {
    const wrong = verify('shop.service', (text) => text.replace('NotifyAccess', 'NotifyAcess'))
    assert.match(wrong, /NotifyAcess/)
  })
})
