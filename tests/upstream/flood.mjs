// Many stock clients at once, each sending numbered events and checking the acknowledgements that come back, while the
// service sends them numbered events of its own.

import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

/** Far more than anything here takes. */
const PATIENCE_MS = 300_000;

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
 * `clients` sockets, each with `events` acknowledged events on their way, a new one every `everyMs` or all at once.
 * Every event carries `seq`, which the service sends back. Meanwhile the service counts to `counted` aloud, at the same
 * pace. Afterwards all are disconnected.
 *
 * @returns {{acked, counted, lost, doubled, disordered, disconnected, upgraded, connectMs, exchangeMs}}
 */
export async function flood({ url, options, tokens, clients, events, counted = 0, everyMs = 0, event, data }) {
  const total = { acked: 0, counted: 0, lost: 0, doubled: 0, disordered: 0, disconnected: 0, upgraded: 0 };
  const began = performance.now();
  const sockets = [];
  const exchanges = [];
  for (let first = 0; first < clients; first += CONNECTING_MAX) {
    const some = Array.from({ length: Math.min(CONNECTING_MAX, clients - first) }, async (_, index) => {
      const auth = { token: tokens[(first + index) % tokens.length], learnerId: `learner-${first + index}` };
      const socket = await connected(url, options, auth);
      sockets.push(socket);
      // At a pace, what is sent meets the upgrade, which begins now.
      if (everyMs > 0) exchanges.push(exchange(socket, { event, data, events, counted, everyMs }, total));
    });
    await Promise.all(some);
  }
  const connectMs = performance.now() - began;
  const exchangeBegan = performance.now();
  if (everyMs === 0) {
    for (const socket of sockets) exchanges.push(exchange(socket, { event, data, events, counted, everyMs }, total));
  }
  await Promise.all(exchanges);
  const exchangeMs = performance.now() - exchangeBegan;
  if (["polling", "websocket"].every((transport) => options.transports.includes(transport))) {
    await Promise.race([Promise.all(sockets.map(upgraded)), sleep(PATIENCE_MS, undefined, { ref: false })]);
  }
  for (const socket of sockets) {
    total.upgraded += socket.io.engine?.transport.name === "websocket" ? 1 : 0;
    socket.disconnect();
  }
  return { ...total, connectMs, exchangeMs };
}

/** Waits until it has gone over to a websocket: what it says may be said before that. */
async function upgraded({ io: { engine } }) {
  if (engine && engine.transport.name !== "websocket") await new Promise((resolve) => engine.once("upgrade", resolve));
}

/** Notes numbers that should come one by one from 0. */
class Numbers {
  seen = new Set();

  constructor(total) {
    this.total = total;
  }

  note(number) {
    if (number !== this.seen.size) this.total.disordered += 1;
    if (this.seen.has(number)) this.total.doubled += 1;
    this.seen.add(number);
  }
}

function exchange(socket, { event, data, events, counted, everyMs }, total) {
  const [answers, count] = [new Numbers(total), new Numbers(total)];
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      total.lost += events - answers.seen.size + (counted - count.seen.size);
      resolve();
    };
    const check = () => {
      if (answers.seen.size === events && count.seen.size === counted) done();
    };
    const timer = setTimeout(done, PATIENCE_MS);
    socket.once("disconnect", (reason) => {
      if (reason === "io client disconnect") return;
      total.disconnected += 1;
      done();
    });
    socket.on("counted", (number) => {
      total.counted += 1;
      count.note(number);
      check();
    });
    if (counted > 0) socket.emit("count", { to: counted, everyMs });
    const send = async () => {
      for (let seq = 0; seq < events; seq += 1) {
        socket.emit(event, { ...data, seq }, (answer) => {
          total.acked += 1;
          answers.note(answer.seq);
          check();
        });
        if (everyMs > 0) await sleep(everyMs);
      }
    };
    send();
  });
}
