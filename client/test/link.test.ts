import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ConnectionQualityMonitor, linkOf, OfflineQueue } from "../src/index.js";
import { FakeWebSocket } from "./web_socket.js";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] }));
afterEach(() => vi.useRealTimers());
const pass = (ms = 50) => vi.advanceTimersByTimeAsync(ms);

test("a queue over a WebSocket speaks as the bridge reads it", async () => {
  const socket = new FakeWebSocket("ws://gate/ws");
  const queue = new OfflineQueue(socket, { storage: "memory", idField: false });
  const answers = [queue.send("agent:learning", { action: "start_session" }), queue.send("two", 1, "b"), queue.send("odd", { type: "x" })];
  await pass();
  expect(socket.sent).toEqual([]);
  socket.open();
  for (const answer of [{ success: true }, 7, null]) {
    await pass();
    socket.say({ type: "ack", ackId: socket.sent.at(-1).ackId, args: [answer] });
  }
  expect(await Promise.all(answers)).toEqual([{ success: true }, 7, null]);
  expect(socket.sent.map(({ ackId, ...message }) => [typeof ackId, message])).toEqual([
    ["number", { type: "agent:learning", action: "start_session" }],
    ["number", { type: "two", args: [1, "b"] }],
    ["number", { type: "odd", args: [{ type: "x" }] }],
  ]);
  queue.close();
});

test("a monitor over a WebSocket asks by quality_ping", async () => {
  const socket = new FakeWebSocket("ws://gate/ws");
  socket.open();
  const monitor = new ConnectionQualityMonitor(socket);
  monitor.start();
  await pass(30);
  const [{ type, pingId, ...others }] = socket.sent;
  expect([type, typeof pingId, others]).toEqual(["quality_ping", "string", {}]);
  // Neither of these answers it.
  socket.say({ type: "quality_pong", pingId: "another" });
  socket.say({ type: "tutor:message", pingId });
  socket.hear("not JSON");
  socket.hear(new ArrayBuffer(2));
  await pass(20);
  expect(monitor.metrics.lastChecked).toBe(null);
  socket.say({ type: "quality_pong", pingId });
  await pass();
  expect(monitor.metrics).toMatchObject({ quality: "excellent", latency: 50 });
  monitor.stop();
});

test("a question ends with its connection, or when its time is over", async () => {
  const socket = new FakeWebSocket("ws://gate/ws");
  socket.open();
  const link = linkOf(socket);
  const late = link.ask("e", [], 1000);
  const cut = link.ask("e", [], 60_000);
  const failed = Promise.all([expect(late).rejects.toThrow(), expect(cut).rejects.toThrow()]);
  await pass(1100);
  socket.close();
  await failed;
  expect(link.connected).toBe(false);
});

test("two askers over one WebSocket get their own answers", async () => {
  const socket = new FakeWebSocket("ws://gate/ws");
  socket.open();
  const [one, other] = [linkOf(socket).ask("e", [], 1000), linkOf(socket).ask("e", [], 1000)];
  const [first, second] = socket.sent.map(({ ackId }) => ackId);
  socket.say({ type: "ack", ackId: second, args: ["second"] });
  socket.say({ type: "ack", ackId: first, args: ["first"] });
  expect([await one, await other]).toEqual(["first", "second"]);
});
