// A GraphQL service over WebSocket, made of `graphql` and `graphql-ws`: `node graphql_service.mjs [PORT]` prints {"port":N}.

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { GraphQLInt, GraphQLObjectType, GraphQLSchema, GraphQLString } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";

import { listener } from "./http.mjs";
import { Seen } from "./seen.mjs";

const seen = new Seen();

async function* ticks() {
  for (let tick = 1; ; tick += 1) {
    yield { ticks: tick };
    await sleep(20);
  }
}

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: "Query",
    fields: { hello: { type: GraphQLString, args: { to: { type: GraphQLString } }, resolve: (_, { to }) => `hello ${to}` } },
  }),
  subscription: new GraphQLObjectType({
    name: "Subscription",
    fields: { ticks: { type: GraphQLInt, subscribe: ticks } },
  }),
});

const httpServer = createServer(listener(seen, {}));
httpServer.on("upgrade", (request) => seen.upgrade(request));
const server = new WebSocketServer({ server: httpServer, path: "/graphql" });
server.on("connection", () => (seen.transports += 1));
// By default a client that begins late, as on a slow machine, is closed after three seconds.
const connectionInitWaitTimeout = 40_000;
const onSubscribe = (_context, id) => seen.event(null, null, "subscribe", [id]);
useServer({ schema, onSubscribe, connectionInitWaitTimeout }, server);

httpServer.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(JSON.stringify({ port: httpServer.address().port }));
});
