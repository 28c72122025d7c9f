// How messages reach the other side: a stock Socket.IO socket or a plain WebSocket, under one face.

/** What is used of a `Socket` of socket.io-client 4. */
export interface SocketIoLike {
  readonly connected: boolean;
  readonly active?: boolean;
  timeout(ms: number): { emit(event: string, ...args: any[]): unknown };
  on(event: string, listener: (...args: any[]) => void): unknown;
  off(event: string, listener: (...args: any[]) => void): unknown;
}

/** What is used of a browser's `WebSocket`. */
export interface WebSocketLike {
  readonly readyState: number;
  send(data: string): void;
  addEventListener(type: string, listener: (event: any) => void): void;
  removeEventListener(type: string, listener: (event: any) => void): void;
}

/** A way to the other side. Make one of your own for a transport that is neither Socket.IO nor a WebSocket. */
export interface Link {
  /** Whether an event can be sent now. */
  readonly connected: boolean;
  /** Sends an event now. Resolves with the first argument of its ack; rejects after `timeout` ms, or when the connection ends. */
  ask(event: string, args: readonly unknown[], timeout: number): Promise<unknown>;
  /** Sends a quality ping. Resolves when it is answered. */
  ping(event: string, timeout: number): Promise<unknown>;
  /** Calls `listener` after each change of `connected`, and when the other side says that it is connected again. Returns how to stop. */
  watch(listener: () => void): () => void;
}

/** The event by which the gate answers a quality ping over a WebSocket. */
export const PONG = "quality_pong";

/** Anything that the queue and the monitor work over. */
export type Connection = SocketIoLike | WebSocketLike | Link;

/** An object with members: no array, and no binary data. */
export const isObject = (value: unknown): value is Record<string, any> => ({}).toString.call(value) === "[object Object]";

/** Listens to these events. Returns how to stop. */
export function listen(target: any, types: string[], listener: (event: any) => void): () => void {
  const [on, off] = target?.addEventListener ? ["addEventListener", "removeEventListener"] : ["on", "off"];
  const each = (what: string) => types.forEach((type) => target?.[what]?.(type, listener));
  each(on!);
  return () => each(off!);
}

/** The link over this socket. */
export const linkOf = (socket: Connection): Link =>
  "ask" in socket ? socket : "readyState" in socket ? webSocketLink(socket) : socketIoLink(socket);

/** Of all questions over WebSockets, because a socket may have several askers. A page that counts its own begins elsewhere. */
let count = Date.now();

function socketIoLink(socket: SocketIoLike): Link {
  const ask = (event: string, args: readonly unknown[], timeout: number) =>
    new Promise<unknown>((resolve, reject) => {
      // With a timeout the socket forgets the ack, and fails it when the connection ends.
      socket.timeout(timeout).emit(event, ...args, (error: Error | null, answer: unknown) => (error ? reject(error) : resolve(answer)));
    });
  return {
    get connected() {
      return socket.connected;
    },
    ask,
    ping: (event, timeout) => ask(event, [], timeout),
    watch: (listener) => listen(socket, ["connect", "disconnect"], listener),
  };
}

/** Questions by text messages of JSON, as Tidegate's bridge reads them. */
function webSocketLink(socket: WebSocketLike): Link {
  const waiting = new Map<unknown, (answer: unknown) => void>();
  listen(socket, ["message"], ({ data }) => {
    try {
      const { type, ackId, pingId, args } = JSON.parse(data);
      waiting.get({ [PONG]: pingId, ack: ackId }[type as "ack"])?.(args?.[0]);
    } catch {
      // Not for us: binary, or not JSON.
    }
  });
  const ask = (id: unknown, message: object, timeout: number) =>
    new Promise<unknown>((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        waiting.delete(id);
        unlisten();
        reject(new Error("no answer"));
      };
      const timer = setTimeout(end, timeout);
      const unlisten = listen(socket, ["close"], end);
      waiting.set(id, (answer) => (resolve(answer), end()));
      socket.send(JSON.stringify(message));
    });
  return {
    get connected() {
      return socket.readyState === 1;
    },
    ask: (type, args, timeout) => ask(++count, { ...membersOf(args), type, ackId: count }, timeout),
    ping: (type, timeout) => ask("q" + ++count, { type, pingId: "q" + count }, timeout),
    watch: (listener) => listen(socket, ["open", "close"], listener),
  };
}

/** The members of a message with these arguments: those of the only one, if it is an object that says none of our words. */
export const membersOf = (args: readonly unknown[]): object =>
  args.length === 1 && isObject(args[0]) && !["type", "ackId", "args"].some((word) => word in (args[0] as object)) ? args[0] : { args };
