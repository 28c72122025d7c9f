// Shared documents, the server that y-websocket 2 brings: `node yjs_service.mjs [PORT]` prints {"port":N}.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { setupWSConnection } from "y-websocket-2/bin/utils";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

const seen = new Seen();
const httpServer = createServer(listener(seen, {}));
httpServer.on("upgrade", (request) => seen.upgrade(request));
const server = new WebSocketServer({ server: httpServer });
server.on("connection", (socket, request) => {
  seen.transports += 1;
  setupWSConnection(socket, request);
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
