// Many stock clients at once, each sending numbered events and checking the acknowledgements that come back.

import { io } from "socket.io-client";

/** Clients that connect at the same moment. */
const CONNECTING_MAX = 50;

async function connected(url, options, auth) {
  const socket = io(url, { ...options, auth, forceNew: true });
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  return socket;
}

/**
 * `clients` sockets, each with `events` acknowledged events in flight at once. Every event carries `seq`, which the
 * service sends back. Afterwards all are disconnected.
 *
 * @returns {{acked, lost, doubled, disordered, disconnected, connectMs, exchangeMs}}
 */
export async function flood({ url, options, tokens, clients, events, event, data, patience = 60_000 }) {
  const total = { acked: 0, lost: 0, doubled: 0, disordered: 0, disconnected: 0 };
  const began = performance.now();
  const sockets = [];
  for (let first = 0; first < clients; first += CONNECTING_MAX) {
    const some = Array.from({ length: Math.min(CONNECTING_MAX, clients - first) }, (_, index) =>
      connected(url, options, { token: tokens[(first + index) % tokens.length], learnerId: `learner-${first + index}` }),
    );
    sockets.push(...(await Promise.all(some)));
  }
  const connectMs = performance.now() - began;
  const exchangeBegan = performance.now();
  await Promise.all(sockets.map((socket) => exchange(socket, event, data, events, patience, total)));
  const exchangeMs = performance.now() - exchangeBegan;
  for (const socket of sockets) socket.disconnect();
  return { ...total, connectMs, exchangeMs };
}

function exchange(socket, event, data, events, patience, total) {
  const answered = new Set();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      total.lost += events - answered.size;
      resolve();
    };
    const timer = setTimeout(done, patience);
    socket.once("disconnect", (reason) => {
      if (reason === "io client disconnect") return;
      total.disconnected += 1;
      done();
    });
    for (let seq = 0; seq < events; seq += 1) {
      socket.emit(event, { ...data, seq }, (answer) => {
        total.acked += 1;
        if (answer.seq !== answered.size) total.disordered += 1;
        if (answered.has(answer.seq)) total.doubled += 1;
        answered.add(answer.seq);
        if (answered.size === events) done();
      });
    }
  });
}
