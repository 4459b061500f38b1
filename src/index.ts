// Resources: what has a lifetime, and whose
export { per, perApp, perHandler, perRequest } from './scope/resource.ts'
export { keyed } from './scope/keyed.ts'
export { rooms } from './websocket/rooms.ts'
export { run, signal, stopping } from './scope/builtin.ts'
export { header, param, query, request } from './service/request.ts'
export type {
  Context, Ending, NeedsOf, Per, Resource, ResourceOptions, Resources, Used, ValueOf, Values,
} from './scope/resource.ts' // oxfmt-ignore
export type { Notebook, Recover, RecoverContext, Recovery } from './scope/journal.ts'
export type { Keyed, KeyedOptions, Lease } from './scope/keyed.ts'
export type { Run } from './scope/run.ts'
export type { Room, Rooms, Seat } from './websocket/rooms.ts'
export type { BadRequest, Checked, RequestInfo } from './service/request.ts'

// Scopes without a server: scripts and tests
export { open } from './scope/live.ts'
export { fake, swap } from './scope/override.ts'
export type { Live, LiveScope, OpenOptions, Timing } from './scope/live.ts'
export type { Override } from './scope/override.ts'
export type { Check, HealthReport } from './scope/health.ts'
export type { PictureFormat } from './scope/picture.ts'

// Services: an app, what it holds, and its life
export { service } from './service/service.ts'
export { serve, start } from './service/serve.ts'
export type {
  FastifyApp, FetchApp, KoaApp, NestApp, NodeListener, ServedApp, Service, ServiceOptions,
} from './service/service.ts' // oxfmt-ignore
export type { LimitOptions } from './service/limits.ts'
export type { ServeOptions, StartOptions } from './service/options.ts'
export type { Running, ServiceState } from './service/running.ts'
export type { Hook, HookContext, Lifespan } from './service/hooks.ts'
export type { StopReport } from './service/stages.ts'

// What they tell
export { isStewardError, StewardError } from './base/errors.ts'
export type { ErrorCode } from './base/errors.ts'
export type { Events, Served, ServiceEvent, StageTimes, Waiting } from './base/events.ts'
export type { Duration } from './base/deadline.ts'
export type { World } from './base/world.ts'
