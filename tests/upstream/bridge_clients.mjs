// Clients that speak JSON over a plain WebSocket, without socket.io-client: `ws` in Node, and the WebSocket of Chromium. Driven
// by the JSON lines of client.mjs.

import { createInterface } from "node:readline";
import { WebSocket } from "ws";

import { Page } from "./chromium.mjs";

const clients = new Map();
const say = (line) => console.log(JSON.stringify(line));

const operations = {
  ready: () => "ready",

  /** Connects, says these messages as soon as the connection is open, and reports what comes. */
  connect({ id, url, headers = {}, messages = [] }) {
    const socket = new WebSocket(url, { headers });
    clients.set(id, socket);
    const report = (event, ...args) => say({ id, event, args });
    socket.on("open", () => messages.forEach((message) => socket.send(JSON.stringify(message))));
    socket.on("message", (data) => {
      const { type, ...rest } = JSON.parse(data.toString());
      report(type, rest);
    });
    socket.on("close", (code, reason) => report("closed", code, reason.toString()));
    socket.on("unexpected-response", (_request, { statusCode }) => report("refused", statusCode));
    socket.on("error", () => {});
  },

  say({ id, messages }) {
    messages.forEach((message) => clients.get(id).send(JSON.stringify(message)));
  },

  /** A page at `page` in Chromium that says `message` to `url`: all that it gets, up to the ack. */
  async page({ page, url, message }) {
    const opened = await Page.open(page);
    const script = (url, message) =>
      new Promise((resolve) => {
        const got = [];
        const socket = new WebSocket(url);
        socket.onopen = () => socket.send(JSON.stringify(message));
        socket.onclose = ({ code }) => resolve([...got, { closed: code }]);
        socket.onmessage = ({ data }) => {
          got.push(JSON.parse(data));
          if (got.at(-1).type === "ack") resolve(got);
        };
      });
    const got = await opened.read(`(${script})(${JSON.stringify(url)}, ${JSON.stringify(message)})`);
    opened.close();
    return got;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, op, ...rest } = JSON.parse(line);
  Promise.resolve()
    .then(() => operations[op](rest))
    .then((result = null) => say({ call, result }))
    .catch((error) => say({ call, error: error.message }));
}
process.exit();
