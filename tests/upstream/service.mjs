// The stand-in for brain-orchestrator: Socket.IO 4 beside ordinary HTTP, with its own authentication and no knowledge
// of a gate. `node service.mjs [PORT]` prints {"port":N} once it listens.
//
// AUTH=off leaves its own check of tokens out, NEXTAUTH_SECRET is the secret of that check. RECOVERY=on turns connection
// state recovery on. REDIS_PORT is a redis-server: with REDIS_KEY it is one of several servers, by the Redis adapter on that key (the
// sharded one with SHARDED=on); else it
// has the streams adapter, so that what is recovered may outlive the process. PING_MS is the interval of its pings and PONG_MS how long it waits for the answer to one, SLOW_MS how long it takes to let a socket in, REFUSES a
// namespace that nobody gets into, PARSER is the package of a custom parser, SLASH=off has no slash at the end of its path,
// HANDSHAKE=refuse refuses every connection, JOURNAL a file that survives it, with a
// line "CLIENT SEQ" for each event `step`. TLS_PORT is where it can be reached over TLS too, with TLS_CERT and TLS_KEY (PEM);
// TLS_CLIENT_CA is whose certificates it then wants. HOST is the address it listens on, 127.0.0.1 otherwise.

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import * as https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import jwt from "jsonwebtoken";
import { Server } from "socket.io";

import { listener } from "./http.mjs";
import { Seen, fromJson } from "./seen.mjs";

const seen = new Seen();

const answer = listener(seen, {
  "POST /emit": ({ learnerId, event, args }) => {
    io.to(`learner:${learnerId}`).emit(event, ...fromJson(args));
  },
  // Many at once: {"events": [{"learnerId", "event", "args"}, …]}.
  "POST /emits": ({ events }) => {
    for (const { learnerId, event, args } of events) io.to(`learner:${learnerId}`).emit(event, ...fromJson(args));
  },
  "POST /ask": ({ learnerId, event, args }) => {
    io.to(`learner:${learnerId}`).timeout(60_000).emit(event, ...fromJson(args), () => {});
  },
  "POST /disconnect": ({ learnerId, close }) => {
    io.in(`learner:${learnerId}`).disconnectSockets(close);
  },
  // To rooms of its own, or with none to all of a namespace.
  "POST /broadcast": ({ of = "/", to = [], except = [], event, args }) => {
    io.of(of).to(to).except(except).emit(event, ...fromJson(args));
  },
  // What it can only ask all servers.
  "POST /servers/count": ({ of = "/" }) => io.of(of).adapter.serverCount(),
  "POST /servers/sockets": async ({ of = "/", to = [] }) => (await io.of(of).in(to).fetchSockets()).map(({ id }) => id),
  "POST /servers/ask": ({ of = "/", to = [], event, args }) =>
    io.of(of).to(to).timeout(5000).emitWithAck(event, ...fromJson(args)),
  "POST /servers/ports": () => io.serverSideEmitWithAck("which port"),
});
const httpServer = createServer(answer);
httpServer.on("upgrade", (request) => seen.upgrade(request));

/** With a key, what its other servers are told; without, streams, that others can go on with. */
async function redisAdapter(port, key) {
  const { createClient } = await import("redis");
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  if (!key) return (await import("@socket.io/redis-streams-adapter")).createAdapter(client);
  const subscriber = client.duplicate();
  await subscriber.connect();
  for (const one of [client, subscriber]) one.on("error", (error) => console.error(error.message));
  const { createAdapter, createShardedAdapter } = await import("@socket.io/redis-adapter");
  if (process.env.SHARDED === "on") return createShardedAdapter(client, subscriber, { channelPrefix: key });
  return createAdapter(client, subscriber, { key });
}

const io = new Server(httpServer, {
  ...(process.env.REDIS_PORT && { adapter: await redisAdapter(process.env.REDIS_PORT, process.env.REDIS_KEY) }),
  transports: ["websocket", "polling"],
  ...(process.env.PARSER && { parser: (await import(process.env.PARSER)).default }),
  addTrailingSlash: process.env.SLASH !== "off",
  pingTimeout: process.env.PING_MS ? Number(process.env.PONG_MS ?? 500) : 60_000,
  pingInterval: Number(process.env.PING_MS ?? 25_000),
  allowRequest: (_request, decide) => decide(null, process.env.HANDSHAKE !== "refuse"),
  ...(process.env.RECOVERY === "on" && { connectionStateRecovery: {} }),
  cors: { origin: process.env.CORS_ORIGIN ?? "http://localhost:3000", methods: ["GET", "POST"], credentials: true },
});
if (process.env.TLS_PORT) {
  const { TLS_CERT: cert, TLS_KEY: key, TLS_CLIENT_CA: ca } = process.env;
  const secure = https.createServer({ cert, key, ca, requestCert: Boolean(ca) }, answer);
  secure.on("upgrade", (request) => seen.upgrade(request));
  io.engine.attach(secure, { path: "/socket.io/" });
  secure.listen(Number(process.env.TLS_PORT), "127.0.0.1");
}
io.engine.on("connection", (transport) => {
  seen.transports += 1;
  seen.opened.push(Math.round(performance.now()));
  transport.on("heartbeat", () => (seen.heartbeats += 1));
  transport.on("close", (reason) => {
    if (reason === "parse error") seen.faults.push(reason);
  });
});
io.engine.use((request, _response, next) => {
  const { method, url } = request;
  if (new URL(url, "http://service").searchParams.get("transport") !== "websocket") seen.polls.push({ method, url });
  next();
});
io.engine.on("connection_error", ({ message }) => seen.faults.push(message));

function refusal(message, data) {
  return Object.assign(new Error(message), data && { data });
}

io.use((_socket, next) => setTimeout(next, Number(process.env.SLOW_MS ?? 0)));
if (process.env.REFUSES) io.of(process.env.REFUSES).use((_socket, next) => next(refusal("Not any more")));

io.use((socket, next) => {
  const { token, learnerId } = socket.handshake.auth;
  if (learnerId === "unbearable") return socket.conn.close();
  if (learnerId === "banned") return next(refusal("This learner is banned", { code: "banned", until: "2027" }));
  socket.data.learnerId = learnerId;
  if (process.env.AUTH === "off") return next();
  if (!token) return next(refusal("Authentication token required"));
  try {
    const claims = jwt.verify(token, process.env.NEXTAUTH_SECRET, { algorithms: ["HS256"] });
    socket.data.userId = claims.userId ?? claims.sub;
    socket.data.learnerId ??= socket.data.userId;
    return next();
  } catch {
    return next(refusal("Invalid authentication token"));
  }
});

io.of("/chat").use((socket, next) =>
  socket.handshake.auth.room === "private" ? next(refusal("No entry", { code: "room.private" })) : next(),
);

/** Notes everything of a socket in `seen`, before the handlers of its events run. */
function observe(socket) {
  const sid = socket.id;
  const namespace = socket.nsp.name;
  const { auth, headers } = socket.handshake;
  seen.connections.push({ sid, namespace, auth, headers });
  let lastSeq = -1;
  socket.onAny((event, ...args) => {
    seen.event(sid, namespace, event, args);
    const seq = args[0]?.seq;
    if (seq === undefined) return;
    if (seq !== lastSeq + 1) seen.disordered += 1;
    lastSeq = seq;
  });
  socket.onAnyOutgoing((event) => seen.sent(event));
  socket.on("disconnect", (reason) => seen.disconnects.push({ sid, namespace, reason }));
}

const learning = {
  start_session: (socket, { seq }) => {
    socket.emit("content:adapted", { level: 1 });
    return { success: true, sessionId: `session-${socket.id}`, seq };
  },
  process_answer: (socket, { answer, seq }) => {
    if (answer === "tired") socket.emit("break:suggested", { minutes: 5 });
    return { success: true, correct: answer === "42", seq };
  },
  get_recommendation: (_socket, { seq }) => ({ success: true, recommendation: "fractions", seq }),
};

/** The head of a text frame of 20 MB, and one MB of an event in it. */
function beginningOfLarge() {
  const head = Buffer.from([0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeBigUInt64BE(20_000_000n, 2);
  return Buffer.concat([head, Buffer.from('42["large","'), Buffer.alloc(1_000_000, "x")]);
}

const hangUp = {
  close: (conn) => conn.close(),
  fin: (conn) => conn.transport.socket._socket?.end(),
  rst: (conn) => conn.transport.socket._socket?.resetAndDestroy(),
  half: (conn) => conn.transport.socket._socket?.end(beginningOfLarge()),
};

io.on("connection", (socket) => {
  observe(socket);
  socket.join(`learner:${socket.data.learnerId}`);

  socket.on("agent:learning", (data, ack) => {
    const act = learning[data?.action];
    const answer = act ? act(socket, data) : { error: `Unknown action: ${data?.action}` };
    ack?.(answer);
  });
  socket.on("agent:tutor", (data, ack) => {
    socket.emit("tutor:message", { text: `You said: ${data.input}` });
    ack?.({ success: true });
  });
  socket.on("agent:speech", ({ audioBuffer }, ack) => {
    const bytes = Buffer.isBuffer(audioBuffer) ? audioBuffer : Buffer.from(audioBuffer, "base64");
    socket.emit("connection:quality", { heard: bytes.length });
    ack?.({ success: true, bytes: bytes.length });
  });

  socket.on("echo", (...args) => {
    if (typeof args.at(-1) === "function") args.pop()(...args);
    else socket.emit("echo", ...args);
  });
  // Names of events may be numbers.
  socket.on(7, (...args) => args.pop()?.(...args));
  // Counts aloud.
  socket.on("count", async ({ to, everyMs }) => {
    for (let number = 0; number < to; number += 1) {
      socket.emit("counted", number);
      if (everyMs > 0) await sleep(everyMs);
    }
  });
  socket.on("step", ({ client, seq }, ack) => {
    appendFileSync(process.env.JOURNAL, `${client} ${seq}\n`);
    ack?.({ seq });
  });
  // Gets no more to say: the connection ends with a Close, a FIN or a RST, or after `afterMs`.
  socket.on("hang_up", ({ how, afterMs }) => setTimeout(() => hangUp[how](socket.conn), afterMs ?? 0));
  // Answers with so many bytes, as text or in an attachment.
  socket.on("enlarge", ({ bytes, binary }, ack) => ack(binary ? Buffer.alloc(bytes, "x") : "x".repeat(bytes)));
  // Rooms of the client's choice.
  socket.on("join", ({ room }, ack) => {
    socket.join(room);
    ack?.({ success: true });
  });
  socket.on("leave", ({ room }, ack) => {
    socket.leave(room);
    ack?.({ success: true });
  });
  // Has no answer, ever.
  socket.on("silence", () => {});
  // Asks the client, and answers with what the client answered.
  socket.on("ask", async (question, ack) => {
    try {
      ack({ answer: await socket.timeout(5000).emitWithAck("question", question) });
    } catch (error) {
      ack({ error: error.message });
    }
  });
});

io.of(/^\/room-\d+$/).on("connection", (socket) => {
  observe(socket);
  socket.on("echo", (...args) => args.pop()?.(...args));
});

io.of("/chat").on("connection", (socket) => {
  observe(socket);
  socket.on("say", (text, ack) => {
    io.of("/chat").emit("said", text);
    ack?.({ success: true });
  });
});

// Has a login of its own, as the admin UI of Socket.IO has.
io.of("/admin").use((socket, next) => {
  const { username, password } = socket.handshake.auth;
  next(username === "admin" && password === "changeit" ? undefined : refusal("invalid credentials"));
});
io.of("/admin").on("connection", (socket) => {
  observe(socket);
  socket.on("stats", (ack) => ack({ clients: io.engine.clientsCount }));
});

io.on("which port", (answer) => answer?.(httpServer.address().port));

process.on("SIGTERM", () => io.close(() => process.exit(0)));

httpServer.listen(Number(process.argv[2] ?? 0), process.env.HOST ?? "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
