// What stands behind the hooks: a connection, its queue and what is known of both, for `useSyncExternalStore`.

import type { QueueEvents } from "../queue.js";
import { linkOf, listen, membersOf, OfflineQueue, PONG } from "../core.js";
import type { Link, SocketIoLike } from "../link.js";
import type { QueueOptions } from "../index.js";
import type { ConnectionStatus } from "../view.js";

/** A message: an event's name and the members of its one argument, or `args` with all of them. */
export interface Message {
  type: string;
  [member: string]: unknown;
}

/** Sends a message. `false`: it is neither sent nor queued. */
export interface Send {
  (message: Message): boolean;
  /** By which the queue and the quality reach the other side. */
  readonly link: Link;
}

/** What changes. */
export interface ConnectionState {
  status: ConnectionStatus;
  isConnected: boolean;
  /** The newest message of the other side; `null`: none yet. */
  lastMessage: any;
  /** Attempts since the connection was lost. */
  reconnectAttempts: number;
  /** Messages that wait in the queue. */
  queueSize: number;
}

/** What a page may be told of a queue. */
export type QueueEvent = QueueEvents[Exclude<keyof QueueEvents, "change">];

/** Tells a page all of them. */
export const listenToQueue = (queue: OfflineQueue, listener: (event: QueueEvent) => void) =>
  listen(queue, ["dropped", "failed", "delivered", "storageerror"], listener);

/** Closed, because React may make more of them than it keeps. */
export const newQueue = (link: Link, options?: QueueOptions) => new OfflineQueue(link, { ...options, closed: true });

/** Tells of each change of a queue or a monitor. */
export const changesOf = (target: EventTarget) => (listener: () => void) => listen(target, ["change"], listener);

/** Calls all of them. */
const endAll = (ends: (() => void)[]) => () => ends.forEach((end) => end());

/** Options of both hooks. */
export interface ConnectionOptions {
  /** Connect when the component is mounted; `true`. */
  autoConnect?: boolean | undefined;
  /** Keep what is sent without a connection, until it is acknowledged; `true`. */
  enableOfflineQueue?: boolean | undefined;
  /** How it is kept. Read once. */
  queue?: QueueOptions | undefined;
  /** Is called with each event of this queue but `change`. */
  onQueueEvent?: ((event: QueueEvent) => void) | undefined;
  onOpen?: ((event?: any) => void) | undefined;
  onClose?: ((event?: any) => void) | undefined;
  onError?: ((error: any) => void) | undefined;
  onMessage?: ((message: any) => void) | undefined;
}

/** Of `useWebSocket`. */
export interface WebSocketOptions extends ConnectionOptions {
  url: string;
  /** Is sent as the query's `token`. */
  token?: string | null | undefined;
  /** Connect again when the connection ends; `true`. */
  reconnect?: boolean | undefined;
  /** Milliseconds between two attempts; 3,000. */
  reconnectInterval?: number | undefined;
  /** Attempts until the status is `error`; 5. Begins anew when the browser says that it is online. */
  maxReconnectAttempts?: number | undefined;
}

export const INITIAL: ConnectionState = {
  status: "disconnected",
  isConnected: false,
  lastMessage: null,
  reconnectAttempts: 0,
  queueSize: 0,
};

/** Listeners, and how to call them. */
export function hub() {
  const listeners = new Set<() => void>();
  return {
    watch(listener: () => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    call: () => listeners.forEach((listener) => listener()),
  };
}

/** One connection, over whatever, and its queue. */
export abstract class ConnectionStore<Options extends ConnectionOptions> {
  state = INITIAL;
  declare options: Options;
  protected declare queue: OfflineQueue | undefined;
  #hub = hub();
  readonly subscribe = this.#hub.watch;
  readonly get = () => this.state;

  abstract readonly link: Link;
  /** Sends at once. */
  protected abstract post(message: Message): void;
  abstract connect: () => void;
  abstract disconnect: () => void;

  readonly send: Send = Object.defineProperty(
    (message: Message): boolean => {
      const { link, queue } = this;
      // What is sent behind others in the queue waits with them.
      return link.connected && !queue?.size ? (this.post(message), true) : !!queue?.send(message.type, ...argsOf(message));
    },
    "link",
    { get: () => this.link },
  ) as Send;

  /** Sends a message now, and resolves with the answer. A service's handler expects that somebody waits for it. */
  readonly request = async (message: Message, timeout = 20_000): Promise<any> => this.link.ask(message.type, argsOf(message), timeout);

  readonly clearQueue = () => this.queue?.clear();

  /** Begins; returns how to end. A component that is mounted twice begins twice. */
  mount(): () => void {
    if (this.options.enableOfflineQueue ?? true) {
      const queue = (this.queue ??= newQueue(this.link, this.options.queue));
      queue.open();
      return endAll([
        () => queue.close(),
        changesOf(queue)(() => this.set({ queueSize: queue.size })),
        listenToQueue(queue, (event) => this.options.onQueueEvent?.(event)),
      ]);
    }
    return endAll([]);
  }

  protected set(change: Partial<ConnectionState>): void {
    this.state = { ...this.state, ...change };
    this.state.isConnected = this.state.status === "connected";
    this.#hub.call();
  }

  protected hear(lastMessage: any): void {
    this.set({ lastMessage });
    this.options.onMessage?.(lastMessage);
  }
}

/** The arguments of a message. */
export const argsOf = ({ type: _, ...members }: Message): unknown[] => {
  const { args, ...others } = members;
  return Array.isArray(args) && !Object.keys(others)[0] ? args : [members];
};

/** A plain WebSocket that comes again. It is its own link: the same one over all its sockets. */
export class WebSocketStore extends ConnectionStore<WebSocketOptions> implements Link {
  readonly link = this;
  #socket: WebSocket | undefined;
  #over: Link | undefined;
  #watchers = hub();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Attempts since a connection lasted. */
  #tries = 0;

  get connected() {
    return !!this.#over?.connected;
  }
  readonly watch = this.#watchers.watch;
  // A promise is rejected where there is no socket.
  ask = async (...args: Parameters<Link["ask"]>) => this.#over!.ask(...args);
  ping = async (...args: Parameters<Link["ping"]>) => this.#over!.ping(...args);

  protected post(message: Message): void {
    // With an id of the page's own it is a question of the page, or its answer to one of the service.
    if ("ackId" in message) this.#socket!.send(JSON.stringify(message));
    else this.request(message).catch(() => {});
  }

  readonly connect = (): void => {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    const { url, token } = this.options;
    // Who connects after the last attempt has all of them again.
    if (this.state.status !== "reconnecting") this.set({ status: "connecting", reconnectAttempts: (this.#tries = 0) });
    let socket: WebSocket;
    try {
      this.#socket = socket = new WebSocket(token ? url + (url.includes("?") ? "&" : "?") + "token=" + encodeURIComponent(token) : url);
    } catch (error) {
      // No address, or `ws:` in a page of `https:`.
      this.set({ status: "error" });
      return this.options.onError?.(error);
    }
    this.#over = linkOf(socket);
    const on = (type: string, work: (event: any) => void) => listen(socket, [type], (event) => socket === this.#socket && work(event));
    on("open", (event) => {
      this.set({ status: "connected", reconnectAttempts: 0 });
      // Who is let in and sent away at once is not to come back for ever.
      this.#timer = setTimeout(() => (this.#tries = 0), 3_000);
      this.#watchers.call();
      this.options.onOpen?.(event);
    });
    on("message", ({ data }) => {
      try {
        data = JSON.parse(data);
      } catch {
        // As it came.
      }
      if (data?.type !== PONG) this.hear(data);
    });
    on("error", (event) => this.options.onError?.(event));
    on("close", (event) => {
      this.#drop();
      const { reconnect = true, reconnectInterval = 3_000, maxReconnectAttempts = 5 } = this.options;
      if (reconnect && this.#tries < maxReconnectAttempts) {
        this.set({ status: "reconnecting", reconnectAttempts: ++this.#tries });
        this.#timer = setTimeout(this.connect, reconnectInterval);
      } else this.set({ status: reconnect ? "error" : "disconnected" });
      this.options.onClose?.(event);
    });
  };

  #drop(): void {
    clearTimeout(this.#timer);
    this.#socket = this.#over = undefined;
    this.#watchers.call();
  }

  readonly disconnect = (): void => {
    listen(this.#socket, ["close"], (event) => this.options.onClose?.(event));
    this.#leave();
  };

  #leave(): void {
    const socket = this.#socket;
    this.#drop();
    socket?.close(1000);
    this.set({ status: "disconnected", reconnectAttempts: 0 });
  }

  override mount(): () => void {
    const end = super.mount();
    const unlisten = listen(globalThis, ["online"], () => {
      if (!/reconnecting|error/.test(this.state.status)) return;
      // An attempt from before may hang for long.
      this.#leave();
      this.connect();
    });
    if (this.options.autoConnect ?? true) this.connect();
    return endAll([unlisten, end, () => this.#leave()]);
  }
}

/** What `useSocket` uses of a stock `Socket` of socket.io-client. */
export interface StockSocket extends SocketIoLike {
  emit(event: string, ...args: any[]): unknown;
  connect(): unknown;
  disconnect(): unknown;
  onAny(listener: (event: string, ...args: any[]) => void): unknown;
  offAny(listener: (event: string, ...args: any[]) => void): unknown;
  readonly io: { on(event: any, listener: (...args: any[]) => void): unknown; off(event: any, listener: (...args: any[]) => void): unknown };
}

/** A socket of socket.io-client, which the page has made and keeps. */
export class SocketStore extends ConnectionStore<ConnectionOptions> {
  declare readonly link: Link;
  private declare readonly socket: StockSocket;

  constructor(socket: StockSocket) {
    super();
    this.socket = socket;
    this.link = linkOf(socket);
  }

  protected post(message: Message): void {
    this.request(message).then(
      (answer) => this.hear({ type: "ack", args: [answer] }),
      () => {},
    );
  }

  readonly connect = () => this.socket.connect() as void;
  readonly disconnect = () => this.socket.disconnect() as void;

  override mount(): () => void {
    const { socket } = this;
    const end = super.mount();
    let had = false;
    const show = (refused?: boolean) => {
      const { connected, active } = socket;
      had ||= connected;
      this.set({
        status: connected ? "connected" : active !== false ? (had ? "reconnecting" : "connecting") : refused ? "error" : "disconnected",
      });
      if (connected) this.set({ reconnectAttempts: 0 });
    };
    const on = (target: unknown, type: string, work: (argument: any) => void) => listen(target, [type], work);
    // The message as the bridge makes it.
    const any = (type: string, ...args: any[]) => this.hear({ ...membersOf(args), type });
    const ends = [
      on(socket, "connect", () => {
        show();
        this.options.onOpen?.();
      }),
      on(socket, "disconnect", (reason) => {
        show();
        this.options.onClose?.(reason);
      }),
      on(socket, "connect_error", (error) => {
        show(true);
        this.options.onError?.(error);
      }),
      on(socket.io, "reconnect_attempt", (reconnectAttempts) => this.set({ reconnectAttempts })),
      () => socket.offAny(any),
      end,
    ];
    socket.onAny(any);
    if ((this.options.autoConnect ?? true) && !socket.active) socket.connect();
    show();
    return endAll(ends);
  }
}
