// A service whose clients join rooms, with the adapter that Socket.IO has by itself: it knows no other instance.
// `node lessons.mjs [PORT]` prints {"port":N}. `lesson:join` is acknowledged, with an error where the lesson is "closed".

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

/** So many broadcasts at once, and then a pause of a millisecond. */
const AT_ONCE = 20;

const seen = new Seen();

/** Says `times` numbered events to `rooms` rooms in turn. */
async function storm({ rooms, times, by }) {
  for (let seq = 0; seq < times; seq += 1) {
    io.to(`lesson:${seq % rooms}`).emit("lesson:message", { by, seq });
    if (seq % AT_ONCE === AT_ONCE - 1) await sleep(1);
  }
}

const httpServer = createServer(
  listener(seen, {
    "POST /storm": (wanted) => {
      storm(wanted);
    },
    "POST /to": ({ room, event, args }) => {
      io.to(room).emit(event, ...args);
    },
  }),
);
const io = new Server(httpServer);

io.on("connection", (socket) => {
  seen.transports += 1;
  socket.on("lesson:join", ({ lessonId }, ack) => {
    if (lessonId === "closed") return ack?.({ error: "This lesson is closed" });
    socket.join(`lesson:${lessonId}`);
    return ack?.({ success: true });
  });
  socket.on("lesson:leave", ({ lessonId }, ack) => {
    socket.leave(`lesson:${lessonId}`);
    ack?.({ success: true });
  });
});

process.on("SIGTERM", () => io.close(() => process.exit(0)));

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
