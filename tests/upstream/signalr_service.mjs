// The part of a SignalR hub that its JavaScript client needs, written by the hub protocol: there is no server of SignalR
// for Node. `node signalr_service.mjs [PORT]` prints {"port":N}.
//
// The method `user` returns the header `x-user`, every other one its argument.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

/** The end of each message (HubProtocol.md, "JSON Encoding"). */
const END = "\u001e";
const HANDSHAKE = 0;
const INVOCATION = 1;
const COMPLETION = 3;
const PING = 6;

const seen = new Seen();
const answer = listener(seen, {});
const httpServer = createServer((request, response) => {
  if (request.method !== "POST" || !request.url.startsWith("/hub/negotiate")) return answer(request, response);
  seen.http.push({ method: request.method, url: request.url });
  response.writeHead(200, { "content-type": "application/json" });
  const transports = [{ transport: "WebSockets", transferFormats: ["Text"] }];
  response.end(JSON.stringify({ negotiateVersion: 0, connectionId: "one", availableTransports: transports }));
});
httpServer.on("upgrade", (request) => seen.upgrade(request));

const server = new WebSocketServer({ server: httpServer });
server.on("connection", (socket, request) => {
  seen.transports += 1;
  const say = (message) => socket.send(JSON.stringify(message) + END);
  let stage = HANDSHAKE;
  socket.on("message", (data) => {
    for (const text of data.toString().split(END).slice(0, -1)) {
      const message = JSON.parse(text);
      if (stage === HANDSHAKE) {
        stage = INVOCATION;
        say({});
      } else if (message.type === INVOCATION) {
        seen.event(null, null, message.target, message.arguments);
        const result = message.target === "user" ? request.headers["x-user"] : message.arguments[0];
        say({ type: COMPLETION, invocationId: message.invocationId, result });
      } else if (message.type === PING) say({ type: PING });
    }
  });
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
