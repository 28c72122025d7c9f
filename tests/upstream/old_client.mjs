// Stock clients of older major versions: `node old_client.mjs MAJOR URL TOKEN TRANSPORT...`
//
// Prints a JSON object a line: {"opened":TRANSPORT} or {"refused":{…}}, what the service answered, and at last
// {"transport":NAME}.

import { toJson } from "./seen.mjs";

const [major, url, token, ...transports] = process.argv.slice(2);
const { default: io } = await import(`socket.io-client-${major}`);

const say = (line) => console.log(JSON.stringify(toJson(line)));

const socket = io(url, { transports, query: { token }, auth: { token, learnerId: "ada-1" }, reconnection: false });
const { engine } = socket.io;
const upgraded = new Promise((upgrades) => engine.once("upgrade", upgrades));

const ask = (event, ...args) => new Promise((answered) => socket.emit(event, ...args, answered));

socket.on("connect_error", ({ message, type, description }) => {
  say({ refused: { message, type, status: Number(description) || null } });
  process.exit();
});
socket.on("question", (question, answer) => answer({ major, question }));
socket.io.on("open", () => say({ opened: engine.transport.name }));
socket.on("connect", async () => {
  if (transports.length > 1) await upgraded;
  say({ learning: await ask("agent:learning", { action: "process_answer", answer: "42" }) });
  say({ binary: await ask("echo", Buffer.from([0, 255, 30, 10])) });
  say({ asked: await ask("ask", "mood") });
  say({ large: (await ask("echo", "x".repeat(900_000))).length });
  say({ transport: engine.transport.name });
  socket.disconnect();
});
