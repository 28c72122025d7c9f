// A plain WebSocket service: sends back what it gets, byte for byte. `node ws.mjs [PORT]` prints {"port":N}.
//
// The texts "close CODE REASON" and "hang up" make it end the connection, with and without a close frame.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

const seen = new Seen();
const httpServer = createServer(listener(seen, {}));
httpServer.on("upgrade", (request) => seen.upgrade(request));

const server = new WebSocketServer({
  server: httpServer,
  handleProtocols: (offered) => (offered.has("echo.v1") ? "echo.v1" : false),
});
server.on("connection", (socket) => {
  seen.transports += 1;
  socket.on("message", (data, isBinary) => {
    seen.event(null, null, isBinary ? "binary" : "text", [isBinary ? data : data.toString()]);
    const [word, code, ...reason] = isBinary ? [] : data.toString().split(" ");
    if (word === "close") socket.close(Number(code), reason.join(" "));
    else if (word === "hang") socket.terminate();
    else socket.send(data, { binary: isBinary });
  });
  socket.on("close", (code, reason) => seen.disconnects.push({ code, reason: reason.toString() }));
  socket.on("error", (error) => seen.faults.push(error.message));
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
