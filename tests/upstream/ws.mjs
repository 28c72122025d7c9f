// A plain WebSocket service: sends back what it gets, byte for byte. `node ws.mjs [PORT]` prints {"port":N}.
//
// The texts "close CODE REASON" and "hang up" make it end the connection, with and without a close frame, and "half" makes
// it hang up in the middle of a message. Of the subprotocols it is offered it takes PROTOCOL alone.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

/** The head of a text frame of 1000 bytes, and 600 of them. */
const HALF_A_MESSAGE = Buffer.concat([Buffer.from([0x81, 126, 0x03, 0xe8]), Buffer.alloc(600, "x")]);

const protocol = process.env.PROTOCOL ?? "echo.v1";
const seen = new Seen();
const httpServer = createServer(listener(seen, {}));
httpServer.on("upgrade", (request) => seen.upgrade(request));

const server = new WebSocketServer({
  server: httpServer,
  handleProtocols: (offered) => (offered.has(protocol) ? protocol : false),
});
server.on("connection", (socket, request) => {
  seen.transports += 1;
  socket.on("message", (data, isBinary) => {
    seen.event(null, null, isBinary ? "binary" : "text", [isBinary ? data : data.toString()]);
    const [word, code, ...reason] = isBinary ? [] : data.toString().split(" ");
    if (word === "close") socket.close(Number(code), reason.join(" "));
    else if (word === "hang") socket.terminate();
    else if (word === "half") request.socket.end(HALF_A_MESSAGE);
    else socket.send(data, { binary: isBinary });
  });
  socket.on("close", (code, reason) => seen.disconnects.push({ code, reason: reason.toString() }));
  socket.on("error", (error) => seen.faults.push(error.message));
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
