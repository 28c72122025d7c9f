// A stock Socket.IO client with a cookie jar, as a browser has one, that connects several times, one after the other.
//
// `node jar_client.mjs URL OPTIONS TIMES` prints {"jar":{…},"headers":[{…},…]}: the cookies that it has at the end, and the
// headers of its own answers that begin with x-. OPTIONS is JSON for the Manager.

import { subscribe } from "node:diagnostics_channel";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const [url, options, times] = process.argv.slice(2);
const jar = {};
const headers = [];

function take(response) {
  for (const line of response.headers["set-cookie"] ?? []) {
    const [pair, ...attributes] = line.split(";");
    const at = pair.indexOf("=");
    const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
    if (attributes.some((one) => one.trim().toLowerCase() === "max-age=0")) delete jar[name];
    else jar[name] = value;
  }
  const own = Object.entries(response.headers).filter(([name]) => name.startsWith("x-"));
  if (own.length > 0) headers.push(Object.fromEntries(own));
}

subscribe("http.client.request.start", ({ request }) => {
  request.prependListener("response", take);
  // With a listener of ours alone an upgrade would be taken from the client.
  if (request.listenerCount("upgrade") > 0) request.prependListener("upgrade", take);
});

for (let round = 0; round < Number(times); round += 1) {
  const cookie = Object.entries(jar).map(([name, value]) => `${name}=${value}`).join("; ");
  const extraHeaders = cookie ? { cookie } : {};
  const parsed = JSON.parse(options);
  const socket = io(url, { ...parsed, forceNew: true, reconnection: false, withCredentials: true, extraHeaders });
  await new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject));
  // The answer of a poll that is under way may bring something.
  const goesOver = !parsed.transports && socket.io.engine.transport.name === "polling";
  if (goesOver) await new Promise((resolve) => socket.io.engine.on("upgrade", resolve));
  await socket.timeout(40_000).emitWithAck("echo", round);
  socket.disconnect();
  await sleep(20);
}
console.log(JSON.stringify({ jar, headers }));
process.exit(0);
