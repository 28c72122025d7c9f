// A service with a room in its path, as y-websocket's has it: a message goes to all others whose URL has the same path.
// `node rooms.mjs [PORT]` prints {"port":N}.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

const seen = new Seen();
const httpServer = createServer(listener(seen, {}));
httpServer.on("upgrade", (request) => seen.upgrade(request));
const rooms = new Map(); // path → sockets

new WebSocketServer({ server: httpServer }).on("connection", (socket, request) => {
  seen.transports += 1;
  const path = request.url.split("?")[0];
  const room = rooms.get(path) ?? rooms.set(path, new Set()).get(path);
  room.add(socket);
  socket.on("message", (data, binary) => room.forEach((other) => other !== socket && other.send(data, { binary })));
  socket.on("close", () => room.delete(socket));
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
