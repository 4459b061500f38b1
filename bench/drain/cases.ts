import { halfCases } from './cases/halves.ts'
import { handoverCases } from './cases/handover.ts'
import { idleCases } from './cases/idle.ts'
import { inFlightCases } from './cases/in-flight.ts'
import { kernelCases } from './cases/kernel.ts'
import { largeCases } from './cases/large.ts'
import type { Case } from './stage.ts'

export const CASES: readonly Case[] = [
  ...inFlightCases,
  ...kernelCases,
  ...halfCases,
  ...largeCases,
  ...handoverCases,
  ...idleCases,
]
