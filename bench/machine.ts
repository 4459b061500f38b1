import { readFileSync } from 'node:fs'
import os from 'node:os'

/** What the figures were measured on. */
export interface Machine {
  readonly node: string
  readonly cores: number
  readonly cpu: string
  readonly system: string
  readonly date: string
  readonly versions: Readonly<Record<string, string>>
}

export function machine(packages: readonly string[]): Machine {
  return {
    node: process.version,
    cores: os.availableParallelism(),
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    date: new Date().toISOString().slice(0, 10),
    versions: Object.fromEntries(packages.map((name) => [name, version(name)])),
  }
}

function version(name: string): string {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url)
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  return version
}

export function described({ node, cores, cpu, system, date, versions }: Machine): string {
  const packages = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${date}, Node ${node}, ${cores} cores of ${cpu}, ${system}\n${packages.join(', ')}`
}
