// The guided path: four buttons, each with a result to see.

import { $, plural, seconds, sleep, tell, when } from "./basics.js";
import { note } from "./chat.js";
import { ask, connection, credentials, open } from "./connection.js";
import { monitor } from "./quality.js";
import { stage } from "./stage.js";
import { Strip } from "./strip.js";

const DEAD_SECONDS = 5, SEND_EVERY_MS = 250, MOST_SQUARES = 68, LOOK_AFTER_KILL_MS = 50;
const OFFLINE_MESSAGES = 10, WRITE_EVERY_MS = 120, OFFLINE_MS = 1500;
const BURST = 101, PATIENCE_MS = 20_000, LOG_PATIENCE_MS = 5000;
const SLOW_MS = 300, SLOW_ENOUGH_MS = 250, SHOWN_MS = 2500, MEASURED_WITHIN_MS = 30_000;

/** Only one runs at a time; `data-state` is "running", "done" or "trouble". */
let running = null;

function step(id, run) {
  const item = $(`step-${id}`), button = item.querySelector("button"), told = item.querySelector(".told");
  const say = (mood, text) => tell(told, mood, text);
  button.onclick = async () => {
    if (running) return;
    running = id;
    item.dataset.state = "running";
    say("", "");
    showButtons();
    const well = await run(say).catch((error) => {
      say("bad", `This page failed: ${error.message}`);
      return false;
    });
    item.dataset.state = well ? "done" : "trouble";
    running = null;
    showButtons();
  };
}

function showButtons() {
  const ready = connection.state === "connected" && !stage.down && running === null;
  for (const button of document.querySelectorAll(".step > button")) button.disabled = !ready;
}

/** A request through the gate finds no service. */
async function isDead() {
  const { status } = await fetch("/alive", { cache: "no-store" });
  return status === 502 || status === 504;
}

const life = new Strip("life", { waiting: "waiting in Tidegate", answered: "answered by the service", lost: "failed" });

async function kill(say) {
  life.clear();
  const { disconnections } = connection;
  await stage.kill(DEAD_SECONDS);
  while (stage.down && !(await isDead())) await sleep(LOOK_AFTER_KILL_MS);
  say("bad", "The service is dead. What this page sends waits in Tidegate, and the client stays connected.");
  const followed = [];
  while (stage.down && life.sent < MOST_SQUARES) {
    followed.push(life.follow(ask(connection.socket, "agent:learning", { action: "get_recommendation", turn: life.sent })));
    await sleep(SEND_EVERY_MS);
  }
  const results = await Promise.all(followed);
  const { answered, refused, lost } = life.counts, times = connection.disconnections - disconnections;
  const longest = Math.max(0, ...results.map(({ ms }) => ms));
  say(lost || times ? "bad" : "good", [
    `The service is back. Tidegate kept ${plural(answered, "message")} and delivered ${answered === 1 ? "it" : "them"}`
      + (lost ? "." : ", none lost.") + ` The longest wait was ${seconds(longest)}.`,
    ...(lost ? [`${plural(lost, "message")} failed, and this page was told so.`] : []),
    ...(refused ? [`${plural(refused, "message was", "messages were")} over the limit of this connection.`] : []),
    times ? `The client was disconnected ${plural(times, "time")}.` : "The client was never disconnected.",
  ].join(" "));
  return !lost && !times;
}

const tunnel = new Strip("tunnel", { waiting: "waiting in this browser", answered: "answered by the service", lost: "failed" });

async function network(say) {
  tunnel.clear(OFFLINE_MESSAGES);
  connection.cut();
  say("bad", "Offline. What is written waits in this browser, and would outlive a reload.");
  const followed = [];
  for (let count = 1; count <= OFFLINE_MESSAGES; count += 1) {
    const sent = performance.now();
    const done = (outcome, text, answer) => ({ outcome, text, answer, ms: performance.now() - sent });
    followed.push(tunnel.follow(note(`Written offline, ${count} of ${OFFLINE_MESSAGES}`).then(
      (answer) => done("answered", "answered by the service", answer),
      (error) => done("lost", `failed: ${error.reason ?? error.message}`),
    )));
    await sleep(WRITE_EVERY_MS);
  }
  await sleep(OFFLINE_MS);
  connection.repair();
  const results = await Promise.all(followed);
  const numbers = results.map(({ answer }) => answer?.number);
  const inOrder = numbers.every((number, at) => number > 0 && (at === 0 || number > numbers[at - 1]));
  const once = numbers.at(-1) - numbers[0] === OFFLINE_MESSAGES - 1;
  if (inOrder && once) {
    say("good", `All ten arrived, once each and in order: the tutor counted them as numbers ${numbers[0]} to ${numbers.at(-1)}. A message leaves the queue when it is acknowledged, not when it is handed to the socket.`);
  } else {
    say("warn", `${plural(tunnel.counts.answered, "message")} arrived; the tutor counted ${numbers.join(", ")}. Somebody else wrote as well, or the service was restarted.`);
  }
  return inOrder;
}

const strip = new Strip("strip", { waiting: "waiting", answered: "answered by the service", refused: "answered by Tidegate: over the limit", lost: "failed" });

async function burst(say) {
  strip.clear(BURST);
  tell($("last-answer"), "", "");
  tell($("limit-log"), "", "");
  const logged = stage.lines.length;
  const fresh = open(credentials(), { reconnection: false });
  const trouble = await new Promise((done) => {
    fresh.once("connect", () => done(null));
    fresh.once("connect_error", (error) => done(error.message));
    setTimeout(done, PATIENCE_MS, `no answer within ${PATIENCE_MS / 1000} s`);
  });
  if (trouble !== null) {
    say("bad", `Nothing was sent, because the fresh connection was not made: ${trouble}.`);
    fresh.disconnect();
    return false;
  }
  const results = await Promise.all(Array.from({ length: BURST }, (_, turn) =>
    strip.follow(ask(fresh, "agent:learning", { action: "get_recommendation", turn }))));
  fresh.disconnect();
  const { answered, refused, lost } = strip.counts, last = results.at(-1);
  tell($("last-answer"), last.outcome === "refused" ? "warn" : "bad", last.answer ? JSON.stringify(last.answer) : last.text);
  say(lost ? "bad" : "good", `The service answered ${answered}. Tidegate answered ${refused}, which ${refused === 1 ? "was" : "were"} over the limit.`
    + (lost ? ` ${lost} failed.` : ""));
  const line = () => stage.lines.slice(logged).findLast((each) => /packets_refused=[1-9]/.test(each));
  await Promise.race([when(stage, "log", line), sleep(LOG_PATIENCE_MS)]);
  if (line()) tell($("limit-log"), "warn", line().trim());
  return !lost;
}

async function delay(say) {
  const before = stage.delayMs;
  await stage.delay(SLOW_MS);
  say("warn", `Every byte is ${SLOW_MS / 2} ms late in each direction.`);
  const gateMs = () => Number($("meter-gate").dataset.ms ?? 0);
  const both = () => monitor.metrics.avgLatency >= SLOW_ENOUGH_MS && gateMs() >= SLOW_ENOUGH_MS;
  await Promise.race([when(stage, "sessions", both), sleep(MEASURED_WITHIN_MS)]);
  const measured = both();
  if (measured) {
    say("good", `This page: ${monitor.metrics.avgLatency} ms, so “${monitor.metrics.quality}”. Tidegate: ${gateMs()} ms, by pings of its own. Nobody asked the service. The line is fast again now.`);
    await sleep(SHOWN_MS);
  } else {
    say("bad", "It was not measured within half a minute. Is this page hidden?");
  }
  await stage.delay(before);
  return measured;
}

export function startSteps() {
  strip.clear(BURST);
  step("kill", kill);
  step("network", network);
  step("burst", burst);
  step("delay", delay);
  connection.addEventListener("change", showButtons);
  stage.addEventListener("state", showButtons);
  showButtons();
}
