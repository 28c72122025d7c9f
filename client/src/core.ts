// What hooks and components use of the core, by one name.

export { OfflineQueue } from "./queue.js";
export { ConnectionQualityMonitor, measure } from "./monitor.js";
export { linkOf, listen, membersOf, PONG } from "./link.js";
