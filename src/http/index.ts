/** Close a server of somebody else without dropping a request. */
export { drain, prepare } from './drain-server.ts'
export type { Cut, DrainableServer, DrainOptions, DrainReport } from './drain-server.ts'
