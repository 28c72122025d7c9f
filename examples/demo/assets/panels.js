// What surrounds the chat: the way of a message with its controls, both measurements, the gate's log, who may connect.

import { $, make, show, tell } from "./basics.js";
import { connection, credentials, open } from "./connection.js";
import { monitor } from "./quality.js";
import { stage } from "./stage.js";

/** As the elements of the client script call the states of the connection. */
const STATUS = { idle: "disconnected", cut: "disconnected", refused: "error", connecting: "reconnecting", connected: "connected" };
const LOG_LINES = 200, KILLED_SECONDS = 20, FULL_BAR_MS = 600;

function showConnection() {
  const { state, text } = connection, isCut = state === "cut";
  $("status").dataset.state = state;
  show("status-text", text);
  show("network", isCut ? "Bring it back" : "Cut the network");
  $("network").setAttribute("aria-pressed", isCut);
  $("line").classList.toggle("cut", isCut);
  $("connect").disabled = ["connected", "connecting", "cut"].includes(state);
  $("disconnect").disabled = !["connected", "connecting"].includes(state);
  $("fill").disabled = !isCut;
  for (const id of ["badge", "card"]) $(id).status = STATUS[state];
}

function showService() {
  const { backInMs, down } = stage, state = down ? "down" : backInMs === null ? "up" : "unknown";
  $("service").dataset.state = state;
  $("leg").classList.toggle("cut", down);
  show("service-text", down ? `dead, back in ${Math.ceil(backInMs / 1000)} s` : state === "up" ? "up" : "not reached");
  show("kill", down ? "Revive it" : "Kill it");
  $("kill").disabled = state === "unknown";
  if (document.activeElement !== $("delay")) $("delay").value = String(stage.delayMs);
  $("line").dataset.delay = stage.delayMs;
}

function meter(who, ms, quality) {
  show(`meter-${who}`, ms === null || ms === undefined ? "–" : `${Math.round(ms)} ms${quality ? `, ${quality}` : ""}`);
  $(`meter-${who}`).dataset.ms = Math.round(ms ?? 0);
  $(`bar-${who}`).style.width = `${Math.min(100, (100 * (ms ?? 0)) / FULL_BAR_MS)}%`;
}

function showMonitor() {
  const { avgLatency, quality } = monitor.metrics;
  for (const id of ["badge", "card"]) $(id).metrics = monitor.metrics;
  meter("page", avgLatency, quality);
}

async function showGate() {
  const mine = await connection.among(stage.sessions);
  // The last round trip: a change of the line is soon to be seen.
  meter("gate", mine?.rtt_ms ?? null);
  const ms = mine?.rtt_ms;
  show("by-gate", typeof ms === "number" ? `${Math.round(ms)} ms` : "");
  show("gate-aside", typeof ms === "number" ? `measures ${Math.round(ms)} ms to you` : "has measured nothing yet");
}

function log({ detail: lines }) {
  for (const line of lines) {
    const [, time, level, text] = line.match(/^\S+T([\d:]+)\S*\s+(\w+)\s+(.*)$/) ?? [line, "", "", line];
    const [, said, fields] = text.match(/^(.*?)((?: \w+=.*)?)$/);
    const entry = make("li", /refused/.test(said) ? "warn" : "", make("time", "", time), make("b", "", said), make("span", "", fields));
    entry.title = level;
    $("log").prepend(entry);
  }
  while ($("log").childElementCount > LOG_LINES) $("log").lastElementChild.remove();
}

let stranger = null;

function tryRefused(auth) {
  stranger?.disconnect();
  const mine = stranger = open({ learnerId: "ada", ...auth });
  const say = (mood, text) => {
    if (mine === stranger) tell($("refusal"), mood, text);
    mine.disconnect();
  };
  tell($("refusal"), "", "connecting …");
  mine.once("connect", () => say("bad", "It was let in. Is Tidegate in front of the service?"));
  mine.once("connect_error", (error) => {
    const retries = mine.active ? "the client will try again" : "the client has stopped trying";
    say("warn", `connect_error: ${error.message}\n${JSON.stringify(error.data)}\n${retries}`);
  });
}

function badToken() {
  // The first character of the signature: the last one may hold unused bits.
  const [head, claims, signature = ""] = credentials().token.split(".");
  tryRefused({ token: [head, claims, (signature[0] === "A" ? "B" : "A") + signature.slice(1)].join(".") });
}

export function startPanels() {
  show("gate", location.host);
  connection.addEventListener("change", showConnection);
  stage.addEventListener("state", showService);
  stage.addEventListener("log", log);
  stage.addEventListener("sessions", showGate);
  monitor.addEventListener("change", showMonitor);
  connection.socket.on("connection:quality", ({ latencyMs }, ack) => {
    ack({ heard: true });
    if (latencyMs !== null) show("by-service", `${Math.round(latencyMs)} ms`);
  });
  $("network").onclick = () => (connection.isCut ? connection.repair() : connection.cut());
  $("kill").onclick = () => (stage.down ? stage.revive() : stage.kill(KILLED_SECONDS));
  $("delay").onchange = ({ target }) => stage.delay(target.value).finally(() => target.blur());
  $("connect").onclick = () => connection.connect();
  $("disconnect").onclick = () => connection.disconnect();
  $("bad-token").onclick = badToken;
  $("no-token").onclick = () => tryRefused({});
  showConnection();
  showMonitor();
}
