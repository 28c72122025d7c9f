// Many stock clients that emit at a steady rate while their service comes and goes.

import { io } from "socket.io-client";

const TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]];

/** What ends the emitting that has no time. */
const ends = [];

/** No event more is emitted where no time was said. */
export function endSteady() {
  for (const end of ends.splice(0)) end();
}

/**
 * `clients` sockets, over every transport in turn, each emitting `step` `rate` times a second for `ms` milliseconds, or until
 * `endSteady` where no time is said, then waiting for the acks that are still to come. Every event carries the number of its client and a `seq`.
 *
 * @returns {{emitted, acked, failed, wrong, lost, doubled, disconnects, connects, median, p99}} `median` and `p99` in
 *   milliseconds of the waits for acks.
 */
export async function steady({ url, token, clients, rate, ms, patience = 40_000 }) {
  const total = { emitted: 0, acked: 0, failed: 0, wrong: [], lost: 0, doubled: 0, disconnects: [], connects: 0 };
  const waits = [];
  const sockets = Array.from({ length: clients }, (_, client) => {
    const transports = TRANSPORTS[client % TRANSPORTS.length];
    const socket = io(url, { transports, auth: { token, learnerId: `learner-${client}` }, forceNew: true });
    socket.on("connect", () => (total.connects += 1));
    socket.on("disconnect", (reason) => total.disconnects.push(reason));
    return socket;
  });
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  await Promise.all(sockets.map((socket, client) => emits(socket, client, rate, ms, patience, total, waits)));
  // Our own goodbyes do not count.
  waits.sort((one, other) => one - other);
  const median = waits[Math.ceil(waits.length / 2) - 1] ?? null;
  const p99 = waits[Math.ceil(waits.length * 0.99) - 1] ?? null;
  const outcome = { ...total, disconnects: [...total.disconnects], median, p99 };
  for (const socket of sockets) socket.disconnect();
  return outcome;
}

function emits(socket, client, rate, ms, patience, total, waits) {
  const waiting = new Set();
  let seq = 0;
  const emit = () => {
    const mine = seq;
    seq += 1;
    total.emitted += 1;
    waiting.add(mine);
    const asked = performance.now();
    socket.emit("step", { client, seq: mine }, (answer) => {
      waits.push(performance.now() - asked);
      if (!waiting.delete(mine)) total.doubled += 1;
      else if (answer.seq === mine) total.acked += 1;
      else if (answer.error === "Service restarted" && answer.retriable === true) total.failed += 1;
      else total.wrong.push(answer);
    });
  };
  return new Promise((resolve) => {
    const timer = setInterval(emit, 1000 / rate);
    const end = () => {
      clearInterval(timer);
      const until = performance.now() + patience;
      const look = setInterval(() => {
        if (waiting.size > 0 && performance.now() < until) return;
        clearInterval(look);
        total.lost += waiting.size;
        resolve();
      }, 50);
    };
    if (ms === undefined) ends.push(end);
    else setTimeout(end, ms);
  });
}
