// A Socket.IO service that may refuse its handshakes. `node refusing.mjs [PORT]` prints {"port":N} once it listens.
//
// POST /mode, or MODE at the start, sets what it does from now on: {} lets everybody in; {"allow":TEXT} refuses by `allowRequest` with that text;
// {"status":N,"body":TEXT,"type":TYPE} is the answer of a middleware in front of it; {"transports":[…]} are those of its
// Engine.IO, from the start alone. With "only":NAME this concerns requests whose header x-client is NAME alone. GET /seen: handshakes, and
// connections that came of them, by x-client.

import { createServer } from "node:http";
import { Server } from "socket.io";

let mode = JSON.parse(process.env.MODE ?? "{}");
const seen = { handshakes: {}, at: [], opened: 0 };

const httpServer = createServer((request, response) => {
  if (request.url === "/seen") return response.end(JSON.stringify(seen));
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    mode = JSON.parse(body);
    response.end("{}");
  });
});

const concerns = (request) => !mode.only || request.headers["x-client"] === mode.only;

const io = new Server(httpServer, {
  transports: mode.transports ?? ["polling", "websocket"],
  allowRequest: (request, decide) =>
    mode.allow !== undefined && concerns(request) ? decide(mode.allow, false) : decide(null, true),
});
io.engine.on("connection", () => (seen.opened += 1));
io.on("connection", (socket) => socket.on("echo", (...args) => args.pop()(...args)));

/** Counts handshakes, and refuses them as a middleware does. True: it is answered. */
function refuses(request, answer) {
  const query = new URL(request.url, "http://service").searchParams;
  if (!query.has("EIO") || query.has("sid")) return false;
  const client = request.headers["x-client"] ?? "";
  seen.handshakes[client] = (seen.handshakes[client] ?? 0) + 1;
  seen.at.push(Math.round(performance.now()));
  if (!mode.status || !concerns(request)) return false;
  answer(mode.status, mode.body ?? "", mode.type ?? "text/plain");
  return true;
}

for (const [event, refuse] of [
  ["request", (response) => (status, body, type) => response.writeHead(status, { "content-type": type }).end(body)],
  [
    "upgrade",
    (socket) => (status, body, type) =>
      socket.end(
        `HTTP/1.1 ${status} No\r\nConnection: close\r\nContent-Type: ${type}\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      ),
  ],
]) {
  const before = httpServer.listeners(event);
  // Without a listener an upgrade is a request like any other.
  if (before.length === 0) continue;
  httpServer.removeAllListeners(event);
  httpServer.on(event, (request, answer, ...rest) => {
    if (refuses(request, refuse(answer))) return;
    for (const listener of before) listener.call(httpServer, request, answer, ...rest);
  });
}

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
