// The hooks.

import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import { ConnectionQualityMonitor, measure, membersOf } from "../core.js";
import type { QualityMetrics } from "../monitor.js";
import type { QueueOptions, QueueStorage } from "../queue.js";
import type { Connection, Link } from "../link.js";
import type { ConnectionStatus } from "../view.js";
import {
  argsOf,
  changesOf,
  hub,
  INITIAL,
  listenToQueue,
  newQueue,
  SocketStore,
  WebSocketStore,
  type ConnectionOptions,
  type ConnectionState,
  type ConnectionStore,
  type Message,
  type QueueEvent,
  type Send,
  type StockSocket,
  type WebSocketOptions,
} from "./connection.js";

/** What `useSocket` and `useWebSocket` return. */
export interface ConnectionHandle extends ConnectionState {
  /** Sends a message now, or queues it. `false`: neither. */
  send: Send;
  /** Sends a message now and resolves with the answer. */
  ask: <Answer = any>(message: Message, timeout?: number) => Promise<Answer>;
  connect: () => void;
  disconnect: () => void;
  clearQueue: () => void;
}

const initial = () => INITIAL;

function useConnection<Options extends ConnectionOptions>(store: ConnectionStore<Options>, options: Options, key: unknown): ConnectionHandle {
  // Before the next one, which reads them.
  useEffect(() => {
    store.options = options;
  });
  useEffect(() => store.mount(), [store, key]);
  const state = useSyncExternalStore(store.subscribe, store.get, initial);
  return useMemo(() => {
    const { send, request: ask, connect, disconnect, clearQueue } = store;
    return { ...state, send, ask, connect, disconnect, clearQueue };
  }, [store, state]);
}

/** A plain WebSocket to a route of Tidegate, which connects again by itself. */
export function useWebSocket(options: WebSocketOptions): ConnectionHandle {
  const [store] = useState(() => new WebSocketStore());
  return useConnection(store, options, options.url + options.token + options.autoConnect);
}

/** A stock socket of socket.io-client, which the page has made and keeps. */
export function useSocket(socket: StockSocket, options: ConnectionOptions = {}): ConnectionHandle {
  return useConnection(useMemo(() => new SocketStore(socket), [socket]), options, 0);
}

/** A function that sends: of `useSocket` or `useWebSocket`, or of the page. */
export type AnySend = Send | ((message: Message) => unknown);

/** The link of a function that sends. One of the page is taken at its word: what it returns is the answer. */
function useLink(send: AnySend, connected: boolean): Link {
  const [own] = useState(() => ({
    ...hub(),
    connected,
    send,
    async ask(type: string, args: readonly unknown[]) {
      const answer = own.send({ ...membersOf(args), type });
      return answer === false ? Promise.reject() : answer;
    },
  }));
  useEffect(() => {
    own.send = send;
    own.connected = connected;
    own.call();
  }, [send, connected]);
  // Only a queue gets it, which does not ping.
  return (send as Send).link ?? (own as unknown as Link);
}

/** There is nothing to measure. */
const NOTHING = { connected: false, watch: hub().watch, ask: undefined } as unknown as Link;

/** Of `useConnectionQuality`: `send` of one of the hooks, or a `socket`. */
export interface ConnectionQualityOptions {
  /** Need not be said: `send` knows it. */
  status?: ConnectionStatus | undefined;
  send?: Send | undefined;
  /** Instead of `send`: a socket of socket.io-client, or a `WebSocket`. */
  socket?: Connection | null | undefined;
  /** Milliseconds between two checks; 10,000. */
  checkInterval?: number | undefined;
  /** How many checks the average is of; 10. */
  samples?: number | undefined;
  /** Milliseconds until a check counts as lost; 5,000. */
  timeout?: number | undefined;
}

/** What `useConnectionQuality` returns: what was measured, by itself and as `metrics`. */
export interface ConnectionQualityHandle extends QualityMetrics {
  metrics: QualityMetrics;
  startMonitoring: () => void;
  stopMonitoring: () => void;
  isMonitoring: boolean;
  /** Checks once, now. */
  checkNow: () => void;
}

const UNMEASURED = measure([], false, null);
const unmeasured = () => UNMEASURED;

/** Measures the quality of a connection while the component is mounted. */
export function useConnectionQuality(options: ConnectionQualityOptions): ConnectionQualityHandle {
  const { send, socket, checkInterval: interval, samples, timeout } = options;
  const connection = socket ?? send?.link ?? NOTHING;
  const [isMonitoring, setMonitoring] = useState(false);
  const { monitor, startMonitoring, stopMonitoring, ...source } = useMemo(() => {
    const monitor = new ConnectionQualityMonitor(connection, { interval, samples, timeout });
    return {
      monitor,
      startMonitoring() {
        monitor.start();
        setMonitoring(true);
      },
      stopMonitoring() {
        monitor.stop();
        setMonitoring(false);
      },
      subscribe: changesOf(monitor),
      get: () => monitor.metrics,
    };
  }, [connection, interval, samples, timeout]);
  useEffect(() => {
    startMonitoring();
    return stopMonitoring;
  }, [monitor]);
  const metrics = useSyncExternalStore(source.subscribe, source.get, unmeasured);
  return useMemo(
    () => ({ ...metrics, metrics, isMonitoring, startMonitoring, stopMonitoring, checkNow: () => monitor.check() as unknown as void }),
    [metrics, isMonitoring, monitor],
  );
}

/** Of `useOfflineQueue`. */
export interface OfflineQueueOptions extends Omit<QueueOptions, "storage"> {
  /** Keep the messages beyond the page; `true`. */
  persistToStorage?: boolean;
  /** Where, if not in `localStorage`. */
  storage?: "local" | "indexeddb" | QueueStorage;
  /** Is called with each event of the queue but `change`. */
  onEvent?: (event: QueueEvent) => void;
}

/** What `useOfflineQueue` returns. */
export interface OfflineQueueHandle {
  /** Queues a message. Resolves with its answer. */
  queueMessage: <Answer = any>(message: Message) => Promise<Answer>;
  /** Sends what waits, if there is a connection. It is done by itself when one comes. */
  processQueue: () => Promise<void>;
  clearQueue: () => void;
  queueSize: number;
  /** Whether messages wait. */
  isPending: boolean;
}

const none = () => 0;

/** Messages that outlive the connection and the page, until they are acknowledged. The options are read once. */
export function useOfflineQueue(send: AnySend, isConnected: boolean, options: OfflineQueueOptions = {}): OfflineQueueHandle {
  const link = useLink(send, isConnected);
  const [{ persistToStorage = true, storage = "local", ...others }] = useState(options);
  const { onEvent } = options;
  const queue = useMemo(() => newQueue(link, { ...others, storage: persistToStorage ? storage : "memory" }), [link]);
  useEffect(() => {
    queue.open();
    return () => queue.close();
  }, [queue]);
  useEffect(() => onEvent && listenToQueue(queue, onEvent), [queue, onEvent]);
  const [subscribe, size] = useMemo(() => [changesOf(queue), () => queue.size], [queue]);
  const queueSize = useSyncExternalStore(subscribe, size, none);
  return useMemo(
    () => ({
      queueMessage: (message) => queue.send(message.type, ...argsOf(message)),
      processQueue: () => queue.process(),
      clearQueue: () => queue.clear(),
      queueSize,
      isPending: queueSize > 0,
    }),
    [queue, queueSize],
  );
}
