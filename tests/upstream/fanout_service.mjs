// A service with the Redis adapter of Socket.IO and nothing else, for `scripts/bench --only fanout`: what an event that is
// published elsewhere costs Node.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, redisPort] = process.argv.slice(2).map(Number);
const publisher = createClient({ url: `redis://127.0.0.1:${redisPort}` });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);
const server = createServer();
new Server(server, { adapter: createAdapter(publisher, subscriber), transports: ["websocket"] });
server.listen(port, "127.0.0.1");
