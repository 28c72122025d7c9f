// A socket, locks and a storage that do what a test says.

import type { QueueLocks } from "../src/storage.js";

type Listener = (...args: any[]) => void;

/** A message that a service got. */
export interface Heard {
  event: string;
  args: any[];
  /** Acknowledges it. */
  ack(answer?: unknown): void;
}

/** As a `Socket` of socket.io-client: an ack with a timeout fails when the connection ends. */
export class FakeSocket {
  connected = false;
  active = true;
  heard: Heard[] = [];
  /** What acks come by themselves. */
  answers: ((heard: Heard) => unknown) | undefined;
  #listeners = new Map<string, Set<Listener>>();
  #open = new Set<(error: Error) => void>();

  on(event: string, listener: Listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
  }
  off(event: string, listener: Listener) {
    this.#listeners.get(event)?.delete(listener);
  }
  get listeners() {
    return [...this.#listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
  fire(event: string, ...args: unknown[]) {
    [...(this.#listeners.get(event) ?? [])].forEach((listener) => listener(...args));
  }
  timeout(ms: number) {
    return {
      emit: (event: string, ...args: any[]) => {
        if (!this.connected) throw new Error("it would be buffered, and sent twice");
        const callback = args.pop() as (error: Error | null, answer?: unknown) => void;
        const end = (error: Error | null, answer?: unknown) => {
          clearTimeout(timer);
          if (this.#open.delete(end)) callback(error, answer);
        };
        const timer = setTimeout(() => end(new Error("operation has timed out")), ms);
        this.#open.add(end);
        const heard = { event, args, ack: (answer?: unknown) => end(null, answer) };
        this.heard.push(heard);
        const answer = this.answers?.(heard);
        if (answer !== undefined) setTimeout(() => heard.ack(answer), 10);
      },
    };
  }
  up() {
    this.connected = true;
    this.fire("connect");
  }
  down() {
    this.connected = false;
    this.fire("disconnect", "transport close");
    [...this.#open].forEach((end) => end(new Error("socket has been disconnected")));
  }
  get events() {
    return this.heard.map(({ event, args }) => [event, args[0]?.n ?? args[0]]);
  }
}

/** Web Locks, of which a tab can die with all it holds. */
export class FakeLocks implements QueueLocks {
  held = new Map<string, object>();
  #waiting: { name: string; grant(): void }[] = [];

  async request<T>(name: string, { ifAvailable = false }, callback: (lock: unknown) => Promise<T>): Promise<T> {
    // The browser asks another process.
    await new Promise((resume) => setTimeout(resume, 1));
    if (this.held.has(name)) {
      if (ifAvailable) return callback(null);
      await new Promise<void>((grant) => this.#waiting.push({ name, grant }));
    }
    const lock = {};
    this.held.set(name, lock);
    try {
      return await callback(lock);
    } finally {
      if (this.held.get(name) === lock) this.crash(name);
    }
  }
  /** Its tab has ended. */
  crash(name: string) {
    this.held.delete(name);
    const at = this.#waiting.findIndex((waiting) => waiting.name === name);
    if (at >= 0) {
      this.held.set(name, {});
      this.#waiting.splice(at, 1)[0]!.grant();
    }
  }
}

/** As `localStorage`: the keys are properties. */
export function fakeStorage(items: Record<string, string> = {}): Storage {
  const storage = Object.create({
    getItem: (key: string) => (storage as any)[key] ?? null,
    setItem: (key: string, value: string) => void ((storage as any)[key] = value),
    removeItem: (key: string) => void delete (storage as any)[key],
  });
  return Object.assign(storage, items);
}
