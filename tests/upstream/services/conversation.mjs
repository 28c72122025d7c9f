// The conversation of the stock client with a service of any make: `node conversation.mjs URL WAY`, where WAY is `polling`,
// `websocket` or `upgrade`. Prints {"case":NAME,"saw":VALUE} for each case in turn; what it saw must not depend on what is in
// between. Every service beside this file speaks its part.

import { io } from "socket.io-client";

const PATIENCE_MS = 40_000;
const TOKEN = "let-me-in";
/** socketioxide refuses a payload of more than 100 KB. */
const LARGE_CHARACTERS = 90_000;
/** python-engineio refuses a payload of more than 16 packets. */
const MANY = 12;
const BYTES = Buffer.from([0, 255, 30, 10]);

const [url, way] = process.argv.slice(2);
const transports = way === "upgrade" ? ["polling", "websocket"] : [way];

function within(what, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what}: nothing after ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const once = (emitter, event) => within(event, new Promise((heard) => emitter.once(event, (...args) => heard(args))));
const ask = (socket, ...args) => within(args[0], new Promise((heard) => socket.emit(...args, (...said) => heard(said))));
const bytes = (value) => (Buffer.isBuffer(value) ? [...value] : typeof value);

/** Waits until the service says so; each question is asked anew. */
async function until(what, holds) {
  for (const end = Date.now() + PATIENCE_MS; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`${what}: not after ${PATIENCE_MS} ms`);
    await new Promise((later) => setTimeout(later, 20));
  }
}

function open(namespace = "/", auth = { token: TOKEN }, options = {}) {
  const socket = io(`${url}${namespace}`, { transports, auth, forceNew: true, reconnectionDelay: 50, ...options });
  sockets.push(socket);
  return socket;
}

async function connected(...args) {
  const socket = open(...args);
  const welcome = once(socket, "welcome");
  await once(socket, "connect");
  return [socket, (await welcome)[0]];
}

const sockets = [];
let chat;
const [ada, welcome] = await connected();

const CASES = {
  "connects with auth": async () => [welcome, typeof ada.id, ada.id === (await ask(ada, "who"))[0]],
  "ends on its transport": async () => {
    const { engine } = ada.io;
    if (way === "upgrade" && engine.transport.name === "polling") await once(engine, "upgrade");
    return engine.transport.name;
  },
  "is refused by the service": async () => {
    const socket = open("/", { token: "wrong" }, { reconnection: false });
    const [error] = await once(socket, "connect_error");
    return [error.message, socket.connected, socket.active];
  },
  "gets an ack": async () => [await ask(ada, "echo", "déjà vu 🌊"), await ask(ada, "echo", { a: [1, null, true, "\u2028"] })],
  "gives an ack": async () => {
    ada.once("question", (about, answer) => answer({ about }));
    const answered = once(ada, "answered");
    ada.emit("question me", "mood");
    return answered;
  },
  "sends binary": async () => {
    const [plain, [nested]] = [await ask(ada, "echo", BYTES), await ask(ada, "echo", { in: [BYTES] })];
    return [bytes(plain[0]), bytes(nested.in[0])];
  },
  "receives binary": async () => {
    const heard = once(ada, "binary");
    ada.emit("send binary");
    return bytes((await heard)[0]);
  },
  "sends a large text": async () => (await ask(ada, "echo", "x".repeat(LARGE_CHARACTERS)))[0].length,
  "sends many events in order": async () => {
    const answers = await Promise.all(Array.from({ length: MANY }, (_, n) => ask(ada, "echo", n)));
    return answers.every(([n], at) => n === at);
  },
  "joins a second namespace": async () => {
    chat = ada.io.socket("/chat", { auth: { token: TOKEN } });
    const greeted = once(chat, "welcome");
    await once(chat, "connect");
    const said = [(await greeted)[0], await ask(chat, "echo", "in chat"), await ask(ada, "echo", "in root")];
    chat.disconnect();
    return [...said, await ask(ada, "echo", "still here")];
  },
  "is refused in a second namespace": async () => {
    chat.auth = { token: "wrong" };
    chat.connect();
    const [error] = await once(chat, "connect_error");
    return [error.message, await ask(ada, "echo", "still here")];
  },
  "hears what is said in its rooms": async () => {
    const [[bob], [cyd]] = [await connected(), await connected()];
    const heard = [];
    for (const [name, socket] of Object.entries({ bob, cyd })) socket.on("said", (text) => heard.push(`${name} ${text}`));
    await ask(ada, "join", "blue");
    await ask(bob, "join", "blue");
    const [toAda, toBob] = [once(ada, "said"), once(bob, "said")];
    cyd.emit("say", { room: "blue", text: "to blue" });
    await Promise.all([toAda, toBob]);
    const toCyd = once(cyd, "said");
    ada.emit("say", { room: null, text: "to all" });
    await toCyd;
    await ask(bob, "echo", "what was said before has arrived");
    return heard.sort();
  },
  "is disconnected by the service": async () => {
    const [socket] = await connected();
    const ended = once(socket, "disconnect");
    socket.emit("kick me");
    return [(await ended)[0], socket.active];
  },
  "disconnects": async () => {
    const [socket] = await connected();
    const { id } = socket;
    const ended = once(socket, "disconnect");
    socket.disconnect();
    await until("the service notices", async () => (await ask(ada, "left"))[0].includes(id));
    return (await ended)[0];
  },
  "comes back after a loss": async () => {
    const [socket] = await connected();
    const { id } = socket;
    const [ended, back] = [once(socket, "disconnect"), once(socket.io, "reconnect")];
    socket.io.engine.close();
    const [reason] = await ended;
    await back;
    await ask(socket, "echo", "back");
    await until("the service notices", async () => (await ask(ada, "left"))[0].includes(id));
    return [reason, socket.id !== id];
  },
};

for (const [name, run] of Object.entries(CASES)) {
  const saw = await run().catch((error) => ({ error: error.message }));
  console.log(JSON.stringify({ case: name, saw }));
}
sockets.forEach((socket) => socket.disconnect());
process.exit();
