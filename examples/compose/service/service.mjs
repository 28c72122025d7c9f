// Your service: it checks the same token as the gate, and knows of no gate.

import { readFileSync } from "node:fs";
import jwt from "jsonwebtoken";
import { Server } from "socket.io";

const secret = readFileSync(process.env.SECRET_FILE, "utf8").trim();
const io = new Server(4003);
io.use((socket, next) => {
  try {
    socket.data.learner = jwt.verify(socket.handshake.auth.token, secret).sub;
    next();
  } catch (error) {
    next(error);
  }
});
io.on("connection", (socket) => {
  socket.on("echo", (data, answer) => answer({ learner: socket.data.learner, data }));
});
process.on("SIGTERM", () => io.close(() => process.exit()));
