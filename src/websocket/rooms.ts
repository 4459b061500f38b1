import { describe, StewardError } from '../base/errors.ts'
import { perApp, type Resource } from '../scope/resource.ts'
import type { Message } from './inbox.ts'
import type { Socket } from './socket.ts'

/** How much may wait for a member that does not read, in bytes: who is behind by more is parted with. */
const FAR_BEHIND = 1_048_576

/** "Try again later" (IANA's registry): come again, and begin anew. */
const TRY_AGAIN = 1013

/** Sockets by the names of rooms. A room is there as long as somebody is in it. */
export interface Rooms {
  /** The room of that name. */
  of(name: string): Room
  /**
   * Sends a message to everybody who is in any room, once each, and does not wait for them: `onShutdown: ({ rooms }) => rooms.tellAll('…')`.
   * Gives to how many.
   */
  tellAll(message: Message): number
  /** How many rooms somebody is in. */
  readonly size: number
}

/** Who is told the same. */
export interface Room {
  readonly name: string
  /** How many are in it. */
  readonly size: number
  /** Takes a socket in, until its seat is left: `using seat = room.join(socket)`. */
  join(socket: Socket): Seat
  /**
   * Sends a message to everybody in it, and waits for nobody. A member for whom more than 1 MiB waits is closed with 1013. Gives to how many.
   *
   * @throws `ERR_BAD_OPTION` for what is neither a string nor bytes
   */
  broadcast(message: Message): number
}

/** A place in a room. Left at the end of its block, with `using`. */
export interface Seat extends Disposable {
  /** Sends a message to everybody else in the room, as `Room.broadcast`. Gives to how many. */
  broadcast(message: Message): number
  /** Leaves the room. Again: does nothing. */
  leave(): void
}

/**
 * Rooms of WebSockets, as a resource: who has joined one is told what is broadcast in it. They reach the clients of this process only; with several
 * workers a warning says so.
 */
export const rooms: Resource<Rooms, 'app'> = perApp((): Rooms => new AllRooms())

class AllRooms implements Rooms {
  readonly #rooms = new Map<string, OneRoom>()

  get size(): number {
    return this.#rooms.size
  }

  of(name: string): Room {
    if (typeof name !== 'string') {
      throw new StewardError(
        'ERR_BAD_OPTION',
        `Cannot find a room by ${describe(name)}: pass its name, a string`,
      )
    }
    return this.#rooms.get(name) ?? new OneRoom(name, this.#rooms)
  }

  tellAll(message: Message): number {
    const sockets = new Set<Socket>()
    for (const { seats } of this.#rooms.values()) {
      for (const { socket } of seats) sockets.add(socket)
    }
    let told = 0
    for (const socket of sockets) if (tell(socket, message)) told++
    return told
  }
}

class OneRoom implements Room {
  readonly name: string
  readonly seats: Set<OneSeat> = new Set()
  /** Where it is found as long as somebody is in it. */
  readonly #known: Map<string, OneRoom>

  constructor(name: string, known: Map<string, OneRoom>) {
    this.name = name
    this.#known = known
  }

  get size(): number {
    return this.#live.seats.size
  }

  join(socket: Socket): Seat {
    const room = this.#live
    const seat = new OneSeat(socket, room)
    room.seats.add(seat)
    this.#known.set(this.name, room)
    return seat
  }

  broadcast(message: Message): number {
    return this.#live.tell(message)
  }

  tell(message: Message, except?: OneSeat): number {
    let told = 0
    for (const seat of this.seats) {
      if (seat === except) continue
      if (seat.socket.closed) this.leave(seat)
      else if (tell(seat.socket, message)) told++
    }
    return told
  }

  leave(seat: OneSeat): void {
    if (this.seats.delete(seat) && this.seats.size === 0) this.#known.delete(this.name)
  }

  /** The room of this name as it is now: everybody may have left, and others have come, since somebody asked for this one. */
  get #live(): OneRoom {
    return this.#known.get(this.name) ?? this
  }
}

class OneSeat implements Seat {
  readonly socket: Socket
  readonly #room: OneRoom

  constructor(socket: Socket, room: OneRoom) {
    this.socket = socket
    this.#room = room
  }

  broadcast(message: Message): number {
    return this.#room.tell(message, this)
  }

  leave(): void {
    this.#room.leave(this)
  }

  [Symbol.dispose](): void {
    this.leave()
  }
}

/** Nobody is waited for: who is too far behind is parted with, and hears nothing more. */
function tell(socket: Socket, message: Message): boolean {
  if (socket.closed) return false
  if (socket.buffered > FAR_BEHIND) {
    socket.close(TRY_AGAIN, 'too far behind')
    return false
  }
  void socket.send(message)
  return true
}
