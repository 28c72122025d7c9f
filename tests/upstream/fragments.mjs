// A Socket.IO client that sends each message in fragments, as clients of .NET and Unity do: `node fragments.mjs URL TOKEN
// FRAGMENT_BYTES MESSAGE_BYTES TIMES`.
//
// It emits `echo` TIMES times, each packet about MESSAGE_BYTES long and asking for an ack, and prints
// {"same":N,"refused":N,"wrong":N,"closed":CODE|null}.

import { WebSocket } from "ws";

const [url, token, ...numbers] = process.argv.slice(2);
const [fragmentBytes, messageBytes, times] = numbers.map(Number);

const socket = new WebSocket(`${url.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`);
const outcome = { same: 0, refused: 0, wrong: 0, closed: null };
const content = "x".repeat(messageBytes);

function finish() {
  console.log(JSON.stringify(outcome));
  process.exit();
}

function send(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += fragmentBytes) {
    const fin = at + fragmentBytes >= bytes.length;
    socket.send(bytes.subarray(at, at + fragmentBytes), { binary: false, fin });
  }
}

socket.on("message", (data) => {
  const text = data.toString();
  if (text.startsWith("0")) send(`40${JSON.stringify({ token })}`);
  else if (text === "2") send("3");
  else if (text.startsWith("40")) {
    for (let id = 0; id < times; id += 1) send(`42${id}${JSON.stringify(["echo", content])}`);
  } else if (text.startsWith("43")) {
    const [answer] = JSON.parse(text.slice(text.indexOf("[")));
    outcome[answer === content ? "same" : answer?.rateLimited ? "refused" : "wrong"] += 1;
    if (outcome.same + outcome.refused + outcome.wrong === times) finish();
  }
});
socket.on("close", (code) => {
  outcome.closed = code;
  finish();
});
socket.on("error", (error) => console.error(error.message));
