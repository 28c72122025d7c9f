import { act, StrictMode, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  ConnectionQualityBadge,
  ConnectionQualityCard,
  ConnectionQualityIndicator,
  useConnectionQuality,
  useOfflineQueue,
  useSocket,
  useWebSocket,
  type ConnectionHandle,
  type ConnectionQualityHandle,
  type OfflineQueueHandle,
  type WebSocketOptions,
} from "../src/react/index.js";
import { FakeLocks, FakeSocket } from "./fakes.js";
import { FakeWebSocket } from "./web_socket.js";

(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
let root: Root;
let page: HTMLElement;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] });
  vi.stubGlobal("WebSocket", FakeWebSocket);
  Object.defineProperty(navigator, "locks", { value: new FakeLocks(), configurable: true });
  FakeWebSocket.all = [];
  localStorage.clear();
  page = document.createElement("main");
  document.body.append(page);
  root = createRoot(page);
});
afterEach(async () => {
  await act(async () => root.unmount());
  page.remove();
  vi.useRealTimers();
});

const pass = (ms = 50) => act(() => vi.advanceTimersByTimeAsync(ms));
const show = (node: ReactNode) => act(async () => root.render(<StrictMode>{node}</StrictMode>));
const live = () => FakeWebSocket.all.filter(({ readyState }) => readyState < 2);

describe("useWebSocket", () => {
  let handle: ConnectionHandle;
  function Page(options: Partial<WebSocketOptions>) {
    handle = useWebSocket({ url: "ws://gate/ws", token: "a b", ...options });
    return <p>{handle.status}</p>;
  }

  test("a page that is mounted twice has one connection", async () => {
    await show(<Page />);
    expect(live().map(({ url }) => url)).toEqual(["ws://gate/ws?token=a%20b"]);
    expect(page.textContent).toBe("connecting");
    await act(async () => live()[0]!.open());
    expect([handle.status, handle.isConnected]).toEqual(["connected", true]);
    await act(async () => root.render(null));
    expect(live()).toEqual([]);
  });

  test("a message is sent, and what comes is the last message", async () => {
    const onMessage = vi.fn();
    await show(<Page onMessage={onMessage} />);
    const [socket] = live();
    await act(async () => socket!.open());
    expect(handle.send({ type: "agent:learning", action: "start_session" })).toBe(true);
    expect(socket!.sent).toEqual([{ type: "agent:learning", action: "start_session", ackId: expect.any(Number) }]);
    await act(async () => socket!.say({ type: "tutor:message", text: "Hello" }));
    expect(handle.lastMessage).toEqual({ type: "tutor:message", text: "Hello" });
    expect(onMessage.mock.calls).toEqual([[{ type: "tutor:message", text: "Hello" }]]);
    await act(async () => socket!.say({ type: "quality_pong", pingId: 1 }));
    expect(handle.lastMessage.type).toBe("tutor:message");
    await act(async () => socket!.say({ type: "game_pong", ball: 1 }));
    expect(handle.lastMessage).toEqual({ type: "game_pong", ball: 1 });
    const answer = handle.ask({ type: "agent:tutor", input: "why" });
    await pass();
    await act(async () => socket!.say({ type: "ack", ackId: socket!.sent.at(-1).ackId, args: [{ success: true }] }));
    expect(await answer).toEqual({ success: true });
    handle.send({ type: "ack", ackId: 4, args: ["of the page"] });
    expect(socket!.sent.at(-1)).toEqual({ type: "ack", ackId: 4, args: ["of the page"] });
  });

  test("it comes again every three seconds, five times, and when the browser is online again", async () => {
    const onClose = vi.fn();
    await show(<Page onClose={onClose} />);
    await act(async () => live()[0]!.open());
    for (let attempt = 1; attempt <= 5; attempt++) {
      await act(async () => live()[0]!.close());
      expect([handle.status, handle.reconnectAttempts, live().length]).toEqual(["reconnecting", attempt, 0]);
      await pass(3000);
      expect(live().length).toBe(1);
    }
    await act(async () => live()[0]!.close());
    expect(handle.status).toBe("error");
    await pass(60_000);
    expect(live()).toEqual([]);
    await act(async () => void globalThis.dispatchEvent(new Event("online")));
    await act(async () => live()[0]!.open());
    expect([handle.status, handle.reconnectAttempts, onClose.mock.calls.length]).toEqual(["connected", 0, 6]);
  });

  test("who disconnects stays so, and one that does not reconnect too", async () => {
    await show(<Page />);
    await act(async () => live()[0]!.open());
    await act(async () => handle.disconnect());
    await pass(60_000);
    expect([handle.status, live()]).toEqual(["disconnected", []]);
    await act(async () => handle.connect());
    expect(live().length).toBe(1);
    await show(<Page reconnect={false} />);
    await act(async () => live()[0]!.close());
    await pass(60_000);
    expect([handle.status, live()]).toEqual(["disconnected", []]);
  });

  test("what is sent without a connection waits for one, in its order", async () => {
    await show(<Page />);
    for (const n of [1, 2]) await act(async () => expect(handle.send({ type: "e", n })).toBe(true));
    await pass();
    expect(handle.queueSize).toBe(2);
    const [socket] = live();
    await act(async () => socket!.open());
    await act(async () => void handle.send({ type: "e", n: 3 }));
    for (const n of [1, 2, 3]) {
      await pass();
      expect(socket!.sent.map(({ n }) => n)).toEqual([1, 2, 3].slice(0, n));
      await act(async () => socket!.say({ type: "ack", ackId: socket!.sent.at(-1).ackId, args: [] }));
    }
    await pass();
    expect(handle.queueSize).toBe(0);
    handle.send({ type: "e", n: 4 });
    expect(socket!.sent.at(-1)).toMatchObject({ n: 4 });
  });

  test("without a queue nothing waits", async () => {
    await show(<Page enableOfflineQueue={false} />);
    expect(handle.send({ type: "e" })).toBe(false);
    expect(handle.queueSize).toBe(0);
  });

  test("another token is another connection, and the same props are not", async () => {
    await show(<Page />);
    await show(<Page />);
    const { length } = FakeWebSocket.all;
    await show(<Page token="b" />);
    expect(FakeWebSocket.all.length).toBe(length + 1);
    expect(live().map(({ url }) => url)).toEqual(["ws://gate/ws?token=b"]);
  });

  test("another token while a message is in flight leaves nothing behind", async () => {
    await show(<Page />);
    await act(async () => void handle.send({ type: "say", n: 1 }));
    await act(async () => void handle.send({ type: "say", n: 2 }));
    await act(async () => live()[0]!.open());
    await pass();
    expect(live()[0]!.sent.map(({ n }) => n)).toEqual([1]);
    await show(<Page token="new" />);
    const [socket] = live();
    await act(async () => socket!.open());
    await pass(2000);
    for (const n of [1, 2]) {
      expect(socket!.sent.at(-1)).toMatchObject({ n });
      await act(async () => socket!.say({ type: "ack", ackId: socket!.sent.at(-1).ackId, args: [] }));
      await pass(2000);
    }
    expect(handle.queueSize).toBe(0);
  });

  test("a message that its queue drops is told", async () => {
    const onQueueEvent = vi.fn();
    await show(<Page autoConnect={false} queue={{ maxQueueSize: 1 }} onQueueEvent={onQueueEvent} />);
    await act(async () => void [1, 2].forEach((n) => handle.send({ type: "say", n })));
    expect(onQueueEvent.mock.calls.map(([{ type, detail }]) => [type, detail.message.args[0].n])).toEqual([["dropped", 1]]);
  });

  test("an address that is none is an error, and the page stays", async () => {
    const onError = vi.fn();
    vi.stubGlobal("WebSocket", class { constructor() { throw new DOMException("no", "SyntaxError"); } });
    await show(<Page url="no address" onError={onError} />);
    expect(page.textContent).toBe("error");
    expect(onError).toHaveBeenCalled();
  });

  test("who disconnects is told that the connection has closed", async () => {
    const onClose = vi.fn();
    await show(<Page onClose={onClose} />);
    await act(async () => live()[0]!.open());
    await act(async () => handle.disconnect());
    expect(onClose).toHaveBeenCalledTimes(1);
  });

  test("a server that lets in and closes at once is given up too", async () => {
    await show(<Page />);
    for (let attempt = 0; attempt < 6; attempt++) {
      expect(live().length).toBe(1);
      await act(async () => live()[0]!.open());
      expect(handle.reconnectAttempts).toBe(0);
      await act(async () => live()[0]!.close());
      await pass(3000);
    }
    expect([handle.status, live()]).toEqual(["error", []]);
  });

  test("who connects after the last attempt has all attempts again", async () => {
    await show(<Page maxReconnectAttempts={1} />);
    await act(async () => live()[0]!.close());
    await pass(3000);
    await act(async () => live()[0]!.close());
    expect(handle.status).toBe("error");
    await act(async () => handle.connect());
    await act(async () => live()[0]!.close());
    expect(handle.status).toBe("reconnecting");
  });
});

function stock() {
  const any = new Set<(event: string, ...args: unknown[]) => void>();
  const io = new FakeSocket();
  const socket = Object.assign(new FakeSocket(), {
    io,
    any,
    emit: vi.fn(),
    connect: vi.fn(),
    disconnect: vi.fn(),
    onAny: (listener: any) => void any.add(listener),
    offAny: (listener: any) => void any.delete(listener),
  });
  return socket;
}

test("useSocket follows a stock socket, and lets go of it", async () => {
  const socket = stock();
  let handle!: ConnectionHandle;
  function Page() {
    handle = useSocket(socket);
    return null;
  }
  await show(<Page />);
  expect(handle.status).toBe("connecting");
  await act(async () => socket.up());
  expect(handle.status).toBe("connected");
  await act(async () => socket.any.forEach((listener) => listener("tutor:message", { text: "Hello" })));
  expect(handle.lastMessage).toEqual({ type: "tutor:message", text: "Hello" });
  await act(async () => socket.any.forEach((listener) => listener("typed", { type: 1 })));
  expect(handle.lastMessage).toEqual({ type: "typed", args: [{ type: 1 }] });
  await act(async () => socket.any.forEach((listener) => listener("two", 1, 2)));
  expect(handle.lastMessage).toEqual({ type: "two", args: [1, 2] });
  handle.send({ type: "agent:learning", action: "start_session" });
  await pass();
  expect(socket.heard.map(({ event, args }) => [event, args])).toEqual([["agent:learning", [{ action: "start_session" }]]]);
  await act(async () => socket.heard[0]!.ack({ success: true }));
  expect(handle.lastMessage).toEqual({ type: "ack", args: [{ success: true }] });
  await act(async () => {
    socket.down();
    socket.io.fire("reconnect_attempt", 2);
  });
  expect([handle.status, handle.reconnectAttempts]).toEqual(["reconnecting", 2]);
  socket.active = false;
  await act(async () => socket.fire("connect_error", new Error("Invalid authentication token")));
  expect(handle.status).toBe("error");
  await act(async () => root.render(null));
  await pass();
  expect([socket.listeners, socket.io.listeners, socket.any.size]).toEqual([0, 0, 0]);
});

describe("useConnectionQuality", () => {
  let quality: ConnectionQualityHandle;
  function Page({ checkInterval }: { checkInterval?: number }) {
    const { status, send } = useWebSocket({ url: "ws://gate/ws" });
    quality = useConnectionQuality({ status, send, checkInterval });
    return <ConnectionQualityBadge status={status} metrics={quality} />;
  }

  test("measures over the socket of useWebSocket, once though mounted twice", async () => {
    await show(<Page />);
    expect(page.textContent).toContain("Connecting…");
    const [socket] = live();
    await act(async () => socket!.open());
    await pass(45);
    const pings = () => socket!.sent.filter(({ type }) => type === "quality_ping");
    expect(pings().length).toBe(1);
    await act(async () => socket!.say({ type: "quality_pong", pingId: pings()[0].pingId }));
    expect(page.textContent).toContain("45 ms");
    expect(quality).toMatchObject({ quality: "excellent", latency: 45, isMonitoring: true, metrics: { latency: 45 } });
    await pass(10_000);
    expect(pings().length).toBe(2);
    await act(async () => quality.stopMonitoring());
    await pass(30_000);
    expect([pings().length, quality.isMonitoring]).toEqual([2, false]);
    await act(async () => quality.startMonitoring());
    expect([pings().length, quality.isMonitoring]).toEqual([3, true]);
    await act(async () => socket!.close());
    expect(quality.quality).toBe("offline");
    expect(page.textContent).toContain("Reconnecting…");
  });

  test("its interval can be set", async () => {
    await show(<Page checkInterval={1000} />);
    await act(async () => live()[0]!.open());
    await pass(4500);
    expect(live()[0]!.sent.length).toBe(1);
    await act(async () => live()[0]!.say({ type: "quality_pong", pingId: live()[0]!.sent[0].pingId }));
    await pass(1000);
    expect(live()[0]!.sent.length).toBe(2);
  });
});

describe("useOfflineQueue", () => {
  let queue: OfflineQueueHandle;
  const events: string[] = [];

  test("keeps messages until they are acknowledged, and tells what happens", async () => {
    function Page() {
      const { send, isConnected } = useWebSocket({ url: "ws://gate/ws", enableOfflineQueue: false });
      queue = useOfflineQueue(send, isConnected, { maxQueueSize: 2, onEvent: ({ type }) => events.push(type) });
      return null;
    }
    await show(<Page />);
    for (const n of [1, 2, 3]) await act(async () => void queue.queueMessage({ type: "e", n }));
    await pass();
    expect([queue.queueSize, queue.isPending, events]).toEqual([2, true, ["dropped"]]);
    expect(Object.keys(localStorage).some((key) => key.startsWith("aivo_websocket_queue:1:"))).toBe(true);
    const [socket] = live();
    await act(async () => socket!.open());
    for (const n of [2, 3]) {
      await pass();
      expect(socket!.sent.at(-1)).toMatchObject({ type: "e", n, _id: expect.any(String) });
      await act(async () => socket!.say({ type: "ack", ackId: socket!.sent.at(-1).ackId, args: [] }));
    }
    await pass();
    expect([queue.queueSize, queue.isPending, events]).toEqual([0, false, ["dropped", "delivered", "delivered"]]);
    await act(async () => queue.clearQueue());
  });

  test("takes a page's own function at its word", async () => {
    const sent: unknown[] = [];
    let connected = false;
    const send = (message: object) => void sent.push(message);
    function Page() {
      queue = useOfflineQueue(send, connected, { persistToStorage: false });
      return null;
    }
    await show(<Page />);
    await act(async () => void queue.queueMessage({ type: "e", n: 1 }));
    await pass();
    expect([sent, queue.queueSize]).toEqual([[], 1]);
    connected = true;
    await show(<Page />);
    await pass();
    expect([sent, queue.queueSize]).toEqual([[{ type: "e", n: 1, _id: expect.any(String) }], 0]);
    await act(async () => void queue.queueMessage({ type: "e", args: ["hi", 2] }));
    await pass();
    expect(sent.at(-1)).toEqual({ type: "e", args: ["hi", 2] });
  });
});

describe("components", () => {
  const metrics = {
    quality: "fair",
    latency: 310,
    avgLatency: 290,
    packetLoss: 10,
    isStable: false,
    lastChecked: new Date(2026, 0, 2, 3, 4, 5),
  } as const;

  test("the badge is a dot and the latency, and says the grade to who cannot see it", async () => {
    await show(<ConnectionQualityBadge status="connected" metrics={metrics} className="mine" />);
    const badge = page.querySelector(".tg-badge")!;
    expect(badge.className).toBe("tidegate-quality tg-badge mine");
    expect([badge.getAttribute("data-tone"), badge.getAttribute("title")]).toEqual(["fair", "Fair"]);
    expect(badge.querySelector(".tg-value")!.textContent).toBe("310 ms");
    const label = badge.querySelector("[aria-live=polite]")!;
    expect([label.textContent, label.classList.contains("tg-hidden")]).toEqual(["Connection: Fair", true]);
  });

  test("the card says everything", async () => {
    await show(<ConnectionQualityCard status="connected" metrics={metrics} />);
    const rows = [...page.querySelectorAll("dl div")].map((row) => [...row.children].map(({ textContent }) => textContent));
    expect(rows).toEqual([
      ["Average", "290 ms"],
      ["Packet loss", "10 %"],
      ["Stability", "Unstable"],
      ["Last check", metrics.lastChecked.toLocaleTimeString()],
    ]);
    expect(page.querySelector(".tg-head")!.textContent).toBe("Connection: Fair310 ms");
    expect(page.querySelectorAll(".tg-bars i:not(.tg-off)").length).toBe(2);
  });

  test.each([
    ["connecting", "waiting", "Connecting…"],
    ["reconnecting", "waiting", "Reconnecting…"],
    ["disconnected", "offline", "Offline"],
    ["error", "offline", "Connection failed"],
    ["connected", "waiting", "Measuring…"],
  ] as const)("%s is shown as %s: %s", async (status, tone, word) => {
    const none = { ...metrics, lastChecked: null };
    await show(<ConnectionQualityIndicator status={status} metrics={status === "connected" ? none : metrics} />);
    expect(page.querySelector(".tidegate-quality")!.getAttribute("data-tone")).toBe(tone);
    expect(page.querySelector(".tg-label")!.textContent).toBe("Connection: " + word);
    expect(page.querySelector(".tg-value")!.textContent).toBe("");
  });

  test("the indicator is a badge or a card where it is asked to", async () => {
    for (const [props, name] of [
      [{}, "tg-indicator"],
      [{ compact: true }, "tg-badge"],
      [{ showDetails: true }, "tg-card"],
    ] as const) {
      await show(<ConnectionQualityIndicator status="connected" metrics={metrics} {...props} />);
      expect(page.querySelector(".tidegate-quality")!.classList.contains(name)).toBe(true);
    }
  });

  test("the live region stays the same element, and changes with the grade alone", async () => {
    await show(<ConnectionQualityCard status="connected" metrics={metrics} />);
    const label = page.querySelector(".tg-label")!;
    const changes: unknown[] = [];
    const observer = new MutationObserver((records) => changes.push(...records));
    observer.observe(label, { childList: true, subtree: true, characterData: true, attributes: true });
    await show(<ConnectionQualityCard status="connected" metrics={{ ...metrics, latency: 320 }} />);
    expect([page.querySelector(".tg-label") === label, changes.length, observer.takeRecords().length]).toEqual([true, 0, 0]);
    await show(<ConnectionQualityCard status="connected" metrics={{ ...metrics, quality: "good" }} />);
    expect(label.textContent).toBe("Connection: Good");
  });
});
