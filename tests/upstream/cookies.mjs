// A Socket.IO service with express-session. `node cookies.mjs [PORT]` prints {"port":N} once it listens.
//
// GET /seen: how many sessions its store has, which one each socket has, and the Cookie header of each handshake. Its
// handshake answers bring `x-served-by: node-1` too. With COOKIE it sets a cookie of that name beside.

import { createServer } from "node:http";
import session from "express-session";
import { Server } from "socket.io";

const store = new session.MemoryStore();
const seen = { sockets: [], cookies: [] };

const httpServer = createServer((request, response) => {
  if (request.url !== "/seen") return response.writeHead(404).end();
  store.length((_error, sessions) => response.end(JSON.stringify({ ...seen, sessions })));
});
const io = new Server(httpServer);
io.engine.use(session({ secret: "a secret of this test", resave: false, saveUninitialized: true, store }));
io.engine.on("initial_headers", (headers, request) => {
  headers["x-served-by"] = "node-1";
  if (process.env.COOKIE) headers["set-cookie"] = `${process.env.COOKIE}=service; Path=/`;
  seen.cookies.push(request.headers.cookie ?? null);
});
io.on("connection", (socket) => {
  const { session } = socket.request;
  seen.sockets.push(session.id);
  // Over a websocket there is no end of an answer at which it would be stored by itself.
  session.was = "here";
  session.save();
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("hang_up", (ms) => setTimeout(() => socket.conn.transport.socket._socket.resetAndDestroy(), ms));
});

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
