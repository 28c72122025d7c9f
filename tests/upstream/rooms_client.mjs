// Documents of Yjs, shared over y-websocket. `node rooms_client.mjs URL ROOM…` has two clients in each room, of which one
// writes the room's name, and prints {"room":TEXT,…}: what the other one reads.

import * as Y from "yjs";
import { WebsocketProvider } from "y-websocket";
import WebSocket from "ws";

const [url, ...rooms] = process.argv.slice(2);
const open = (room) => {
  const doc = new Y.Doc();
  const options = { WebSocketPolyfill: WebSocket, disableBc: true, params: { token: process.env.TOKEN ?? "" } };
  const provider = new WebsocketProvider(url, room, doc, options);
  return { doc, connected: new Promise((resolve) => provider.on("status", ({ status }) => status === "connected" && resolve())) };
};

const read = await Promise.all(
  rooms.map(async (room) => {
    const [one, other] = [open(room), open(room)];
    await Promise.all([one.connected, other.connected]);
    const text = new Promise((resolve) => other.doc.on("update", () => resolve(other.doc.getText("name").toString())));
    one.doc.getText("name").insert(0, room);
    return [room, await text];
  }),
);
console.log(JSON.stringify(Object.fromEntries(read)));
process.exit(0);
