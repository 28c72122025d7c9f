// The status page: hears the status once a second, shows the state of the node, and asks for the token where it is needed.

import { $, ask, bytes, count, duration, el, hasToken, plural, refusal, setToken, since, toast, write } from "./base.js";
import * as charts from "./charts.js";
import * as sessions from "./sessions.js";

/** Without an event for so long the stream is taken for lost: one comes every second. */
const SILENCE_MS = 6000;
const RETRY_MS = [1000, 2000, 4000, 8000];
/** Days before the end of a certificate. */
const SOON = 21, VERY_SOON = 7;
const RANKS = 8;
const GRADES = ["excellent", "good", "fair", "poor", "unknown"];

let wake = () => {};
let pending = null;
/** Of the stream. */
let control = new AbortController();

/** The events of a stream, as the standard says (HTML, server-sent events), as far as this node writes them. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const lines = text.slice(0, end).split("\n");
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (lines.includes("event: status")) yield JSON.parse(data);
    }
  }
}

function live(state, text) {
  $("live").dataset.state = state;
  write($("live-text"), text);
  $("figures").classList.toggle("stale", state === "lost");
}

/** Nothing is shown until the node lets it: with a token, or once it has one. */
function lock(title, text, canUnlock) {
  sessions.stop();
  $("figures").hidden = true;
  $("locked").hidden = false;
  write($("locked-title"), title);
  write($("locked-text"), text);
  $("unlock").hidden = !canUnlock;
}

function unlock() {
  $("locked").hidden = true;
  $("figures").hidden = false;
  sessions.start({ denied, needs });
}

function denied() {
  const wrong = hasToken();
  if (wrong) setToken("");
  control.abort();
  lock("This node asks for the operator’s token", "It is the one that admin.token of its configuration names.", true);
  live("locked", "locked");
  if (!$("token-dialog").open) askForToken(wrong ? "This is not the token." : "");
}

function askForToken(why = "") {
  $("token").value = "";
  write($("token-error"), why);
  $("token").toggleAttribute("aria-invalid", why !== "");
  $("forget").hidden = !hasToken();
  if (!$("token-dialog").open) $("token-dialog").showModal();
  $("token").focus();
}

/** What changes something is done with the token alone. */
function needs(act) {
  if (hasToken()) return act();
  pending = act;
  askForToken();
}

/** One stream, until it ends. True: it has told something. */
async function listen() {
  const mine = control = new AbortController();
  let watch;
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(() => mine.abort(), SILENCE_MS);
  };
  alive();
  let heard = false;
  try {
    const answer = await ask("events", { signal: mine.signal });
    if (answer.status === 401) {
      denied();
      await new Promise((done) => { wake = done; });
      return true;
    }
    if (!answer.ok) {
      const why = await refusal(answer);
      if (answer.status === 404 || answer.status === 421) lock("Nothing is shown here", why, false);
      throw new Error(why);
    }
    for await (const status of events(answer.body)) {
      alive();
      if (!heard) unlock();
      heard = true;
      $("live").title = "";
      live("live", "live");
      show(status);
    }
  } catch (error) {
    // The node is gone, or was silent for too long, or says why it has no place for one more.
    $("live").title = error.message;
  } finally {
    clearTimeout(watch);
    mine.abort();
  }
  return heard;
}

async function listenForEver() {
  for (let failures = 0; ; failures += 1) {
    if (await listen()) failures = 0;
    if ($("live").dataset.state !== "locked") live("lost", "disconnected, retrying");
    charts.gap();
    const pause = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    await new Promise((done) => {
      wake = done;
      setTimeout(done, $("live").dataset.state === "locked" ? 0 : pause);
    });
  }
}

function show(status) {
  document.title = `${count(status.sessions.open)} sessions · ${status.node}`;
  write($("node"), status.node);
  write($("about"), `version ${status.version}, up ${duration(status.uptime_seconds)}`);
  charts.show(status);
  showStates(status);
  const { websocket, polling, absent } = status.sessions.by_transport;
  write($("transports"), [[websocket, "by WebSocket"], [polling, "by polling"], [absent, "absent"]].filter(([n], at) => n > 0 || at === 0).map(([n, how]) => `${count(n)} ${how}`).join(", "));
  showQualities(status.sessions.by_quality);
  rank("refused", status.totals.refused, "Nothing was refused since the start.");
  rank("ended", status.totals.disconnected, "No session has ended since the start.");
}

function state(name, kind, value, more, extra = null) {
  const tile = $(`state-${name}`);
  tile.dataset.state = kind;
  const [shown, told] = [tile.querySelector(".value"), tile.querySelector(".more")];
  if (shown.lastChild?.textContent !== value || !shown.querySelector(".dot")) {
    shown.replaceChildren(el("span", { className: "dot" }), el("span", {}, value));
  }
  if (extra) told.replaceChildren(extra, more);
  else write(told, more);
}

function showStates({ upstream, redis, certificates, memory, reload }) {
  const url = upstream.url.replace(/^https?:\/\//, "");
  if (upstream.up === null) state("upstream", "idle", "Not tried yet", url);
  else if (upstream.up) state("upstream", "ok", "Up", `${url}, for ${since(upstream.since)}`);
  else state("upstream", "bad", `Down for ${since(upstream.since)}`, upstream.why ? `${url}: ${upstream.why}` : url);

  if (!redis) state("redis", "idle", "Not used", "this node is alone");
  else if (redis.up) state("redis", "ok", "Connected", `for ${since(redis.since)}`);
  else state("redis", "bad", `Lost for ${since(redis.since)}`, redis.why ?? "");

  showCertificates(certificates);
  showMemory(memory);
  if (reload.ok) state("reload", "ok", "In force", `loaded ${since(reload.last_success)} ago`);
  else state("reload", "bad", "Not reloaded", `a mistake; the one of ${since(reload.last_success)} ago is in force`);
}

function showCertificates(certificates) {
  if (certificates.length === 0) return state("certificates", "idle", "None", "clients use plain HTTP here");
  const left = certificates.map(({ name, not_after: end }) => ({ name, days: Math.floor((end - Date.now() / 1000) / 86400) }));
  left.sort((one, other) => one.days - other.days);
  const [{ name, days }, ...others] = left;
  const kind = days < VERY_SOON ? "bad" : days < SOON ? "warn" : "ok";
  const more = others.slice(0, 2).map((other) => `${other.name} ${other.days} d`);
  if (others.length > 2) more.push(`${others.length - 2} more`);
  state("certificates", kind, days < 0 ? "Expired" : `${plural(days, "day")} left`, [name, ...more].join(", "));
}

function showMemory({ used, limit, sessions: kept }) {
  const more = `${bytes(kept)} kept by sessions`;
  if (used === null) return state("memory", "idle", "Unknown", more);
  if (limit === null) return state("memory", "ok", bytes(used), more);
  const part = used / limit;
  const kind = part >= 0.95 ? "bad" : part >= 0.85 ? "warn" : "ok";
  const meter = el("span", { className: `meter ${kind}`, "aria-hidden": "true" }, el("span"));
  meter.style.display = "block";
  meter.firstChild.style.width = `${Math.min(100, part * 100).toFixed(1)}%`;
  state("memory", kind, `${Math.round(part * 100)} % of ${bytes(limit)}`, more, meter);
}

/** Shown once the node grades connections. */
function showQualities(qualities) {
  const counts = GRADES.map((grade) => [grade, qualities?.[grade] ?? 0]);
  const graded = counts.some(([grade, n]) => grade !== "unknown" && n > 0);
  $("qualities").hidden = !graded;
  if (!graded) return;
  const some = counts.filter(([, n]) => n > 0);
  const track = el("span", { className: "track", "aria-hidden": "true" }, ...some.map(([grade, n]) => {
    const part = el("span", { className: grade });
    part.style.flexGrow = n;
    return part;
  }));
  const names = some.map(([grade, n]) => el("span", { className: `name ${grade}` }, `${count(n)} ${grade === "unknown" ? "not measured yet" : grade}`));
  $("qualities").replaceChildren(track, ...names);
}

/** The most frequent first. */
function rank(id, counts, none) {
  const all = Object.entries(counts).filter(([, n]) => n > 0).sort(([, one], [, other]) => other - one);
  write($(`${id}-total`), all.length ? count(all.reduce((sum, [, n]) => sum + n, 0)) : "");
  const list = $(id);
  if (all.length === 0) return list.replaceChildren(el("li", { className: "none" }, none));
  const rest = all.slice(RANKS).reduce((sum, [, n]) => sum + n, 0);
  const ranked = all.slice(0, RANKS).concat(rest > 0 ? [[`${all.length - RANKS} others`, rest]] : []);
  list.replaceChildren(...ranked.map(([name, n]) => {
    const meter = el("span", { className: "meter", "aria-hidden": "true" }, el("span"));
    meter.firstChild.style.width = `${Math.max(0.5, (n / all[0][1]) * 100).toFixed(1)}%`;
    return el("li", {}, el("span", { className: "name" }, name), el("span", { className: "n" }, count(n)), meter);
  }));
}

let config = "";
function showConfig() {
  const wanted = $("config-search").value.trim().toLowerCase();
  const lines = config.split("\n");
  write($("config"), wanted ? lines.filter((line) => line.startsWith("[") || line.toLowerCase().includes(wanted)).filter((line, at, kept) => !line.startsWith("[") || line.toLowerCase().includes(wanted) || (kept[at + 1] ?? "[").startsWith("[") === false).join("\n") || "No line has it." : config);
}

$("show-config").addEventListener("click", async () => {
  try {
    const answer = await ask("config");
    if (answer.status === 401) return denied();
    config = answer.ok ? await answer.text() : await refusal(answer);
  } catch {
    return toast("The node does not answer.");
  }
  $("config-search").value = "";
  showConfig();
  $("config-dialog").showModal();
});
$("config-search").addEventListener("input", showConfig);

$("show-token").addEventListener("click", () => askForToken());
$("unlock").addEventListener("click", () => askForToken());
$("forget").addEventListener("click", () => {
  setToken("");
  $("token-dialog").close();
  control.abort();
  toast("The token is forgotten.");
});
$("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = $("token").value.trim();
  // A header takes no other characters.
  if (!/^[\x21-\x7e]+$/.test(given)) return askForToken("A token has letters, digits and signs, without blanks.");
  setToken(given);
  let answer;
  try {
    answer = await ask("status");
  } catch {
    return askForToken("The node does not answer.");
  }
  if (answer.status === 401) {
    setToken("");
    return askForToken("This is not the token.");
  }
  $("token-dialog").close();
  wake();
  const act = pending;
  pending = null;
  act?.();
});
$("token-dialog").addEventListener("close", () => { if (!hasToken()) pending = null; });

listenForEver();
