"use strict";
const $ = (id) => document.getElementById(id);
const pretty = (value) => JSON.stringify(value, null, 2);
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
const SEND_EVERY_MS = 250, PATIENCE_MS = 20000, MOST_SQUARES = 68;
const LOOK_EVERY_MS = 1000, LOOK_WHILE_DOWN_MS = 500, LOOK_AFTER_KILL_MS = 100, SHOW_EVERY_MS = 100;
const BURST = 101, ROUND_TRIPS = 20, BARS = 60, LOG_LINES = 200;
const EVENTS_OF_SERVICE = ["tutor:message", "content:adapted", "break:suggested"];
const MOODS = { answered: "good", refused: "warn", lost: "bad" };
const KEY = {
  waiting: "sent, waiting", answered: "answered by the service",
  refused: "answered by Tidegate: over the limit", lost: "failed",
};

/** The stock client as it comes: it begins with polling and goes over to a websocket. */
const open = (auth, more) => io({ auth: { learnerId: "ada", ...auth }, forceNew: true, ...more });

/* messages and what became of them */

/** Never rejects. The outcome is a key of KEY but `waiting`; `text` says what really happened. */
async function ask(on, event, data) {
  const sent = performance.now();
  const done = (outcome, text, answer) => ({ outcome, text, answer, ms: performance.now() - sent });
  try {
    const answer = await on.timeout(PATIENCE_MS).emitWithAck(event, data);
    if (answer.rateLimited) return done("refused", "answered by Tidegate: over the limit", answer);
    if (answer.error === "Service restarted") {
      return done("lost", "failed: the service was restarted before it answered", answer);
    }
    return done("answered", "answered by the service", answer);
  } catch (error) {
    return done("lost", on.connected ? `failed: no ack within ${PATIENCE_MS / 1000} s` : `failed: ${error.message}`);
  }
}

/** A row of squares, with the count of each outcome beside its meaning. */
class Strip {
  constructor(id) {
    this.box = $(id);
    this.key = $(`${id}-key`);
    this.clear();
  }

  clear(blanks = 0) {
    this.counts = { waiting: 0, answered: 0, refused: 0, lost: 0 };
    this.squares = Array.from({ length: blanks }, () => document.createElement("i"));
    this.turns = 0;
    this.sent = 0;
    this.box.replaceChildren(...this.squares);
    this.show();
  }

  /** The next square shows this message until its outcome is known. */
  async follow(coming) {
    const at = this.sent, counts = this.counts;
    this.sent += 1;
    const square = this.squares[at] ?? this.box.appendChild(document.createElement("i"));
    square.className = "waiting";
    square.title = `${at + 1}: sent, waiting`;
    counts.waiting += 1;
    this.show();
    const result = await coming;
    counts.waiting -= 1;
    counts[result.outcome] += 1;
    square.className = result.outcome;
    square.title = `${at + 1}: ${result.text}, after ${result.ms.toFixed(0)} ms`;
    // Acks that arrive together change colour one after the other, so that they can be seen.
    square.style.setProperty("--turn", this.turns);
    this.turns += 1;
    if (counts === this.counts) this.show();
    return result;
  }

  show() {
    this.key.replaceChildren(...Object.entries(KEY).map(([kind, meaning]) => {
      const entry = document.createElement("b");
      entry.className = kind;
      entry.textContent = `${this.counts[kind]} ${meaning}`;
      return entry;
    }));
    this.box.setAttribute("aria-label", Object.entries(KEY).map(([kind, text]) => `${this.counts[kind]} ${text}`).join(", "));
  }
}

function tell(id, mood, text) {
  if ($(id).classList.contains("told")) $(id).className = `told ${mood}`;
  else $(id).className = mood;
  $(id).textContent = text;
}

/* connection */
let socket = null, disconnections = 0;
const state = { client: "idle", bursting: false, measuring: false, killing: false };

function showButtons() {
  const connected = state.client === "connected", down = service.state === "down";
  $("send").disabled = !connected;
  $("measure").disabled = !connected || state.measuring;
  $("kill").disabled = !connected || state.killing || down || outage !== null;
  $("burst").disabled = state.bursting || down;
  $("connect").disabled = connected || state.client === "connecting";
  $("disconnect").disabled = !$("connect").disabled;
}

function showClient(client, text) {
  state.client = client;
  $("status").dataset.state = client;
  $("status-text").textContent = text;
  showButtons();
}

function connect() {
  socket?.disconnect();
  const mine = socket = open({ token: $("token").value.trim() });
  const show = (...what) => { if (mine === socket) showClient(...what); };
  const connected = () => show("connected", `connected, ${mine.io.engine.transport.name}`);
  show("connecting", "connecting …");
  mine.on("connect", () => {
    connected();
    mine.io.engine.once("upgrade", connected);
  });
  mine.on("connect_error", (error) =>
    mine.active ? show("connecting", "trying again …") : show("refused", error.message));
  mine.on("disconnect", (reason) => {
    if (mine !== socket) return;
    disconnections += 1;
    $("disconnections").textContent = disconnections;
    show(mine.active ? "connecting" : "idle", reason);
  });
  for (const event of EVENTS_OF_SERVICE) mine.on(event, (data) => log(event, data));
  mine.on("connection:quality", (data, ack) => { log("connection:quality", data); ack({ heard: true }); });
}

function disconnect() {
  const leaving = socket;
  socket = null;
  leaving?.disconnect();
  showClient("idle", "not connected");
}

let stranger = null;

function tryRefused(auth) {
  stranger?.disconnect();
  const mine = stranger = open(auth);
  const say = (mood, text) => {
    if (mine === stranger) tell("refusal", mood, text);
    mine.disconnect();
  };
  tell("refusal", "", "connecting …");
  mine.once("connect", () => say("bad", "It was let in. Is Tidegate in front of the service?"));
  mine.once("connect_error", (error) => {
    const retries = mine.active ? "the client will try again" : "the client has stopped trying";
    say("warn", `connect_error: ${error.message}\n${JSON.stringify(error.data)}\n${retries}`);
  });
}

function badToken() {
  // The first character of the signature: the last one may hold unused bits.
  const [head, claims, signature = ""] = $("token").value.trim().split(".");
  tryRefused({ token: [head, claims, (signature[0] === "A" ? "B" : "A") + signature.slice(1)].join(".") });
}

/* the service, as a request through the gate finds it */
/** `deadAt` is the last moment at which it was found down for certain, `backAt` the one at which it said it would be back. */
const service = { state: "unknown", backAt: null, deadAt: 0 };

async function look() {
  let found = service.state;
  const asked = performance.now();
  try {
    const { ok, status } = await fetch("/alive", { cache: "no-store" });
    if (ok) found = "up";
    else if (status === 502 || status === 504) {
      found = "down";
      service.deadAt = asked;
    }
  } catch {
    found = "unknown";
  }
  if (found !== service.state) {
    service.state = found;
    if (found === "down" && !outage) {
      outage = new Outage();
      outage.keepSending();
    }
    if (found === "up") {
      service.backAt = null;
      outage?.ends();
    }
    showButtons();
  }
  showService();
  return found;
}

function showService() {
  const left = service.backAt === null ? null : Math.ceil((service.backAt - performance.now()) / 1000);
  const down = left === null ? "down" : left > 0 ? `down, back in ${left} s` : "down, back any moment";
  $("service").dataset.state = service.state;
  $("service-text").textContent = { up: "up", down, unknown: "no answer" }[service.state];
}

async function keepLooking() {
  for (;;) {
    await look();
    await sleep(service.state === "down" ? LOOK_WHILE_DOWN_MS : LOOK_EVERY_MS);
  }
}

/** When each message that waits was sent. */
const waiting = new Map();
let outage = null;

/** From the first request that finds the service down until each message that was sent meanwhile has its outcome. */
class Outage {
  constructor() {
    life.clear();
    this.disconnections = disconnections;
    this.answered = [];
    this.pending = new Set();
    this.over = false;
    tell("deaths", "bad", "The service is dead. What this page sends now waits in Tidegate, and the client stays connected.");
  }

  async keepSending() {
    while (!this.over && life.sent < MOST_SQUARES) {
      if (socket?.connected) send("agent:learning", { action: "process_answer", answer: life.sent + 1 });
      await sleep(SEND_EVERY_MS);
    }
  }

  async follow(coming) {
    const sentAt = performance.now(), followed = life.follow(coming);
    this.pending.add(followed);
    const { outcome, ms } = await followed;
    if (outcome === "answered") this.answered.push({ sentAt, ms });
  }

  /** The service is back. */
  async ends() {
    if (this.over) return;
    this.over = true;
    await Promise.all(this.pending);
    outage = null;
    const { refused, lost } = life.counts, times = disconnections - this.disconnections;
    const kept = this.answered.filter(({ sentAt }) => sentAt < service.deadAt), later = this.answered.length - kept.length;
    const longest = Math.max(0, ...kept.map(({ ms }) => ms));
    const told = [
      `The service is back. Tidegate kept and delivered ${plural(kept.length, "message", "messages")}`
        + (lost ? "." : ", none lost.") + (kept.length ? ` The longest wait was ${seconds(longest)}.` : ""),
      ...(later ? [`${plural(later, "more was", "more were")} sent as it came back, and answered.`] : []),
      ...(lost ? [`${plural(lost, "message", "messages")} failed, and this page was told so: see the red squares.`] : []),
      ...(refused ? [`${plural(refused, "message was", "messages were")} over the limit of this connection, and Tidegate answered.`] : []),
      times ? `The client was disconnected ${plural(times, "time", "times")}.` : "The client was never disconnected.",
    ];
    tell("deaths", lost || times ? "bad" : "good", told.join(" "));
    showButtons();
  }
}

/** Sends on the connection of this page; while the service is down, with a square. */
async function send(event, data) {
  const coming = ask(socket, event, data), id = Symbol(event);
  waiting.set(id, performance.now());
  if (outage && !outage.over) outage.follow(coming);
  showWaits();
  const result = await coming;
  waiting.delete(id);
  showWaits();
  $("took").textContent = result.ms < 1000 ? `${result.ms.toFixed(1)} ms` : seconds(result.ms);
  return result;
}

function showWaits() {
  $("waiting").textContent = waiting.size;
  $("wait").textContent = waiting.size ? seconds(performance.now() - Math.min(...waiting.values())) : "–";
  showService();
}

async function kill() {
  state.killing = true;
  life.clear();
  tell("deaths", "", "");
  showButtons();
  try {
    const response = await fetch("/kill", { method: "POST" });
    if (response.ok) {
      const { backInMs } = await response.json();
      service.backAt = performance.now() + backInMs;
      while (performance.now() < service.backAt && await look() !== "down") await sleep(LOOK_AFTER_KILL_MS);
    } else {
      tell("deaths", "warn", `The service was not killed: the answer was ${response.status}. It may be dead already.`);
    }
  } catch (error) {
    tell("deaths", "bad", `The service was not killed: ${error.message}.`);
  }
  state.killing = false;
  showButtons();
}

/* rate limit */
async function burst() {
  state.bursting = true;
  showButtons();
  strip.clear(BURST);
  tell("tally", "", "");
  tell("last-answer", "", "");
  const fresh = open({ token: $("token").value.trim() }, { reconnection: false });
  const trouble = await new Promise((done) => {
    fresh.once("connect", () => done(null));
    fresh.once("connect_error", (error) => done(error.message));
    setTimeout(done, PATIENCE_MS, `no answer within ${PATIENCE_MS / 1000} s`);
  });
  if (trouble === null) {
    const sent = Array.from({ length: BURST }, (_, i) =>
      strip.follow(ask(fresh, "agent:learning", { action: "process_answer", answer: i + 1 })));
    const results = await Promise.all(sent);
    const { answered, refused, lost } = strip.counts, last = results.at(-1);
    tell("tally", MOODS[lost ? "lost" : "answered"],
      `The service answered ${answered}. Tidegate answered ${refused}, which ${refused === 1 ? "was" : "were"} over the limit.`
        + (lost ? ` ${lost} failed.` : ""));
    tell("last-answer", MOODS[last.outcome], `${last.text}\n${last.answer ? JSON.stringify(last.answer) : ""}`.trim());
  } else {
    tell("tally", "bad", `Nothing was sent, because the fresh connection was not made: ${trouble}.`);
  }
  fresh.disconnect();
  state.bursting = false;
  showButtons();
}

/* lesson */
let lessons = 0;

function chosen() {
  const input = $("input").value;
  switch ($("action").value) {
    case "agent:tutor": return ["agent:tutor", { input }];
    case "agent:speech": return ["agent:speech", { audioBuffer: btoa("a few bytes of audio"), format: "wav" }];
    default: return ["agent:learning", { action: $("action").value, subject: "fractions", answer: input }];
  }
}

async function sendChosen() {
  lessons += 1;
  const mine = lessons;
  tell("ack", "", service.state === "down" ? "sent, waiting in Tidegate" : "sent, waiting");
  const { outcome, text, answer } = await send(...chosen());
  if (mine !== lessons) return;
  tell("ack", answer?.error ? "warn" : MOODS[outcome], `${text}${answer ? `\n${pretty(answer)}` : ""}`);
}

/* round trips */
const trips = [];

function noteTrip(ms) {
  trips.push(ms);
  const sorted = [...trips].sort((a, b) => a - b);
  const figure = (id, value) => { $(id).innerHTML = `${value.toFixed(value < 10 ? 1 : 0)} <small>ms</small>`; };
  figure("rtt-last", ms);
  figure("rtt-median", sorted[sorted.length >> 1]);
  figure("rtt-slowest", sorted.at(-1));
  $("rtt-count").textContent = trips.length;
  const recent = trips.slice(-BARS), tallest = Math.max(...recent);
  $("bars").replaceChildren(...recent.map((each) => {
    const bar = document.createElement("i");
    bar.style.height = `${(100 * each) / tallest}%`;
    bar.title = `${each.toFixed(2)} ms`;
    return bar;
  }));
  $("bars").setAttribute("aria-label", `The last ${recent.length} round trips, ${tallest.toFixed(1)} ms at most`);
}

async function measure() {
  state.measuring = true;
  showButtons();
  $("trips-told").textContent = "";
  for (let i = 0; i < ROUND_TRIPS && socket?.connected; i += 1) {
    const { outcome, text, ms } = await send("agent:learning", { action: "get_recommendation" });
    if (outcome !== "answered") {
      $("trips-told").textContent = `Stopped after ${i}. The next one: ${text}.`;
      break;
    }
    noteTrip(ms);
  }
  state.measuring = false;
  showButtons();
}

/* what the service says */
function log(event, data) {
  const line = document.createElement("li");
  const time = document.createElement("time"), name = document.createElement("b"), body = document.createElement("span");
  time.textContent = new Date().toLocaleTimeString([], { hour12: false });
  name.textContent = event;
  body.textContent = data.message ?? JSON.stringify(data);
  line.append(time, name, body);
  $("log").prepend(line);
  while ($("log").childElementCount > LOG_LINES) $("log").lastElementChild.remove();
}

const life = new Strip("life"), strip = new Strip("strip");
strip.clear(BURST);
$("gate").textContent = location.host;
$("connect").onclick = connect;
$("disconnect").onclick = disconnect;
$("bad-token").onclick = badToken;
$("no-token").onclick = () => tryRefused({});
$("send").onclick = sendChosen;
$("measure").onclick = measure;
$("burst").onclick = burst;
$("kill").onclick = kill;
connect();
keepLooking();
setInterval(showWaits, SHOW_EVERY_MS);
