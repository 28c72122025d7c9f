// Messages that wait for a connection, and for the ack of the other side.

import { isObject, linkOf, type Connection, type Link } from "./link.js";
import type { QueueLocks, QueueStorage } from "./storage.js";
export type { QueueStorage };

/** A message that waits. */
export interface QueuedMessage {
  /** Says whether another message is the same one again. */
  readonly id: string;
  readonly event: string;
  /** The arguments, with the id in the first one if that is an object. */
  readonly args: readonly unknown[];
  /** When it was queued, in milliseconds since 1970. */
  readonly at: number;
}

/** How messages wait. */
export interface QueueOptions {
  /** How many wait at most; one more drops the oldest, with event `dropped`. 100. */
  maxQueueSize?: number;
  /** How often a message is sent again before it fails; 3. Refusals for a rate limit do not count. */
  maxRetries?: number;
  /** Milliseconds after which a message fails when its turn comes; without end. */
  ttl?: number;
  /** Milliseconds until a message without an ack is sent again, doubled each time; 20,000. */
  ackTimeout?: number;
  /** Milliseconds before the first repeat, doubled each time up to 30,000, of which up to half is left to chance; 1,000. */
  backoff?: number;
  /** Where messages outlive the page; `"memory"`: nowhere. */
  storage?: "memory" | "local" | "indexeddb" | QueueStorage;
  /** What keys in the storage and names of locks begin with; `aivo_websocket_queue`. */
  storageKey?: string;
  /** The member of a message's first argument by which a service recognises a repeat; `_id`. `false`: none. */
  idField?: string | false;
  /** Begin closed, until `open`. */
  closed?: boolean;
}

/** Why a message was not delivered. */
export type QueueReason = "dropped" | "expired" | "retries" | "cleared";

/** What the promise of a message that was not delivered is rejected with. */
export class QueueError extends Error {
  constructor(
    /** What became of the message. */
    readonly reason: QueueReason,
    /** The message. */
    readonly queued: QueuedMessage,
  ) {
    super(reason);
  }
}

/** The events of a queue and what their `detail` is. */
export interface QueueEvents {
  /** `size` has changed. */
  change: CustomEvent<{ size: number }>;
  /** The queue was full, and its oldest message went. */
  dropped: CustomEvent<{ message: QueuedMessage }>;
  /** A message was given up: sent `maxRetries` times again, or older than `ttl`. */
  failed: CustomEvent<{ message: QueuedMessage; reason: QueueReason }>;
  /** A message was acknowledged. */
  delivered: CustomEvent<{ message: QueuedMessage; answer: unknown }>;
  /** The storage is full, broken or forbidden, or holds what this queue cannot read. Messages wait in memory meanwhile. */
  storageerror: CustomEvent<{ error: unknown; key: string; value?: string }>;
}

interface Settle {
  resolve(answer: any): void;
  reject(error: QueueError): void;
}

/** JSON turns binary data, a Map or a Set into `{}` without a word. */
const storable = (_: string, value: unknown) => {
  if (value && typeof value === "object" && !/ (Object|Array)\]/.test({}.toString.call(value))) throw TypeError("cannot be stored");
  return value;
};

/** Pages without TLS have no `randomUUID`. */
const newId = (): string => crypto.randomUUID?.() ?? Date.now().toString(36) + Math.random().toString(36).slice(2);

/**
 * Sends messages in their order, one at a time, and keeps each until it is acknowledged. What was not acknowledged is sent
 * again, so the other side may hear it twice, with the same id.
 */
export class OfflineQueue extends EventTarget {
  #link: Link;
  #options: QueueOptions;
  #messages: QueuedMessage[] = [];
  #promises = new Map<string, Settle>();
  #storage: QueueStorage | undefined;
  #locks: QueueLocks | undefined;
  /** What keys begin with: the name, and the version of what is stored there. The id of a tab follows. */
  #prefix: string;
  /** What the messages of this tab are stored under, and the name of the lock of that. Empty: nothing is stored. */
  #key = "";
  #ready: Promise<unknown> = Promise.resolve();
  #draining: Promise<void> | undefined;
  #flight: Promise<unknown> | undefined;
  #head: QueuedMessage | undefined;
  /** Of this message, which was the first to be sent: connections lost with it in flight, and acks that this one did not bring in time. */
  #lost = 0;
  #late = 0;
  #losses = 0;
  #storing: Promise<unknown> | undefined;
  #wake: (() => void) | undefined;
  #end: (() => void) | undefined;
  /** The keys that need no look: this tab's, and those of tabs whose end is waited for. */
  #known!: Set<string>;

  constructor(socket: Connection, options: QueueOptions = {}) {
    super();
    this.#link = linkOf(socket);
    this.#options = options;
    this.#prefix = (options.storageKey ?? "aivo_websocket_queue") + ":1:";
    if (!options.closed) this.open();
  }

  /** How many messages wait. */
  get size(): number {
    return this.#messages.length;
  }

  /** Begins, or begins again after `close`. */
  open(): void {
    if (this.#end) return;
    let free!: () => void;
    const held = new Promise<void>((resolve) => (free = resolve));
    const unwatch = this.#link.watch(() => {
      if (this.#link.connected) {
        this.#wake?.();
        this.#after(() => this.#adopt());
        this.process();
      } else this.#losses++;
    });
    this.#end = () => {
      unwatch();
      this.#wake?.();
      this.#after(async () => {
        // A message in flight is another tab's to send only when it is known what became of it.
        await this.#flight;
        await this.#storing;
        if (this.#key) this.#messages = [];
        this.#key = "";
        this.#changed();
        free();
      });
    };
    // Later, so that an error finds its listener.
    this.#after(() => this.#load(held));
    this.#after(() => void this.process());
  }

  /** Ends sending, when the message in flight is settled. What is stored waits there for the next queue of this key. */
  close(): void {
    this.#end?.();
    this.#end = undefined;
  }

  /**
   * Queues a message and sends it as soon as it can be. Resolves with the first argument of its ack, and rejects with a
   * `QueueError` if it is not delivered; events tell as well, so the promise need not be looked at. Throws a `TypeError` where
   * the arguments cannot be stored: binary data, a circle.
   */
  send<Answer = any>(event: string, ...args: unknown[]): Promise<Answer> {
    const { idField = "_id", storage } = this.#options;
    let id = newId();
    if (idField && isObject(args[0])) {
      id = args[0][idField] ?? id;
      args = [{ ...args[0], [idField]: id }, ...args.slice(1)];
    }
    if (storage !== "memory") JSON.stringify(args, storable);
    const promise = new Promise<Answer>((resolve, reject) => this.#promises.set(id, { resolve, reject }));
    promise.catch(() => {});
    // No clock that is set back changes the order, which is that of `at` in another page.
    this.#messages.push({ id, event, args, at: Math.max(this.#messages.at(-1)?.at || 0, Date.now()) });
    this.#changed();
    this.process();
    return promise;
  }

  /** Forgets all messages of this tab. Their promises reject. */
  clear(): void {
    this.#messages.forEach((message) => this.#settle(message, "cleared"));
  }

  /** Sends what waits, if there is a connection. Resolves when nothing more can be sent now. */
  process(): Promise<void> {
    return (this.#draining ??= this.#drain());
  }

  async #drain(): Promise<void> {
    try {
      for (;;) {
        await this.#ready;
        const message = this.#messages[0];
        if (!message || !this.#end || !this.#link.connected) return;
        const turn = await (this.#flight = this.#deliver(message));
        if (turn) await this.#pause(turn);
      }
    } finally {
      this.#draining = undefined;
    }
  }

  /** Sends a message and waits for its ack. The number of the repeat, if there is to be one. */
  async #deliver(message: QueuedMessage): Promise<number | void> {
    const { ttl = Infinity, maxRetries = 3, ackTimeout = 20_000 } = this.#options;
    if (this.#head !== message) {
      this.#head = message;
      this.#lost = this.#late = 0;
    }
    if (Date.now() - message.at > ttl) return this.#settle(message, "expired");
    const losses = this.#losses;
    const answer: any = await this.#link.ask(message.event, message.args, ackTimeout * 2 ** this.#late).catch(() => this);
    // It may have been forgotten meanwhile.
    if (!this.#messages.includes(message)) return;
    if (answer?.rateLimited === true) return 2;
    if (answer !== this && answer?.retriable !== true) return this.#settle(message, undefined, answer);
    if (answer === this && losses === this.#losses) {
      this.#late++;
    } else {
      // The late acks of a connection that ended were its fault, and count as one loss.
      this.#lost++;
      this.#late = 0;
    }
    const repeats = this.#lost + this.#late;
    return repeats > maxRetries ? this.#settle(message, "retries") : repeats;
  }

  /** Growing, with chance in it, and over at once when a connection comes. */
  #pause(turn: number): Promise<void> {
    const full = Math.min((this.#options.backoff ?? 1000) * 2 ** --turn, 30_000);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), full * (0.5 + Math.random() / 2));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #settle(message: QueuedMessage, reason?: QueueReason, answer?: unknown): void {
    this.#messages = this.#messages.filter((other) => other !== message);
    const promise = this.#promises.get(message.id);
    this.#promises.delete(message.id);
    this.#changed();
    if (reason) promise?.reject(new QueueError(reason, message));
    else promise?.resolve(answer);
    this.#tell(reason ? (reason === "dropped" ? reason : "failed") : "delivered", { message, reason, answer });
  }

  /** After each change of the messages: holds the bound, stores, tells. */
  #changed(): void {
    // What was sent may have been heard.
    const oldest = this.#messages.find((message) => message !== this.#head);
    if (oldest && this.size > (this.#options.maxQueueSize ?? 100)) return this.#settle(oldest, "dropped");
    this.#store();
    this.#tell("change", { size: this.size });
  }

  #tell(type: keyof QueueEvents, detail: object): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #broken(error: unknown, key = this.#prefix, value?: string): void {
    this.#tell("storageerror", { error, key, value });
  }

  /** Does this when all that is under way with the storage is done. */
  #after(work: () => unknown): void {
    this.#ready = this.#ready.then(work).catch((error) => this.#broken(error));
  }

  async #load(held: Promise<void>): Promise<void> {
    const { storage: kind = "local" } = this.#options;
    if (kind === "memory") return;
    const more = () => import("./storage.js");
    const storage = (this.#storage ??= kind === "local" ? localStorage : kind === "indexeddb" ? (await more()).indexedDbStorage() : kind);
    const key = (this.#key = this.#prefix + newId());
    this.#known = new Set([key]);
    this.#store();
    this.#locks ??= (navigator.locks as QueueLocks | undefined) ?? (await more()).leases(storage);
    await new Promise<void>((resolve, reject) => {
      this.#locks!.request(key, {}, async () => (resolve(), held)).catch(reject);
    });
    await this.#adopt();
  }

  /** Takes the messages of tabs that have ended: now, or when they end. */
  async #adopt(): Promise<void> {
    const storage = this.#storage!;
    if (!this.#key) return;
    for (const key of (await storage.allKeys?.()) ?? Object.keys(storage)) {
      if (!key.startsWith(this.#prefix) || this.#known.has(key)) continue;
      this.#known.add(key);
      const take = async (lock: unknown) => {
        if (!lock || !this.#key) return lock;
        const value = (await storage.getItem(key)) ?? "[]";
        try {
          for (const found of JSON.parse(value)) {
            if (found.args.at && !this.#messages.some(({ id }) => id === found.id)) this.#messages.push(found);
          }
        } catch (error) {
          this.#broken(error, key, value);
          await storage.setItem("unreadable:" + this.#prefix, value);
        }
        this.#messages.sort((one, other) => one.at - other.at);
        this.#changed();
        await this.#storing;
        // Only now: a crash before leaves a message twice, with one id.
        await storage.removeItem(key);
        // There was no room for both, perhaps.
        this.#store();
        this.process();
        return lock;
      };
      const taken = await this.#locks!.request(key, { ifAvailable: true }, take);
      if (!taken) this.#locks!.request(key, {}, take).catch((error) => this.#broken(error));
    }
  }

  /** Writes what waits; at once where the storage can, so that it outlives a page that ends now. */
  #store(): void {
    const key = this.#key;
    if (!key) return;
    const broken = (error: unknown) => this.#broken(error, key);
    const storage = this.#storage!;
    try {
      const done: any = this.size ? storage.setItem(key, JSON.stringify(this.#messages)) : storage.removeItem(key);
      this.#storing = done?.then(null, broken);
    } catch (error) {
      broken(error);
    }
  }
}

/** The events of a queue, by their names. */
export interface OfflineQueue {
  addEventListener<Type extends keyof QueueEvents>(
    type: Type,
    listener: ((event: QueueEvents[Type]) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Type extends keyof QueueEvents>(
    type: Type,
    listener: ((event: QueueEvents[Type]) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
