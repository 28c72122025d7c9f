// A crowd of stock clients in rooms over several nodes, and the services that speak to the rooms: who heard what, how often and in
// which order. Driven by JSON lines as client.mjs is.

import * as http from "node:http";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

/** Events that a service says to a user in one go. */
const AT_ONCE = 20;

const say = (line) => console.log(JSON.stringify(line));

const clients = []; // {user, heard: Map(node → last seq), count, strange, disordered}

/** Over a connection of its own: one that is kept may be closed by the service just then. */
const post = (url, body) =>
  new Promise((done, fail) => {
    const request = http.request(url, { method: "POST", agent: false }, (answer) => answer.resume().on("end", done));
    request.on("error", fail).end(JSON.stringify(body));
  });

function hear(client, { user, node, seq }) {
  client.count += 1;
  if (user !== client.user) client.strange += 1;
  if (seq !== (client.heard.get(node) ?? -1) + 1) client.disordered += 1;
  client.heard.set(node, seq);
}

function summary(waits) {
  waits.sort((one, other) => one - other);
  const quantile = (part) => Number(waits[Math.ceil(waits.length * part) - 1].toFixed(2));
  return { heard: waits.length, median: quantile(0.5), p99: quantile(0.99), most: quantile(1) };
}

const operations = {
  ready() {},

  /** `each` clients of each user at each gate. */
  async gather({ gates, users, each }) {
    const waits = [];
    for (const url of gates) {
      for (const { user, token } of users) {
        for (let number = 0; number < each; number += 1) {
          const client = { user, heard: new Map(), count: 0, strange: 0, disordered: 0 };
          clients.push(client);
          const socket = io(url, { auth: { token }, transports: ["websocket"], forceNew: true });
          socket.on("tutor:message", (said) => hear(client, said));
          waits.push(new Promise((done) => socket.once("connect", done)));
        }
      }
    }
    await Promise.all(waits);
  },

  /** Each service says so many events to each user, one after the other. */
  async speak({ services, users, each }) {
    const talks = services.flatMap((url, node) =>
      users.map(async (user) => {
        for (let first = 0; first < each; first += AT_ONCE) {
          const numbers = Array.from({ length: Math.min(AT_ONCE, each - first) }, (_, number) => first + number);
          const events = numbers.map((seq) => ({ learnerId: user, event: "tutor:message", args: [{ user, node, seq }] }));
          await post(`${url}/emits`, { events });
        }
      }),
    );
    await Promise.all(talks);
  },

  /**
   * A service says so many events to a user, one after the other: how long each client of the user, one at each gate, waits for
   * its event, in milliseconds. `later`: how much longer the second one waits.
   */
  async wait({ gates, service, user, token, times }) {
    const sockets = gates.map((url) => io(url, { auth: { token }, transports: ["websocket"], forceNew: true }));
    await Promise.all(sockets.map((socket) => new Promise((done) => socket.once("connect", done))));
    const waits = { near: [], far: [], later: [] };
    for (let seq = 0; seq < times; seq += 1) {
      const heard = sockets.map(
        (socket) => new Promise((done) => socket.once("tutor:message", (said) => done([said.seq, performance.now()]))),
      );
      const asked = performance.now();
      await post(`${service}/emit`, { learnerId: user, event: "tutor:message", args: [{ seq }] });
      const [near, far] = await Promise.all(heard);
      if (near[0] !== seq || far[0] !== seq) throw new Error(`${near[0]} and ${far[0]} in place of ${seq}`);
      waits.near.push(near[1] - asked);
      waits.far.push(far[1] - asked);
      waits.later.push(far[1] - near[1]);
    }
    for (const socket of sockets) socket.disconnect();
    return Object.fromEntries(Object.entries(waits).map(([place, all]) => [place, summary(all)]));
  },

  /** Events heard by all, and how many of them were for others, or not the next of their node. */
  heard() {
    const sum = (of) => clients.reduce((total, client) => total + of(client), 0);
    return {
      all: sum((client) => client.count),
      strange: sum((client) => client.strange),
      disordered: sum((client) => client.disordered),
    };
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
