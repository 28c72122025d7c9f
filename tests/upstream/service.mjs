// The stand-in for brain-orchestrator: Socket.IO 4 beside ordinary HTTP, with its own authentication and no knowledge
// of a gate. `node service.mjs [PORT]` prints {"port":N} once it listens.
//
// AUTH=off leaves its own check of tokens out, NEXTAUTH_SECRET is the secret of that check. RECOVERY=on turns connection
// state recovery on, with REDIS_PORT over the streams of that redis-server, so that it may outlive the process; PING_MS is the interval of its pings, SLOW_MS how long it takes to let a socket in, REFUSES a
// namespace that nobody gets into, HANDSHAKE=refuse refuses every connection, JOURNAL a file that survives it, with a
// line "CLIENT SEQ" for each event `step`. TLS_PORT is where it can be reached over TLS too, with TLS_CERT and TLS_KEY (PEM);
// TLS_CLIENT_CA is whose certificates it then wants.

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
  "POST /ask": ({ learnerId, event, args }) => {
    io.to(`learner:${learnerId}`).timeout(60_000).emit(event, ...fromJson(args), () => {});
  },
  "POST /disconnect": ({ learnerId, close }) => {
    io.in(`learner:${learnerId}`).disconnectSockets(close);
  },
});
const httpServer = createServer(answer);
httpServer.on("upgrade", (request) => seen.upgrade(request));

/** Streams, that others can go on with. */
async function streams(port) {
  const { createClient } = await import("redis");
  const { createAdapter } = await import("@socket.io/redis-streams-adapter");
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  return createAdapter(client);
}

const io = new Server(httpServer, {
  ...(process.env.REDIS_PORT && { adapter: await streams(process.env.REDIS_PORT) }),
  transports: ["websocket", "polling"],
  pingTimeout: process.env.PING_MS ? 500 : 60_000,
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

const hangUp = {
  close: (conn) => conn.close(),
  fin: (conn) => conn.transport.socket._socket?.end(),
  rst: (conn) => conn.transport.socket._socket?.resetAndDestroy(),
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

io.of("/chat").on("connection", (socket) => {
  observe(socket);
  socket.on("say", (text, ack) => {
    io.of("/chat").emit("said", text);
    ack?.({ success: true });
  });
});

process.on("SIGTERM", () => io.close(() => process.exit(0)));

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
