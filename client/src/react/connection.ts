// What stands behind the hooks: a connection, its queue and what is known of both, for `useSyncExternalStore`.

import { OfflineQueue } from "../queue.js";
import { linkOf, listen, type Link, type SocketIoLike } from "../link.js";
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

/** Options of both hooks. */
export interface ConnectionOptions {
  /** Connect when the component is mounted; `true`. */
  autoConnect?: boolean | undefined;
  /** Keep what is sent without a connection, until it is acknowledged; `true`. */
  enableOfflineQueue?: boolean | undefined;
  /** How it is kept. Read once. */
  queue?: QueueOptions | undefined;
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

/** Values that a component looks at. */
export class Store<State> {
  #listeners = new Set<() => void>();
  constructor(public state: State) {}
  readonly get = () => this.state;
  readonly subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };
  set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    this.#listeners.forEach((listener) => listener());
  }
}

/** One connection, over whatever. */
export abstract class ConnectionStore<Options extends ConnectionOptions> extends Store<ConnectionState> {
  options!: Options;
  protected queue: OfflineQueue | undefined;
  protected abstract readonly link: Link;
  /** Sends at once. */
  protected abstract post(message: Message): void;
  abstract connect: () => void;
  abstract disconnect: () => void;

  constructor() {
    super(INITIAL);
  }

  readonly send: Send = Object.defineProperty(
    (message: Message): boolean => {
      // What is sent behind others in the queue waits with them.
      if (this.link.connected && !this.queue?.size) this.post(message);
      else if (this.queue) void this.queue.send(message.type, ...argsOf(message));
      else return false;
      return true;
    },
    "link",
    { get: () => this.link },
  ) as Send;

  /** Sends a message now, and resolves with the answer. */
  readonly ask = (message: Message, timeout = 20_000): Promise<any> =>
    this.link.connected ? this.link.ask(message.type, argsOf(message), timeout) : Promise.reject(new Error("not connected"));

  readonly clearQueue = () => this.queue?.clear();

  /** Begins; returns how to end. A component that is mounted twice begins twice. */
  mount(): () => void {
    if (this.options.enableOfflineQueue ?? true) {
      if (!this.queue) {
        const queue = (this.queue = new OfflineQueue(this.link, { ...this.options.queue, closed: true }));
        queue.addEventListener("change", () => this.set({ queueSize: queue.size }));
      }
      this.queue.open();
    }
    return () => this.queue?.close();
  }

  protected status(status: ConnectionStatus, change?: Partial<ConnectionState>): void {
    this.set({ status, isConnected: status === "connected", ...change });
  }
}

/** The arguments of a message. */
export const argsOf = ({ type: _, ...members }: Message): unknown[] => {
  const { args, ...others } = members;
  return Array.isArray(args) && !Object.keys(others).length ? args : [members];
};

/** The message of these arguments, as the bridge makes it. */
const messageOf = (type: string, args: unknown[]): Message => {
  const [only] = args;
  return args.length === 1 && only && typeof only === "object" && !Array.isArray(only) ? { ...only, type } : { type, args };
};

let asked = 0;

/** A plain WebSocket that comes again. */
export class WebSocketStore extends ConnectionStore<WebSocketOptions> {
  #socket: WebSocket | undefined;
  #over: Link | undefined;
  #watchers = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  readonly link: Link = (() => {
    const over = () => this.#over;
    return {
      get connected() {
        return !!over()?.connected;
      },
      ask: (event, args, timeout) => this.#over!.ask(event, args, timeout),
      ping: (event, timeout) => this.#over!.ping(event, timeout),
      watch: (listener) => {
        this.#watchers.add(listener);
        return () => void this.#watchers.delete(listener);
      },
    } satisfies Link;
  })();

  protected post(message: Message): void {
    // A service's handler expects to have somebody to answer to.
    this.#socket!.send(JSON.stringify(message.type === "ack" ? message : { ackId: "p" + ++asked, ...message }));
  }

  readonly connect = (): void => {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    const { url, token } = this.options;
    this.status(this.state.reconnectAttempts ? "reconnecting" : "connecting");
    const socket = new WebSocket(token ? url + (url.includes("?") ? "&" : "?") + "token=" + encodeURIComponent(token) : url);
    this.#socket = socket;
    this.#over = linkOf(socket);
    const current = (work: (event: any) => void) => (event: any) => void (socket === this.#socket && work(event));
    socket.onopen = current((event) => {
      this.status("connected", { reconnectAttempts: 0 });
      this.#watchers.forEach((watcher) => watcher());
      this.options.onOpen?.(event);
    });
    socket.onmessage = current(({ data }) => {
      let message = data;
      try {
        message = JSON.parse(data);
      } catch {
        // As it came.
      }
      if (/_pong$/.test(message?.type)) return;
      this.set({ lastMessage: message });
      this.options.onMessage?.(message);
    });
    socket.onerror = current((event) => this.options.onError?.(event));
    socket.onclose = current((event) => {
      this.#drop();
      const { reconnect = true, reconnectInterval = 3_000, maxReconnectAttempts = 5 } = this.options;
      const attempts = this.state.reconnectAttempts;
      if (reconnect && attempts < maxReconnectAttempts) {
        this.status("reconnecting", { reconnectAttempts: attempts + 1 });
        this.#timer = setTimeout(this.connect, reconnectInterval);
      } else this.status(reconnect ? "error" : "disconnected");
      this.options.onClose?.(event);
    });
  };

  #drop(): void {
    this.#socket = undefined;
    this.#watchers.forEach((watcher) => watcher());
  }

  readonly disconnect = (): void => {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#drop();
    socket?.close(1000);
    this.status("disconnected", { reconnectAttempts: 0 });
  };

  override mount(): () => void {
    const end = super.mount();
    const unlisten = listen(globalThis, ["online"], () => {
      if (this.state.status !== "reconnecting" && this.state.status !== "error") return;
      this.set({ reconnectAttempts: 0 });
      this.connect();
    });
    if (this.options.autoConnect ?? true) this.connect();
    return () => {
      unlisten();
      end();
      this.disconnect();
    };
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
  protected readonly link: Link;

  constructor(private socket: StockSocket) {
    super();
    this.link = linkOf(socket);
  }

  protected post(message: Message): void {
    this.socket.emit(message.type, ...argsOf(message));
  }

  readonly connect = () => void this.socket.connect();
  readonly disconnect = () => void this.socket.disconnect();

  override mount(): () => void {
    const { socket } = this;
    const end = super.mount();
    let had = socket.connected;
    const unconnected = () => (socket.active === false ? "disconnected" : had ? "reconnecting" : "connecting");
    const ends = [
      listen(socket, ["connect"], () => {
        had = true;
        this.status("connected", { reconnectAttempts: 0 });
        this.options.onOpen?.();
      }),
      listen(socket, ["disconnect"], (reason) => {
        this.status(unconnected());
        this.options.onClose?.(reason);
      }),
      listen(socket, ["connect_error"], (error) => {
        // A socket that is not active any more was refused.
        this.status(socket.active === false ? "error" : unconnected());
        this.options.onError?.(error);
      }),
      listen(socket.io, ["reconnect_attempt"], (attempt) => this.set({ reconnectAttempts: attempt })),
    ];
    const any = (event: string, ...args: any[]) => {
      const lastMessage = messageOf(event, args);
      this.set({ lastMessage });
      this.options.onMessage?.(lastMessage);
    };
    socket.onAny(any);
    if ((this.options.autoConnect ?? true) && !socket.active) socket.connect();
    this.status(socket.connected ? "connected" : unconnected());
    return () => {
      socket.offAny(any);
      ends.forEach((each) => each());
      end();
    };
  }
}
