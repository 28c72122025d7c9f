// Stock clients with default options over several pods, each from an address of its own, so that a balancer that goes by the
// address spreads them. They emit numbered events at a steady rate, and note what is acknowledged and how long they are absent.
// Driven by JSON lines as client.mjs is.

import * as http from "node:http";
import * as https from "node:https";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const say = (line) => console.log(JSON.stringify(line));

const clients = []; // {number, user, socket, seq, acked, failed, waiting, wrong, heard, absent, returns, attempts, reasons, timer}

function emitStep(client) {
  const seq = client.seq;
  client.seq += 1;
  client.waiting.add(seq);
  client.socket.emit("step", { client: client.number, seq }, (answer) => {
    if (!client.waiting.delete(seq)) client.wrong.push(`${seq} was answered twice`);
    else if (answer.seq === seq) client.acked.push(seq);
    else if (answer.error === "Service restarted" && answer.retriable === true) client.failed += 1;
    else client.wrong.push({ seq, at: new Date().toISOString(), answer });
  });
}

const operations = {
  ready() {},

  /** One client of each user, connected and on the transport that it stays on. */
  async gather({ url, ca, users }) {
    const { Agent } = url.startsWith("https:") ? https : http;
    const opened = users.map(({ user, token, from }) => {
      const agent = new Agent({ localAddress: from ?? undefined, ca });
      const socket = io(url, { auth: { token, learnerId: user }, agent, forceNew: true });
      const client = {
        number: clients.length,
        user,
        socket,
        seq: 0,
        acked: [],
        failed: 0,
        waiting: new Set(),
        wrong: [],
        heard: [],
        absent: undefined,
        returns: [],
        attempts: [],
        reasons: [],
      };
      clients.push(client);
      socket.on("disconnect", (reason) => {
        client.reasons.push(reason);
        client.absent = performance.now();
      });
      socket.on("connect", () => {
        if (client.absent !== undefined) client.returns.push(Math.round(performance.now() - client.absent));
        client.absent = undefined;
      });
      socket.io.on("reconnect", (attempt) => client.attempts.push(attempt));
      socket.on("tutor:message", (said) => client.heard.push(said));
      return new Promise((done) => {
        socket.once("connect", () => {
          const { engine } = socket.io;
          if (engine.transport.name === "websocket") done();
          else engine.once("upgrade", done);
        });
      });
    });
    await Promise.all(opened);
  },

  /** The first `busy` of them emit so many events a second from now on; where one is not connected, they wait in the client. */
  steady({ rate, busy }) {
    for (const client of clients.slice(0, busy)) client.timer = setInterval(() => emitStep(client), 1000 / rate);
  },

  /** No event more; answers when nothing is waited for, or after so long. */
  async end({ patience = 40_000 }) {
    for (const client of clients) clearInterval(client.timer);
    const until = performance.now() + patience;
    // An event that was on its way at a disconnection is never answered: a stock client does not repeat it.
    const waited = () => clients.some((client) => client.reasons.length === 0 && client.waiting.size > 0);
    while (waited() && performance.now() < until) await new Promise((done) => setTimeout(done, 50));
  },

  /** Each asks for so many echoes at once; how many of all were refused by a limit. */
  async echo({ times }) {
    const asked = clients.flatMap(({ socket }) => Array.from({ length: times }, () => socket.emitWithAck("echo", {})));
    return (await Promise.all(asked)).filter((answer) => answer.rateLimited).length;
  },

  /** A client that is refused: why. */
  refused({ url, ca, token }) {
    const socket = io(url, { auth: { token }, ca, forceNew: true });
    return new Promise((done) => {
      socket.once("connect_error", ({ message }) => done(message));
    }).finally(() => socket.disconnect());
  },

  /** An ordinary request; its status. */
  get({ url, ca }) {
    const { get } = url.startsWith("https:") ? https : http;
    return new Promise((done, fail) => {
      get(url, { ca, agent: false }, (answer) => answer.resume().on("end", () => done(answer.statusCode))).on("error", fail);
    });
  },

  state() {
    return clients.map(({ number, user, socket, seq, acked, failed, waiting, wrong, heard, returns, attempts, reasons }) => ({
      number,
      user,
      connected: socket.connected,
      transport: socket.io.engine?.transport.name,
      emitted: seq,
      acked,
      failed,
      unanswered: waiting.size,
      wrong,
      heard,
      returns,
      attempts,
      reasons,
    }));
  },
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
