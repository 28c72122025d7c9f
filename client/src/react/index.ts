// The hooks and components for React.

export { useConnectionQuality, useOfflineQueue, useSocket, useWebSocket } from "./hooks.js";
export type {
  AnySend,
  ConnectionHandle,
  ConnectionQualityHandle,
  ConnectionQualityOptions,
  OfflineQueueHandle,
  OfflineQueueOptions,
} from "./hooks.js";
export type { ConnectionOptions, ConnectionState, Message, QueueEvent, Send, StockSocket, WebSocketOptions } from "./connection.js";
export { ConnectionQualityBadge, ConnectionQualityCard, ConnectionQualityIndicator } from "./components.js";
export type { ConnectionQualityIndicatorProps, ConnectionQualityProps } from "./components.js";
export type { ConnectionQuality, QualityMetrics } from "../monitor.js";
export type { ConnectionStatus } from "../view.js";
