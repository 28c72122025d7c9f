// Another program that speaks to the clients of a service through Redis: @socket.io/redis-emitter, driven by JSON lines as
// client.mjs is.
//
// Whom an operation is for: {"of":NAMESPACE, "to":[ROOM,…], "except":[ROOM,…], "volatile":BOOLEAN}.

import { createInterface } from "node:readline";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

import { fromJson } from "./seen.mjs";

let client;
let emitter;

/** A publication that is still under way when an operation answers could be late by any time. */
let published = Promise.resolve();

function whom({ of, to, except, volatile }) {
  let operator = emitter.of(of).to(to).except(except);
  if (volatile) operator = operator.volatile;
  return operator;
}

const operations = {
  ready() {},

  async connect({ url, key }) {
    client = createClient({ url });
    client.on("error", (error) => console.error(error.message));
    await client.connect();
    const publisher = { publish: (channel, message) => (published = client.publish(channel, message)) };
    emitter = new Emitter(publisher, { key });
  },

  emit({ event, args, ...rest }) {
    whom(rest).emit(event, ...fromJson(args));
    return published;
  },

  socketsJoin({ rooms, ...rest }) {
    whom(rest).socketsJoin(rooms);
    return published;
  },

  socketsLeave({ rooms, ...rest }) {
    whom(rest).socketsLeave(rooms);
    return published;
  },

  disconnectSockets({ close, ...rest }) {
    whom(rest).disconnectSockets(close);
    return published;
  },

  serverSideEmit({ of, event, args }) {
    emitter.of(of).serverSideEmit(event, ...fromJson(args));
    return published;
  },

  /** Bytes as they are, in base64. */
  async publish({ channel, payloads }) {
    const receivers = payloads.map((payload) => client.publish(channel, Buffer.from(payload, "base64")));
    return (await Promise.all(receivers)).reduce((sum, one) => sum + one, 0);
  },
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { call, op, ...rest } = JSON.parse(line);
    try {
      console.log(JSON.stringify({ call, result: (await operations[op](rest)) ?? null }));
    } catch (error) {
      console.log(JSON.stringify({ call, error: error.message }));
    }
  })
  .on("close", () => process.exit(0));
