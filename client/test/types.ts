// What must compile against the package as it is published, and what must not.

import { ConnectionQualityMonitor, OfflineQueue, type Link, type QualityMetrics } from "@tidegate/client";
import {
  ConnectionQualityBadge,
  ConnectionQualityCard,
  ConnectionQualityIndicator,
  useConnectionQuality,
  useOfflineQueue,
  useSocket,
  useWebSocket,
} from "@tidegate/client/react";
import { TidegateQualityBadge } from "@tidegate/client/elements";
import { createElement } from "react";
import { io } from "socket.io-client";

export const stock = new OfflineQueue(io(), { storage: "indexeddb", maxQueueSize: 10, ttl: 1000, idField: false });
export const plain = new OfflineQueue(new WebSocket("ws://gate/ws"), { storage: sessionStorage });
export const own = (link: Link) => new ConnectionQualityMonitor(link, { interval: 1000, samples: 5 });
stock.addEventListener("dropped", ({ detail }) => detail.message.id.length);
stock.addEventListener("storageerror", ({ detail }) => detail.value?.length);
stock.send<{ success: boolean }>("e", { n: 1 }, "more").then(({ success }) => success);
new TidegateQualityBadge().socket = io();

// @ts-expect-error: a socket is needed
new OfflineQueue();
// @ts-expect-error: that is none
new OfflineQueue({ connected: true });
// @ts-expect-error: a storage of that name is unknown
new OfflineQueue(io(), { storage: "session" });
// @ts-expect-error: an option of that name is unknown
new OfflineQueue(io(), { maxSize: 10 });
// @ts-expect-error: an event has a name
stock.send({ type: "e" });
// @ts-expect-error: `dropped` has no answer
stock.addEventListener("dropped", ({ detail }) => detail.answer);
// @ts-expect-error: the size is read
stock.size = 0;
// @ts-expect-error: there is no such grade
export const grade: QualityMetrics["quality"] = "bad";
// @ts-expect-error: milliseconds are a number
new ConnectionQualityMonitor(io(), { interval: "10s" });

export function Page() {
  const { status, send, isConnected, lastMessage, reconnectAttempts, queueSize, connect, disconnect, clearQueue } = useWebSocket({
    url: "ws://gate/ws",
    token: "t",
    autoConnect: true,
    reconnect: true,
    reconnectInterval: 3000,
    maxReconnectAttempts: 5,
    enableOfflineQueue: true,
    onOpen: () => {},
    onClose: () => {},
    onError: (error) => error,
    onMessage: (message) => message.type,
  });
  const quality = useConnectionQuality({ status, send, checkInterval: 10_000 });
  const queue = useOfflineQueue(send, isConnected, { maxQueueSize: 100, maxRetries: 3, persistToStorage: true, storageKey: "key" });
  const socket = useSocket(io());
  useOfflineQueue(socket.send, socket.isConnected);
  useOfflineQueue((message: object) => Promise.resolve(message), true);
  useConnectionQuality({ socket: io() });
  void queue.queueMessage({ type: "agent:learning", action: "start_session" });
  void [lastMessage, reconnectAttempts + queueSize, connect, disconnect, clearQueue, queue.processQueue, queue.clearQueue, queue.isPending];
  void [quality.startMonitoring, quality.stopMonitoring, quality.isMonitoring, quality.lastChecked?.getTime(), quality.avgLatency];

  // @ts-expect-error: a message has a type
  send({ action: "start_session" });
  // @ts-expect-error: a url is needed
  useWebSocket({ token: "t" });
  // @ts-expect-error: without a link nothing could be measured
  useConnectionQuality({ status, send: (message: object) => void message });
  // @ts-expect-error: the storage is of the queue's kinds
  useOfflineQueue(send, isConnected, { storage: "memory" });
  // @ts-expect-error: there is no such status
  createElement(ConnectionQualityBadge, { status: "online" });
  // @ts-expect-error: a status is needed
  createElement(ConnectionQualityCard, { metrics: quality });
  return createElement(ConnectionQualityIndicator, { status, metrics: quality, showDetails: true, compact: false, className: "mine" });
}
