// The core: a queue that loses nothing without saying so, and the quality of a connection.

export { OfflineQueue, QueueError } from "./queue.js";
export type { QueueEvents, QueuedMessage, QueueOptions, QueueStorage } from "./queue.js";
export { ConnectionQualityMonitor } from "./monitor.js";
export type { ConnectionQuality, QualityMetrics, QualityOptions } from "./monitor.js";
export { linkOf } from "./link.js";
export type { Connection, Link, SocketIoLike, WebSocketLike } from "./link.js";
