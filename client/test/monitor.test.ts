import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ConnectionQualityMonitor, type QualityOptions } from "../src/index.js";
import { measure } from "../src/monitor.js";
import { FakeSocket } from "./fakes.js";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] }));
afterEach(() => vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

function setup(options?: QualityOptions) {
  const socket = new FakeSocket();
  const state = { latency: 40 as number | null };
  const emit = socket.timeout.bind(socket);
  socket.timeout = (ms) => ({
    emit(event, ...args) {
      emit(ms).emit(event, ...args);
      const { ack } = socket.heard.at(-1)!;
      if (state.latency !== null) setTimeout(ack, state.latency);
    },
  });
  socket.connected = true;
  const monitor = new ConnectionQualityMonitor(socket, options);
  return { socket, monitor, state };
}

describe("what samples say", () => {
  const now = new Date();
  test.each([
    [[99], "excellent"],
    [[100], "good"],
    [[249], "good"],
    [[250], "fair"],
    [[499], "fair"],
    [[500], "poor"],
    [[20, 20, null], "excellent"],
    [[null, null], "poor"],
    [[0], "excellent"],
    [[], "good"],
  ])("%j is %s", (samples, quality) => {
    expect(measure(samples, true, now).quality).toBe(quality);
    expect(measure(samples, false, now).quality).toBe("offline");
  });

  test.each([
    [[100, 100, 100], true],
    [[100, 170], true],
    [[100, 200], false],
    [[50], true],
    [[0, 0], true],
    [[], true],
    [[100, null, 100], true],
  ])("%j: stable is %s", (samples, stable) => expect(measure(samples, true, now).isStable).toBe(stable));

  test("average and loss", () => {
    expect(measure([10, null, 21, null], true, now)).toMatchObject({ latency: null, avgLatency: 16, packetLoss: 50, lastChecked: now });
    expect(measure([null, 21], true, now)).toMatchObject({ latency: 21, avgLatency: 21, packetLoss: 50 });
    expect(measure([], true, null)).toMatchObject({ latency: null, avgLatency: null, packetLoss: 0 });
  });
});

test("it pings at once and every ten seconds, by a question with nothing in it", async () => {
  const { socket, monitor } = setup();
  expect(socket.heard).toEqual([]);
  monitor.start();
  monitor.start();
  await pass(50);
  expect(socket.heard.map(({ event, args }) => [event, args])).toEqual([["quality_ping", []]]);
  expect(monitor.metrics).toMatchObject({ quality: "excellent", latency: 40, avgLatency: 40, lastChecked: expect.any(Date) });
  await pass(30_000);
  expect(socket.heard.length).toBe(4);
  monitor.stop();
  await pass(60_000);
  expect(socket.heard.length).toBe(4);
  expect(socket.listeners).toBe(0);
});

test("the average is of the last ten", async () => {
  const { monitor, state } = setup();
  monitor.start();
  await pass(95_000);
  state.latency = 340;
  await pass(10_000);
  expect(monitor.metrics).toMatchObject({ latency: 340, avgLatency: 70, quality: "excellent", isStable: false });
  await pass(90_000);
  expect(monitor.metrics).toMatchObject({ avgLatency: 340, quality: "fair", isStable: true });
});

test("an answer that takes five seconds is a loss", async () => {
  const { monitor, state } = setup();
  monitor.start();
  await pass(5000);
  state.latency = 4990;
  await pass(10_000);
  expect(monitor.metrics.packetLoss).toBe(0);
  state.latency = 5010;
  await pass(10_100);
  expect(monitor.metrics).toMatchObject({ packetLoss: 33, latency: null });
});

test("without a connection it is offline, and with the next one begins anew", async () => {
  const { socket, monitor, state } = setup();
  const changes = vi.fn();
  monitor.addEventListener("change", changes);
  state.latency = 600;
  monitor.start();
  await pass(20_000);
  expect(monitor.metrics.quality).toBe("poor");
  changes.mockClear();
  socket.down();
  expect(monitor.metrics.quality).toBe("offline");
  expect(changes).toHaveBeenCalledOnce();
  const count = socket.heard.length;
  await pass(60_000);
  expect(socket.heard.length).toBe(count);
  state.latency = 20;
  socket.up();
  await pass(100);
  expect(monitor.metrics).toMatchObject({ quality: "excellent", avgLatency: 20, packetLoss: 0 });
});

test("it pauses in a hidden page, and asks when the page is shown again", async () => {
  const { socket, monitor } = setup();
  const hidden = vi.spyOn(document, "hidden", "get");
  monitor.start();
  await pass(100);
  hidden.mockReturnValue(true);
  document.dispatchEvent(new Event("visibilitychange"));
  await pass(60_000);
  expect(socket.heard.length).toBe(1);
  hidden.mockReturnValue(false);
  document.dispatchEvent(new Event("visibilitychange"));
  await pass(100);
  expect(socket.heard.length).toBe(2);
  expect(monitor.metrics.packetLoss).toBe(0);
});

test("that the browser is offline counts only beside a ping without an answer", async () => {
  const { monitor, state } = setup();
  const online = vi.spyOn(navigator, "onLine", "get").mockReturnValue(false);
  monitor.start();
  await pass(100);
  expect(monitor.metrics.quality).toBe("excellent");
  state.latency = null;
  globalThis.dispatchEvent(new Event("offline"));
  await pass(5100);
  expect(monitor.metrics.quality).toBe("offline");
  online.mockReturnValue(true);
  state.latency = 40;
  globalThis.dispatchEvent(new Event("online"));
  await pass(100);
  expect(monitor.metrics.quality).toBe("excellent");
});

test("two checks at once are one", async () => {
  const { socket, monitor } = setup();
  const checks = Promise.all([monitor.check(), monitor.check()]);
  await pass(100);
  const [one, other] = await checks;
  expect(one).toBe(other);
  expect(socket.heard.length).toBe(1);
});
