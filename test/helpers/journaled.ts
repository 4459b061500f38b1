import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { realWorld } from '../../src/base/world.ts'
import {
  perApp, service, start, type Recover, type Resource, type Running, type ServiceEvent, type Service,
} from '../../src/index.ts' // oxfmt-ignore
import { FileJournal } from '../../src/service/journal.ts'
import { Told } from './told.ts'

/** What the tests of the journal note. */
export const schema = z.object({ token: z.string() })
export type Token = z.infer<typeof schema>

/** A resource that notes tokens when it opens, and settles with that function. */
export function noting(
  name: string,
  tokens: readonly string[],
  recover: Recover<Token, {}> = () => {},
): Resource<string, 'app'> {
  return perApp(
    async function* ({ journal }) {
      for (const token of tokens) await journal.note({ token })
      yield name
    },
    { name, note: schema, recover },
  )
}

/** Starts a service that holds these, with its notes in that folder, and keeps what it tells. */
export async function startIn(
  folder: string,
  resources: Record<string, Resource<unknown, 'app'>>,
): Promise<Running & { told: Told }> {
  const told = new Told()
  const running = await start(serviceOf(resources), { state: folder, on: told.on })
  return Object.assign(running, { told })
}

export function serviceOf(resources: Record<string, Resource<unknown, 'app'>>): Service {
  return service({ name: NAME, resources })
}

const NAME = 'kept'

/** Where that service keeps its notes. */
export function folderIn(folder: string): string {
  return join(folder, NAME)
}

/** Leaves notes as a process does that ends without closing what it holds. */
export async function leave(
  folder: string,
  notes: Record<string, readonly unknown[]>,
): Promise<void> {
  const journal = journalIn(folder)
  for (const [name, values] of Object.entries(notes)) {
    for (const value of values) await journal.note(name, value)
  }
  await journal.close()
}

export function journalIn(
  folder: string,
  on: (event: ServiceEvent) => void = () => {},
): FileJournal {
  return new FileJournal({ folder: folderIn(folder), emit: on, world: realWorld })
}

/** The files of that service's journal that end so, with what is in them. */
export function filesIn(folder: string, ending: string): { path: string; text: string }[] {
  const names = readdirSync(folderIn(folder)).filter((name) => name.endsWith(ending))
  return names.map((name) => {
    const path = join(folderIn(folder), name)
    // Not locks: whoever reads one in the process that holds it lets it go
    return { path, text: ending === '.lock' ? '' : readFileSync(path, 'utf8') }
  })
}
