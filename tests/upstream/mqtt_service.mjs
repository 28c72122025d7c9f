// An MQTT broker over WebSocket, `aedes`: `node mqtt_service.mjs [PORT]` prints {"port":N}.

import { createServer } from "node:http";
import { Aedes } from "aedes";
import { WebSocketServer, createWebSocketStream } from "ws";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

const seen = new Seen();
const broker = await Aedes.createBroker();
broker.on("publish", ({ topic, payload }, client) => {
  if (client) seen.event(null, null, topic, [payload.toString()]);
});
broker.on("clientError", (_client, error) => seen.faults.push(error.message));
broker.on("connectionError", (_client, error) => seen.faults.push(error.message));

const httpServer = createServer(listener(seen, {}));
httpServer.on("upgrade", (request) => seen.upgrade(request));
const server = new WebSocketServer({ server: httpServer, path: "/mqtt" });
server.on("connection", (socket, request) => {
  seen.transports += 1;
  const stream = createWebSocketStream(socket);
  stream.on("error", () => {});
  broker.handle(stream, request);
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
