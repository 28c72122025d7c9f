import { afterEach, beforeEach, expect, test, vi } from "vitest";
import "../src/elements.js";
import { FakeSocket } from "./fakes.js";
import { FakeWebSocket } from "./web_socket.js";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] }));
afterEach(() => {
  document.body.replaceChildren();
  vi.useRealTimers();
});
const pass = (ms = 50) => vi.advanceTimersByTimeAsync(ms);
const shown = (element: Element) => element.shadowRoot!.querySelector(".tidegate-quality")!;
const tone = (element: Element) => shown(element).getAttribute("data-tone");

test("a badge measures the socket that it is given, and nothing once it has left the page", async () => {
  const badge = document.createElement("tidegate-quality-badge");
  document.body.append(badge);
  expect([tone(badge), badge.status]).toEqual(["offline", "disconnected"]);
  const socket = new FakeSocket();
  socket.answers = () => null;
  badge.socket = socket;
  expect([tone(badge), badge.status]).toEqual(["waiting", "connecting"]);
  const root = shown(badge);
  socket.up();
  await pass();
  expect([tone(badge), badge.status]).toEqual(["excellent", "connected"]);
  expect(shown(badge).querySelector(".tg-value")!.textContent).toBe("10 ms");
  socket.down();
  expect([tone(badge), badge.status, shown(badge) === root]).toEqual(["waiting", "reconnecting", true]);
  badge.remove();
  expect(socket.listeners).toBe(0);
  document.body.append(badge);
  socket.up();
  await pass();
  expect(tone(badge)).toBe("excellent");
});

test("a card shows what a page has measured itself", () => {
  document.body.innerHTML = '<tidegate-quality-card status="connected"></tidegate-quality-card>';
  const card = document.querySelector("tidegate-quality-card")!;
  expect(tone(card)).toBe("waiting");
  card.metrics = { quality: "poor", latency: 700, avgLatency: 650, packetLoss: 20, isStable: true, lastChecked: new Date() };
  expect(tone(card)).toBe("poor");
  expect(shown(card).textContent).toContain("700 ms");
  card.setAttribute("status", "reconnecting");
  expect(shown(card).textContent).toContain("Reconnecting…");
});

test("over a WebSocket the status is its state", async () => {
  const badge = document.createElement("tidegate-quality-badge");
  badge.setAttribute("interval", "1000");
  document.body.append(badge);
  const socket = new FakeWebSocket("ws://gate/ws");
  badge.socket = socket;
  expect(badge.status).toBe("connecting");
  socket.open();
  await pass();
  expect(badge.status).toBe("connected");
  socket.close();
  expect([badge.status, tone(badge)]).toEqual(["disconnected", "offline"]);
});

test("what a page has set before the script came is taken", () => {
  const card = document.createElement("tidegate-quality-card");
  const metrics = { quality: "good", latency: 120, avgLatency: 120, packetLoss: 0, isStable: true, lastChecked: new Date() } as const;
  Object.defineProperty(card, "metrics", { value: metrics, configurable: true, writable: true });
  card.setAttribute("status", "connected");
  document.body.append(card);
  expect([tone(card), Object.keys(card)]).toEqual(["good", []]);
});
