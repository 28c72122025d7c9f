// NestJS with its Socket.IO adapter, with the part of a service in conversation.mjs. Prints {"port":N} once it listens.
// Plain JavaScript has no decorators, so they are called.

import "reflect-metadata";

import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ConnectedSocket, MessageBody, SubscribeMessage, WebSocketGateway } from "@nestjs/websockets";

const TOKEN = "let-me-in";
const left = [];

class Chat {
  afterInit(server) {
    server.use((socket, next) => next(socket.handshake.auth.token === TOKEN ? undefined : new Error("not you")));
  }
  handleConnection(socket) {
    socket.emit("welcome", `to ${socket.nsp.name}`);
  }
  echo(_socket, value) {
    return value;
  }
}

class Root extends Chat {
  handleDisconnect(socket) {
    left.push(socket.id);
  }
  sendBinary(socket) {
    socket.emit("binary", Buffer.from([0, 255, 30, 10]));
  }
  questionMe(socket, about) {
    socket.emit("question", about, (answer) => socket.emit("answered", answer));
  }
  join(socket, room) {
    socket.join(room);
    return true;
  }
  say(socket, { room, text }) {
    (room === null ? socket.nsp : socket.nsp.to(room)).emit("said", text);
  }
  kickMe(socket) {
    socket.disconnect();
  }
  who(socket) {
    return socket.id;
  }
  left() {
    return left;
  }
}

function gateway(type, namespace, handlers) {
  for (const [method, event] of Object.entries(handlers)) {
    const handler = type.prototype[method];
    // A function of its own for each class: what is said of an inherited one counts for both.
    type.prototype[method] = function (...args) {
      return handler.apply(this, args);
    };
    ConnectedSocket()(type.prototype, method, 0);
    MessageBody()(type.prototype, method, 1);
    SubscribeMessage(event)(type.prototype, method, Object.getOwnPropertyDescriptor(type.prototype, method));
  }
  WebSocketGateway({ namespace })(type);
}

gateway(Root, "/", {
  echo: "echo",
  sendBinary: "send binary",
  questionMe: "question me",
  join: "join",
  say: "say",
  kickMe: "kick me",
  who: "who",
  left: "left",
});
gateway(Chat, "/chat", { echo: "echo" });

class App {}
Module({ providers: [Root, Chat] })(App);

const app = await NestFactory.create(App, { logger: ["error"] });
await app.listen(0, "127.0.0.1");
console.log(JSON.stringify({ port: app.getHttpServer().address().port }));
