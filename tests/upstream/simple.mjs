// The simplest service: who asks is answered with the question, and what else is said everybody hears. `node simple.mjs PORT` prints {"port":N} once it listens.

import { createServer } from "node:http";
import { Server } from "socket.io";

const httpServer = createServer();
const io = new Server(httpServer, { maxHttpBufferSize: 1e7 });
io.on("connection", (socket) => {
  socket.onAny((event, ...args) => {
    if (typeof args.at(-1) === "function") args.pop()(...args);
    else io.emit(event, ...args);
  });
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
