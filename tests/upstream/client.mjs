// Stock Socket.IO clients, driven by JSON lines.
//
// In:  {"call":N, "op":OP, …}     Out: {"call":N, "result":…} or {"call":N, "error":…}, once per call;
//                                      {"id":ID, "event":NAME, "args":[…]} whenever something happens to socket ID.
// Each socket has its own Manager, unless `with` names another socket whose connection it shares.

import * as http from "node:http";
import * as https from "node:https";
import { createInterface } from "node:readline";
import { setImmediate } from "node:timers/promises";
import { Manager } from "socket.io-client";

import { flood } from "./flood.mjs";
import { fromJson, toJson } from "./seen.mjs";
import { endSteady, steady } from "./steady.mjs";

const sockets = new Map(); // id → {manager, socket, auth, network}

/** The connections of one Manager: of polls, of a probing WebSocket and of the WebSocket in use. */
const network = (Agent) =>
  class extends Agent {
    open = new Set();

    createConnection(...args) {
      const connection = super.createConnection(...args);
      this.open.add(connection);
      return connection.once("close", () => this.open.delete(connection));
    }
  };
const Network = network(http.Agent);
const SecureNetwork = network(https.Agent);

const inUse = ({ connecting, bytesWritten }) => !connecting && bytesWritten > 0;

const say = (line) => console.log(JSON.stringify(line));

function report(id, event, ...args) {
  say({ id, event, args: toJson(args) });
}

const operations = {
  /** It answers, so it has started. */
  ready() {},

  async connect({ id, url, namespace = "/", auth = {}, options, with: shared }) {
    // The option `parser` is the name of a package.
    if (options?.parser) options.parser = (await import(options.parser)).default;
    const network = shared
      ? sockets.get(shared).network
      : new (url.startsWith("https:") ? SecureNetwork : Network)();
    const manager = shared ? sockets.get(shared).manager : new Manager(url, { ...options, agent: network });
    const entry = { manager, auth, network, socket: undefined };
    // Options of the socket, not of its Manager.
    const { retries, ackTimeout } = options ?? {};
    const socket = manager.socket(namespace, { auth: (give) => give(entry.auth), retries, ackTimeout });
    entry.socket = socket;
    sockets.set(id, entry);
    socket.on("connect", () => report(id, "connect", socket.id));
    socket.on("connect_error", ({ message, data }) => report(id, "connect_error", message, data ?? null));
    socket.on("disconnect", (reason) => report(id, "disconnect", reason));
    socket.onAny((event, ...args) => report(id, event, ...args));
    if (!shared) {
      manager.on("reconnect_attempt", (attempt) => report(id, "reconnect_attempt", attempt));
      manager.on("open", () => manager.engine.on("upgrade", () => report(id, "upgrade")));
    }
  },

  /** What the next CONNECT packet says, as an application that fetches a fresh token does. */
  auth({ id, auth }) {
    sockets.get(id).auth = auth;
  },

  /** What `ackTimeout` is from now on. */
  ackTimeout({ id, ms }) {
    sockets.get(id).socket._opts.ackTimeout = ms;
  },

  /** What the next requests say in their heads, where the Manager was given `extraHeaders`. */
  headers({ id, headers }) {
    Object.assign(sockets.get(id).manager.opts.extraHeaders, headers);
  },

  async emit({ id, event, args, ack, timeout = 40_000 }) {
    const { socket } = sockets.get(id);
    if (ack) return socket.timeout(timeout).emitWithAck(event, ...fromJson(args));
    socket.emit(event, ...fromJson(args));
  },

  /** The length of the answer. */
  async length({ id, event, args }) {
    const answer = await sockets.get(id).socket.timeout(60_000).emitWithAck(event, ...fromJson(args));
    return answer.length;
  },

  /** So many events at once, numbered; the answers, in their order. */
  burst({ id, times, event, args: [first, ...others], timeout = 40_000 }) {
    const { socket } = sockets.get(id);
    const numbers = Array.from({ length: times }, (_, seq) => seq);
    return Promise.all(
      numbers.map((seq) => socket.timeout(timeout).emitWithAck(event, { ...fromJson(first), seq }, ...fromJson(others))),
    );
  },

  /** So many equal events at once, with no timeout but `timeout`; what becomes of each. */
  attempt({ id, event, args, times = 1, timeout, ignored }) {
    const { socket } = sockets.get(id);
    const attempts = Array.from({ length: times }, () => {
      if (timeout) socket.timeout(timeout);
      if (ignored) return socket.emit(event, ...fromJson(args));
      return socket.emitWithAck(event, ...fromJson(args)).catch((error) => ({ rejected: error.message }));
    });
    return ignored ? null : Promise.all(attempts);
  },

  /** What the option `upgrade` does by itself. */
  upgrade({ id }) {
    sockets.get(id).manager.engine._probe("websocket");
  },

  /** Answers every `event` from now on that asks for an ack. */
  answer({ id, event, args }) {
    sockets.get(id).socket.on(event, (...sent) => sent.pop()(...fromJson(args)));
  },

  state({ id }) {
    const { socket, manager } = sockets.get(id);
    return {
      connected: socket.connected,
      acks: Object.keys(socket.acks).length,
      // How often it has sent the first of those that it repeats, where it has `retries`.
      tries: socket._queue[0]?.tryCount ?? 0,
      active: socket.active,
      sid: socket.id ?? null,
      recovered: socket.recovered,
      pid: socket._pid ?? null,
      session: manager.engine?.id ?? null,
      transport: manager.engine?.transport?.name ?? null,
      subprotocol: manager.engine?.transport?.ws?.protocol ?? null,
    };
  },

  disconnect({ id }) {
    sockets.get(id).socket.disconnect();
  },

  connectAgain({ id }) {
    sockets.get(id).socket.connect();
  },

  /** The network is gone: no Socket.IO packet, no close frame. */
  async cut({ id }) {
    const { manager, network } = sockets.get(id);
    // Between two polls there is no connection to lose, and one that breaks before its request is away tells nobody. A client
    // that is going over to a websocket polls no more: its transport becomes another one.
    const polls = ({ name, _polling }) => name === "polling" && !(_polling && [...network.open].some(inUse));
    while (polls(manager.engine.transport)) await setImmediate();
    // A polling transport that fails says goodbye in a request of its own.
    manager.engine.transport.doClose = () => {};
    for (const connection of network.open) connection.destroy();
  },

  flood,
  steady,
  endSteady,
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { call, op, ...rest } = JSON.parse(line);
    try {
      say({ call, result: toJson((await operations[op](rest)) ?? null) });
    } catch (error) {
      say({ call, error: error.message });
    }
  })
  .on("close", () => process.exit(0));
