import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import "fake-indexeddb/auto";
import { OfflineQueue, QueueError, type QueueOptions } from "../src/index.js";
import { indexedDbStorage } from "../src/storage.js";
import { FakeLocks, fakeStorage, FakeSocket } from "./fakes.js";

let locks: FakeLocks;
let storage: Storage;
let queues: OfflineQueue[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] });
  locks = new FakeLocks();
  storage = fakeStorage();
  queues = [];
  Object.defineProperty(navigator, "locks", { value: locks, configurable: true });
});
afterEach(() => {
  queues.forEach((queue) => queue.close());
  vi.useRealTimers();
});

const pass = (ms = 50) => vi.advanceTimersByTimeAsync(ms);

function queueOver(socket: FakeSocket, options: QueueOptions = {}) {
  const queue = new OfflineQueue(socket, { storage, ...options });
  queues.push(queue);
  const events: [string, any][] = [];
  for (const type of ["dropped", "failed", "delivered", "storageerror"] as const) {
    queue.addEventListener(type, (event: CustomEvent) => events.push([type, event.detail]));
  }
  return Object.assign(queue, { events });
}

/** The keys under which messages are stored. */
const stored = () => Object.keys(storage).filter((key) => key.startsWith("aivo_websocket_queue:1:"));

function connected() {
  const socket = new FakeSocket();
  socket.connected = true;
  return socket;
}

describe("delivery", () => {
  test("a message is sent at once, with an id, and leaves with its ack", async () => {
    const socket = connected();
    const queue = queueOver(socket);
    const answer = queue.send("agent:learning", { n: 1 });
    await pass();
    expect(socket.events).toEqual([["agent:learning", 1]]);
    expect(socket.heard[0]!.args[0]._id).toMatch(/^[0-9a-f-]{36}$/);
    expect(queue.size).toBe(1);
    socket.heard[0]!.ack({ success: true });
    expect(await answer).toEqual({ success: true });
    expect(queue.size).toBe(0);
    expect(queue.events).toEqual([["delivered", expect.objectContaining({ answer: { success: true } })]]);
    expect(stored()).toEqual([]);
  });

  test("an answer that says an error is an answer", async () => {
    const socket = connected();
    socket.answers = () => ({ error: "Unknown action" });
    expect(await Promise.all([queueOver(socket).send("a"), pass()])).toEqual([{ error: "Unknown action" }, vi]);
  });

  test("what is sent without a connection is sent once, in its order, when one comes", async () => {
    const socket = new FakeSocket();
    socket.answers = () => ({});
    const queue = queueOver(socket);
    for (let n = 1; n <= 10; n++) void queue.send("e", { n });
    await pass();
    expect([socket.heard.length, queue.size]).toEqual([0, 10]);
    socket.up();
    await pass(1000);
    expect(socket.events).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((n) => ["e", n]));
    expect(queue.size).toBe(0);
  });

  test("one message is in flight at a time", async () => {
    const socket = connected();
    const queue = queueOver(socket);
    void queue.send("e", { n: 1 });
    void queue.send("e", { n: 2 });
    await pass();
    expect(socket.events).toEqual([["e", 1]]);
    socket.heard[0]!.ack({});
    await pass();
    expect(socket.events).toEqual([["e", 1], ["e", 2]]);
  });

  test("a second connect without a disconnect sends nothing twice", async () => {
    const socket = connected();
    const queue = queueOver(socket);
    void queue.send("e", { n: 1 });
    await pass();
    socket.up();
    socket.up();
    await pass();
    expect(socket.events).toEqual([["e", 1]]);
    socket.heard[0]!.ack({});
    await pass();
    expect(queue.size).toBe(0);
  });

  test("a connection that ends before the ack has the message sent again, with its id", async () => {
    const socket = connected();
    const queue = queueOver(socket);
    const answer = queue.send("e", { n: 1 });
    await pass();
    socket.down();
    await pass(5000);
    expect(socket.heard.length).toBe(1);
    socket.up();
    await pass();
    expect(socket.events).toEqual([["e", 1], ["e", 1]]);
    expect(socket.heard[1]!.args[0]._id).toBe(socket.heard[0]!.args[0]._id);
    socket.heard[1]!.ack({ ok: true });
    expect(await answer).toEqual({ ok: true });
  });

  test("a service that restarted has the message sent again", async () => {
    const socket = connected();
    const queue = queueOver(socket);
    void queue.send("e", { n: 1 });
    await pass();
    socket.heard[0]!.ack({ error: "Service restarted", retriable: true });
    await pass(1000);
    expect(socket.heard.length).toBe(2);
    expect(queue.size).toBe(1);
  });

  test("a message over the rate limit is sent again, as often as it takes", async () => {
    const socket = connected();
    const queue = queueOver(socket, { maxRetries: 1 });
    const answer = queue.send("e", { n: 1 });
    await pass();
    for (let n = 0; n < 5; n++) {
      socket.heard.at(-1)!.ack({ error: "Rate limit exceeded. Please slow down.", rateLimited: true });
      await pass(900);
      expect(socket.heard.length).toBe(n + 1);
      await pass(1200);
    }
    socket.heard.at(-1)!.ack("done");
    expect(await answer).toBe("done");
  });
});

describe("giving up", () => {
  test("the wait for an ack doubles, and after three repeats the message fails", async () => {
    const random = vi.spyOn(Math, "random").mockReturnValue(1);
    const socket = connected();
    const queue = queueOver(socket, { ackTimeout: 1000, backoff: 1000 });
    const answer = queue.send("e", { n: 1 });
    void queue.send("e", { n: 2 });
    const times: number[] = [];
    socket.answers = ({ args }) => (args[0].n === 2 ? {} : void times.push(Date.now()));
    const began = Date.now();
    await pass(1000 + 1000 + 2000 + 2000 + 4000 + 4000 + 8000 + 100);
    expect(times.map((time) => time - began).map((ms) => Math.round(ms / 100) / 10)).toEqual([0, 2, 6, 14]);
    await expect(answer).rejects.toMatchObject({ reason: "retries", queued: { event: "e" } });
    expect(await answer.catch((error) => error)).toBeInstanceOf(QueueError);
    await pass();
    // What is behind it goes on.
    expect(queue.events.map(([type, { reason }]) => [type, reason])).toEqual([["failed", "retries"], ["delivered", undefined]]);
    random.mockRestore();
  });

  test("chance takes up to half of a pause", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0);
    const socket = connected();
    void queueOver(socket, { ackTimeout: 1000, backoff: 1000 }).send("e");
    await pass(1490);
    expect(socket.heard.length).toBe(1);
    await pass(100);
    expect(socket.heard.length).toBe(2);
  });

  test("late acks of a connection that then ends count as one loss", async () => {
    const socket = connected();
    const queue = queueOver(socket, { ackTimeout: 1000, maxRetries: 3 });
    void queue.send("e");
    await pass(1000 + 1000 + 2000 + 2000 + 500);
    expect(socket.heard.length).toBe(3);
    socket.down();
    await pass();
    socket.up();
    await pass(1000 + 2000 + 2000 + 500);
    expect([queue.size, queue.events]).toEqual([1, []]);
  });

  test("a message that ends every connection is given up", async () => {
    const socket = connected();
    const queue = queueOver(socket);
    void queue.send("e");
    for (let n = 0; n < 4; n++) {
      await pass();
      expect(queue.size).toBe(1);
      socket.down();
      await pass();
      socket.up();
    }
    await pass();
    expect([socket.heard.length, queue.events.map(([type]) => type)]).toEqual([4, ["failed"]]);
  });

  test("a message that is older than its time fails, and a younger one is sent", async () => {
    const socket = new FakeSocket();
    socket.answers = () => ({});
    const queue = queueOver(socket, { ttl: 60_000 });
    const old = queue.send("e", { n: 1 });
    await pass(40_000);
    void queue.send("e", { n: 2 });
    await pass(30_000);
    socket.up();
    await pass();
    await expect(old).rejects.toMatchObject({ reason: "expired" });
    expect(socket.events).toEqual([["e", 2]]);
  });

  test("the 101st message is kept, and the oldest is told as dropped", async () => {
    const socket = new FakeSocket();
    const queue = queueOver(socket);
    const first = queue.send("e", { n: 1 });
    for (let n = 2; n <= 100; n++) void queue.send("e", { n });
    expect(queue.events).toEqual([]);
    void queue.send("e", { n: 101 });
    expect(queue.size).toBe(100);
    expect(queue.events).toEqual([["dropped", expect.objectContaining({ message: expect.objectContaining({ event: "e" }) })]]);
    await expect(first).rejects.toMatchObject({ reason: "dropped" });
    socket.answers = () => ({});
    socket.up();
    await pass(5000);
    expect(socket.events.map(([, n]) => n)).toEqual(Array.from({ length: 100 }, (_, at) => at + 2));
  });

  test("what is in flight is not dropped", async () => {
    const socket = connected();
    const queue = queueOver(socket, { maxQueueSize: 2 });
    for (const n of [1, 2]) void queue.send("e", { n });
    await pass();
    void queue.send("e", { n: 3 });
    expect(queue.events[0]![1].message.args[0].n).toBe(2);
    socket.answers = () => ({});
    socket.heard[0]!.ack({});
    await pass();
    expect(socket.events.map(([, n]) => n)).toEqual([1, 3]);
  });

  test("a queue that is cleared says so to whoever waits", async () => {
    const queue = queueOver(new FakeSocket());
    const answers = [queue.send("e"), queue.send("e")];
    queue.clear();
    expect(queue.size).toBe(0);
    for (const answer of answers) await expect(answer).rejects.toMatchObject({ reason: "cleared" });
    await pass();
    expect(stored()).toEqual([]);
  });
});

describe("ids", () => {
  test("an id of the page's own is kept", async () => {
    const socket = connected();
    void queueOver(socket).send("e", { _id: "mine" });
    await pass();
    expect(socket.heard[0]!.args).toEqual([{ _id: "mine" }]);
  });
  test("another member can carry it, or none", async () => {
    const socket = connected();
    socket.answers = () => ({});
    void queueOver(socket, { idField: "requestId" }).send("e", { n: 1 });
    void queueOver(socket, { idField: false }).send("f", { n: 1 });
    void queueOver(socket).send("g", "text", 2);
    await pass();
    expect(socket.heard.map(({ event, args }) => [event, args.length, Object.keys(Object(args[0]))]).sort()).toEqual([
      ["e", 1, ["n", "requestId"]],
      ["f", 1, ["n"]],
      ["g", 2, ["0", "1", "2", "3"]],
    ]);
  });
});

describe("storage", () => {
  test("a clock that is set back does not change the order", async () => {
    const before = queueOver(new FakeSocket());
    await pass();
    void before.send("e", { n: 1 });
    vi.setSystemTime(Date.now() - 3_600_000);
    void before.send("e", { n: 2 });
    before.close();
    await pass();
    const socket = new FakeSocket();
    socket.answers = () => ({});
    const queue = queueOver(socket);
    await pass();
    void queue.send("e", { n: 3 });
    socket.up();
    await pass();
    expect(socket.events.map(([, n]) => n)).toEqual([1, 2, 3]);
  });

  test("a page that is loaded again sends what the last one left, before its own", async () => {
    const before = queueOver(new FakeSocket());
    await pass();
    for (const n of [1, 2]) void before.send("e", { n });
    const [key] = stored();
    locks.crash(key!);
    await pass();
    const socket = new FakeSocket();
    socket.answers = () => ({});
    const queue = queueOver(socket);
    void queue.send("e", { n: 3 });
    await pass();
    expect(queue.size).toBe(3);
    socket.up();
    await pass();
    expect(socket.events.map(([, n]) => n)).toEqual([1, 2, 3]);
    expect(stored()).toEqual([]);
  });

  test("a crash between the sending and the ack has the message sent again", async () => {
    const before = connected();
    void queueOver(before).send("e", { n: 1 });
    await pass();
    expect(before.heard.length).toBe(1);
    locks.crash(stored()[0]!);
    const socket = connected();
    queueOver(socket);
    await pass();
    expect(socket.heard[0]!.args).toEqual(before.heard[0]!.args);
  });

  test("what a second tab has queued is not sent by the first, until the second has ended", async () => {
    const first = connected();
    queueOver(first);
    await pass();
    const second = new FakeSocket();
    const queue = queueOver(second);
    await pass();
    void queue.send("e", { n: 1 });
    await pass();
    // It looks at each connection.
    first.up();
    await pass();
    expect(first.heard).toEqual([]);
    const key = stored().find((key) => storage.getItem(key))!;
    locks.crash(key);
    await pass();
    expect(first.events).toEqual([["e", 1]]);
  });

  test("two tabs that start together send a message of a dead one once", async () => {
    const before = queueOver(new FakeSocket());
    await pass();
    void before.send("e", { n: 1 });
    locks.crash(stored()[0]!);
    const sockets = [connected(), connected(), connected()];
    for (const socket of sockets) {
      socket.answers = () => ({});
      queueOver(socket);
    }
    await pass(5000);
    expect(sockets.reduce((sum, { heard }) => sum + heard.length, 0)).toBe(1);
    expect(stored()).toEqual([]);
  });

  test("a queue that is closed in flight leaves the message to the next one only if it had no ack", async () => {
    for (const acknowledged of [true, false]) {
      const socket = connected();
      const queue = queueOver(socket);
      void queue.send("e", { acknowledged });
      await pass();
      queue.close();
      await pass();
      const next = connected();
      queueOver(next);
      await pass();
      expect(next.heard).toEqual([]);
      if (acknowledged) socket.heard[0]!.ack({});
      else socket.down();
      await pass(2000);
      expect(next.heard.length).toBe(acknowledged ? 0 : 1);
      queues.forEach((queue) => queue.close());
      next.heard[0]?.ack({});
      await pass(2000);
    }
  });

  test("a queue that is opened again goes on, and the promises of its messages too", async () => {
    const socket = new FakeSocket();
    socket.answers = () => "answer";
    const queue = queueOver(socket);
    const answer = queue.send("e", { n: 1 });
    queue.close();
    void queue.send("e", { n: 2 });
    queue.open();
    await pass();
    socket.up();
    await pass();
    expect(socket.events.map(([, n]) => n)).toEqual([1, 2]);
    expect(await answer).toBe("answer");
    queue.close();
    await pass();
    expect(socket.listeners).toBe(0);
  });

  test("a full storage is an event, and messages go on in memory", async () => {
    const socket = new FakeSocket();
    socket.answers = () => ({});
    storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    Object.defineProperty(storage, "setItem", { value: storage.setItem, enumerable: false });
    const queue = queueOver(socket);
    await pass();
    void queue.send("e", { n: 1 });
    expect(queue.events).toEqual([["storageerror", expect.objectContaining({ error: expect.objectContaining({ name: "QuotaExceededError" }) })]]);
    socket.up();
    await pass();
    expect(socket.events).toEqual([["e", 1]]);
  });

  test("a browser that forbids its storage is an event", async () => {
    const own = Object.getOwnPropertyDescriptor(globalThis, "localStorage");
    Object.defineProperty(globalThis, "localStorage", {
      configurable: true,
      get() {
        throw new DOMException("denied", "SecurityError");
      },
    });
    const socket = connected();
    socket.answers = () => ({});
    const queue = queueOver(socket, { storage: "local" });
    const answer = queue.send("e", { n: 1 });
    await pass();
    expect(await answer).toEqual({});
    expect(queue.events[0]).toEqual(["storageerror", expect.objectContaining({ error: expect.objectContaining({ name: "SecurityError" }) })]);
    if (own) Object.defineProperty(globalThis, "localStorage", own);
    else delete (globalThis as any).localStorage;
  });

  test("what cannot be read is set aside and told, and what can is sent", async () => {
    storage.setItem("aivo_websocket_queue:1:dead", '[{"id":"x","event":"e","ar');
    storage.setItem("aivo_websocket_queue:1:other", '[{"id":"y","event":"e","args":[{"n":2}],"at":1}]');
    storage.setItem("aivo_websocket_queue", "[]");
    const socket = connected();
    const queue = queueOver(socket);
    await pass();
    expect(queue.events).toEqual([
      ["storageerror", { error: expect.any(SyntaxError), key: "aivo_websocket_queue:1:dead", value: '[{"id":"x","event":"e","ar' }],
    ]);
    expect(storage.getItem("unreadable:aivo_websocket_queue:1:")).toBe('[{"id":"x","event":"e","ar');
    expect(storage.getItem("aivo_websocket_queue")).toBe("[]");
    expect(socket.events).toEqual([["e", 2]]);
    expect(stored().length).toBe(1);
  });

  test("binary data is refused where it would be stored, and sent where it would not", async () => {
    const socket = connected();
    const bytes = new Uint8Array(4);
    expect(() => queueOver(socket).send("e", { bytes })).toThrow(TypeError);
    expect(() => queueOver(socket).send("e", new Map())).toThrow(TypeError);
    void queueOver(socket, { storage: "memory" }).send("e", { bytes });
    await pass();
    expect(socket.heard.map(({ args }) => args[0].bytes)).toEqual([bytes]);
  });

  test("nothing of a queue in memory is stored", async () => {
    const spy = vi.spyOn(Object.getPrototypeOf(storage), "setItem");
    void queueOver(new FakeSocket(), { storage: "memory" }).send("e");
    await pass();
    expect(spy).not.toHaveBeenCalled();
  });

  test("IndexedDB keeps messages for the next page", async () => {
    vi.useRealTimers();
    const before = queueOver(new FakeSocket(), { storage: "indexeddb" });
    void before.send("e", { n: 1 });
    const database = indexedDbStorage();
    await vi.waitFor(async () => expect(await database.allKeys!()).toHaveLength(1), 40_000);
    const [key] = await database.allKeys!();
    await vi.waitFor(() => expect(locks.held.has(key!)).toBe(true), 40_000);
    locks.crash(key!);
    const socket = connected();
    socket.answers = () => ({});
    const queue = queueOver(socket, { storage: "indexeddb" });
    await vi.waitFor(() => expect(queue.events.map(([type]) => type)).toEqual(["delivered"]), 40_000);
    await vi.waitFor(async () => expect(await database.allKeys!()).toEqual([]), 40_000);
    expect(socket.events).toEqual([["e", 1]]);
  });

  test("a page without Web Locks has leases, and takes over when one has run out", async () => {
    Object.defineProperty(navigator, "locks", { value: undefined, configurable: true });
    const before = queueOver(new FakeSocket());
    await pass();
    void before.send("e", { n: 1 });
    const lease = Object.keys(storage).find((key) => key.startsWith("lease:"))!;
    const socket = connected();
    queueOver(socket);
    await pass(200_000);
    // It is renewed.
    expect(socket.heard).toEqual([]);
    storage.setItem(lease, "0");
    await pass(2000);
    expect(socket.events).toEqual([["e", 1]]);
  });
});
