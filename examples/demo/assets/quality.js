// The quality of the connection and the offline queue: both are Tidegate's client script, over the page's socket.

import { ConnectionQualityMonitor, OfflineQueue } from "/.tidegate/client.js";
import { connection } from "./connection.js";

/** Faster than in a real page, so that a visitor need not wait. */
export const monitor = new ConnectionQualityMonitor(connection.socket, { interval: 2000, samples: 3 });

export const queue = new OfflineQueue(connection.socket, { storage: "local", storageKey: "tidegate-demo" });
