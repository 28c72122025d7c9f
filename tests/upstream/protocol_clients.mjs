// Clients of protocols over plain WebSockets, driven by the JSON lines of client.mjs: `graphql-ws`, `mqtt`, `y-websocket`
// and `@microsoft/signalr`, each with its own ways to come back.
//
// Each takes the next of `tokens` whenever it connects, and keeps the last.

import { createInterface } from "node:readline";
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { createClient } from "graphql-ws";
import mqtt from "mqtt";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

/** Between two attempts, in milliseconds: these tests do not wait as long as the packages would. */
const AGAIN_MS = 50;

const clients = new Map();
const say = (line) => console.log(JSON.stringify(line));
const report = (id, event, ...args) => say({ id, event, args });

/** The next token at each call, the last one from then on. */
function taker(tokens) {
  const left = [...tokens];
  return () => (left.length > 1 ? left.shift() : left[0]);
}

const operations = {
  ready: () => "ready",

  graphql({ id, url, tokens }) {
    const token = taker(tokens);
    const client = createClient({
      url: () => `${url}?token=${token()}`,
      webSocketImpl: WebSocket,
      retryWait: () => new Promise((go) => setTimeout(go, AGAIN_MS)),
      retryAttempts: 100,
      // By default a handshake that fails is final, whatever its status.
      shouldRetry: () => true,
      on: {
        connected: () => report(id, "connected"),
        closed: ({ code, reason }) => report(id, "closed", code ?? null, reason ?? null),
      },
    });
    clients.set(id, client);
  },

  /** One query with one result. */
  query({ id, query }) {
    return new Promise((resolve, reject) => {
      let result = null;
      const error = (error) => reject(new Error(Array.isArray(error) ? error[0].message : `closed ${error.code}`));
      clients.get(id).subscribe({ query }, { next: (next) => (result = next.data), error, complete: () => resolve(result) });
    });
  },

  /** Reports what comes. */
  subscribe({ id, query }) {
    const fails = (error) => report(id, "failed", Array.isArray(error) ? error[0].message : (error.code ?? error.message));
    const next = ({ data }) => report(id, "next", data);
    clients.get(id).subscribe({ query }, { next, error: fails, complete: () => report(id, "complete") });
  },

  mqtt({ id, url, tokens, options }) {
    const token = taker(tokens);
    const client = mqtt.connect(url, {
      transformWsUrl: (address) => `${address}?token=${token()}`,
      reconnectPeriod: AGAIN_MS,
      ...options,
    });
    clients.set(id, client);
    client.on("connect", () => report(id, "connected"));
    client.on("close", () => report(id, "closed"));
    client.on("error", (error) => report(id, "error", error.message));
    client.on("message", (topic, payload) => report(id, "message", topic, payload.toString()));
  },

  listen: ({ id, topic }) => clients.get(id).subscribeAsync(topic, { qos: 1 }).then(() => null),

  publish: ({ id, topic, payload }) => clients.get(id).publishAsync(topic, payload, { qos: 1 }).then(() => null),

  document({ id, url, room, tokens }) {
    const token = taker(tokens);
    const doc = new Y.Doc();
    const provider = new WebsocketProvider(url, room, doc, {
      WebSocketPolyfill: WebSocket,
      disableBc: true,
      maxBackoffTime: AGAIN_MS,
      params: { token: token() },
    });
    clients.set(id, { doc, provider });
    doc.getMap("words").observe(() => report(id, "words", doc.getMap("words").toJSON()));
    provider.on("status", ({ status }) => report(id, status));
    provider.on("connection-close", (event) => {
      report(id, "closed", event?.code ?? null);
      provider.params.token = token();
    });
  },

  write({ id, key, value }) {
    clients.get(id).doc.getMap("words").set(key, value);
  },

  words: ({ id }) => clients.get(id).doc.getMap("words").toJSON(),

  async signalr({ id, url, tokens, skipNegotiation }) {
    const connection = new HubConnectionBuilder()
      .withUrl(url, { accessTokenFactory: taker(tokens), skipNegotiation, transport: HttpTransportType.WebSockets })
      .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => AGAIN_MS })
      .configureLogging(LogLevel.None)
      .build();
    clients.set(id, connection);
    connection.onreconnecting((error) => report(id, "closed", error?.message ?? null));
    connection.onreconnected(() => report(id, "connected"));
    connection.onclose((error) => report(id, "gone", error?.message ?? null));
  },

  begin: ({ id }) => clients.get(id).start(),

  invoke: ({ id, method, argument }) => clients.get(id).invoke(method, argument),
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { call, op, ...rest } = JSON.parse(line);
    try {
      say({ call, result: (await operations[op](rest)) ?? null });
    } catch (error) {
      say({ call, error: error.message });
    }
  })
  .on("close", () => process.exit(0));
