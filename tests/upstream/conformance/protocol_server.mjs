// The server that the public protocol suites describe: an Engine.IO echo beside Socket.IO, without authentication.
// Prints {"port":N} once it listens.

import { createServer } from "node:http";
import { Server as EngineServer } from "engine.io";
import { Server } from "socket.io";

const TIMES = { pingInterval: 300, pingTimeout: 200, maxHttpBufferSize: 1_000_000 };

const httpServer = createServer();

const io = new Server(httpServer, { ...TIMES, connectTimeout: 1000, cors: { origin: "*" } });
io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => args.pop()(...args));
});
io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));

const engine = new EngineServer({ ...TIMES, cors: { origin: "*" } });
engine.attach(httpServer, { path: "/engine.io/" });
engine.on("connection", (socket) => socket.on("data", (data) => socket.send(data)));

httpServer.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: httpServer.address().port })));
