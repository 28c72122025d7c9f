// The table of sessions: searched, ordered and paged by the node; rates and round trips of those in sight are kept here.

import { $, ask, compact, count, duration, el, milliseconds, plural, post, rate, refusal, toast, write } from "./base.js";

const EVERY_MS = 2000;
const TYPING_MS = 180;
/** So many round trips of a session are drawn. */
const TRIPS = 30;
/** What is kept of a session that is not in sight any more. */
const FORGET_MS = 60_000;
const SVG = "http://www.w3.org/2000/svg";

/** Title, the order that the node knows, which way first, and the class of the cell. */
const COLUMNS = [
  ["User", "user", "asc", "who"], ["Transport", null, null, "transport"], ["Connection", "rtt", "desc", "quality"],
  ["In", "received", "desc", "number"], ["Out", null, null, "number"], ["Refused", "refused", "desc", "number"],
  ["Queue", "waiting", "desc", "number"], ["Age", "age", "asc", "number age"],
];

/** On a phone a session is as tall as four are on a desk. */
const view = { search: "", sort: "age", order: "asc", page: 1, limit: matchMedia("(max-width: 760px)").matches ? 10 : 25 };
/** By id: the last counts with their time, and round trips. */
const known = new Map();
const rows = new Map();
let running = false, asking = null, timer = null, shown = [], onDenied = () => {}, withToken = () => {};

/** Begins to ask; `denied` is called where the node wants a token, `needs` with what can be done only with one. */
export function start({ denied, needs }) {
  [onDenied, withToken] = [denied, needs];
  if (!running) {
    running = true;
    refresh();
  }
}

export function stop() {
  running = false;
  asking?.abort();
  clearTimeout(timer);
}

const next = (after) => {
  clearTimeout(timer);
  if (running) timer = setTimeout(refresh, after);
};

async function refresh() {
  if (document.hidden || !running) return;
  asking?.abort();
  const mine = asking = new AbortController();
  const parameters = { limit: view.limit, page: view.page, sort: view.sort, order: view.order, search: view.search };
  try {
    const answer = await ask(`sessions?${new URLSearchParams(parameters)}`, { signal: AbortSignal.any([mine.signal, AbortSignal.timeout(10_000)]) });
    if (answer.status === 401) return onDenied();
    if (!answer.ok) throw new Error(await refusal(answer));
    const listing = await answer.json();
    if (mine === asking) show(listing);
  } catch {
    // The state of the stream says so.
    if (mine !== asking) return;
  }
  next(EVERY_MS);
}

function show({ sessions, total }) {
  const pages = Math.max(1, Math.ceil(total / view.limit));
  if (view.page > pages) {
    view.page = pages;
    return next(0);
  }
  shown = sessions;
  remember(sessions);
  const body = $("rows");
  const wanted = new Set(sessions.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (!wanted.has(id)) {
      row.element.remove();
      rows.delete(id);
    }
  }
  sessions.forEach((session, index) => {
    const row = rows.get(session.id) ?? make(session.id);
    fill(row, session);
    // Rows that stay where they are keep the focus.
    if (body.children[index] !== row.element) body.insertBefore(row.element, body.children[index] ?? null);
  });
  write($("total"), view.search ? plural(total, "match", "matches") : count(total));
  const first = (view.page - 1) * view.limit;
  write($("range"), total > 0 ? `${count(first + 1)}–${count(first + sessions.length)} of ${count(total)}` : "");
  $("previous").disabled = view.page <= 1;
  $("next").disabled = view.page >= pages;
  $("empty").hidden = sessions.length > 0;
  document.querySelector("table").hidden = sessions.length === 0;
  write($("empty-text"), view.search ? `No session has “${view.search}” in a user, an address or a namespace.` : "Nobody is connected. A session appears here as soon as a client is.");
  $("clear").hidden = !view.search;
}

function remember(sessions) {
  const now = performance.now();
  for (const session of sessions) {
    const trace = known.get(session.id) ?? { trips: [], received: null, sent: null, last: null };
    const { last } = trace;
    if (last && now - last.at >= 500) {
      const seconds = (now - last.at) / 1000;
      trace.received = Math.max(0, session.packets_received - last.received) / seconds;
      trace.sent = Math.max(0, session.packets_sent - last.sent) / seconds;
    }
    if (!last || now - last.at >= 500) {
      trace.last = { at: now, received: session.packets_received, sent: session.packets_sent };
      if (typeof session.rtt_ms === "number") trace.trips.push(session.rtt_ms);
      if (trace.trips.length > TRIPS) trace.trips.shift();
    }
    trace.seen = now;
    known.set(session.id, trace);
  }
  for (const [id, { seen }] of known) if (now - seen > FORGET_MS) known.delete(id);
}

function make(id) {
  const part = {
    name: el("button", { type: "button", title: "All that is known of it" }), peer: el("span", { className: "sub" }),
    transport: el("span"), service: el("span", { className: "sub" }),
    grade: el("span"), trip: el("span", { className: "sub" }), spark: document.createElementNS(SVG, "svg"),
    received: el("span"), receivedAll: el("span", { className: "sub" }), sent: el("span"), sentAll: el("span", { className: "sub" }),
    refused: el("span"), waiting: el("span"), age: el("span"),
    end: el("button", { type: "button", className: "end" }, "Close"),
  };
  part.spark.setAttribute("class", "spark");
  part.spark.setAttribute("viewBox", "0 0 72 22");
  part.spark.setAttribute("aria-hidden", "true");
  part.spark.append(document.createElementNS(SVG, "polyline"));
  const cells = [
    [part.name, part.peer], [part.transport, part.service],
    [el("span", { className: "link" }, el("span", { className: "text" }, part.grade, part.trip), part.spark)],
    [part.received, part.receivedAll], [part.sent, part.sentAll], [part.refused], [part.waiting], [part.age],
  ];
  const cell = ([title, , , kind], index) => el("td", { className: kind, role: "cell", "data-label": title }, ...cells[index]);
  part.element = el("tr", { role: "row" }, ...COLUMNS.map(cell), el("td", { role: "cell" }, part.end));
  part.name.addEventListener("click", () => detail(id));
  part.end.addEventListener("click", () => askToClose(id));
  rows.set(id, part);
  return part;
}

const nameOf = (session) => (session.users?.length ? session.users.join(", ") : session.user) ?? null;
const called = (session) => nameOf(session) ?? `session ${session.id}`;
const TRANSPORTS = { websocket: "WebSocket", polling: "Polling", absent: "Absent" };
const SERVICE = { down: "service down", joining: "rejoining" };

function fill(part, session) {
  const trace = known.get(session.id);
  const name = nameOf(session);
  write(part.name, name ?? "no token");
  part.name.className = name ? "" : "nobody";
  write(part.peer, session.peer + (session.namespaces.some((one) => one !== "/") ? ` in ${session.namespaces.join(", ")}` : ""));
  write(part.transport, (TRANSPORTS[session.transport] ?? session.transport) + (session.upgraded ? ", upgraded" : ""));
  part.transport.className = session.transport === "absent" ? "absent" : "";
  write(part.service, SERVICE[session.service] ?? "");
  const { grade, trip } = connection(session);
  part.grade.className = session.quality ? `grade ${session.quality}` : "";
  write(part.grade, grade);
  write(part.trip, trip);
  draw(part.spark, trace.trips);
  const perSecond = (value) => (value === null ? "–" : `${rate(value)}/s`);
  write(part.received, perSecond(trace.received));
  write(part.receivedAll, compact(session.packets_received));
  write(part.sent, perSecond(trace.sent));
  write(part.sentAll, compact(session.packets_sent));
  write(part.refused, compact(session.packets_refused));
  part.refused.className = session.packets_refused > 0 ? "warm" : "";
  write(part.waiting, compact(session.waiting_packets));
  part.waiting.className = session.waiting_packets > 0 ? "warm" : "";
  write(part.age, duration(session.age_seconds));
  part.end.setAttribute("aria-label", `Close the session of ${called(session)}`);
}

/** The grade, where the node gives one, and the round trip; before the first heartbeat neither. */
function connection(session) {
  const has = (value) => typeof value === "number";
  const trip = has(session.rtt_ms) ? `${milliseconds(session.rtt_ms)} ms` : "";
  const loss = has(session.loss_percent) && session.loss_percent > 0 ? `, ${milliseconds(session.loss_percent)} % lost` : "";
  if (session.quality) return { grade: session.quality, trip: trip + loss };
  return trip ? { grade: trip, trip: loss.slice(2) } : { grade: "–", trip: "not measured yet" };
}

function draw(spark, trips) {
  const line = spark.firstChild;
  if (trips.length < 2) return line.setAttribute("points", "");
  // Around their mean; a change of less than a third is small.
  const middle = trips.reduce((sum, trip) => sum + trip, 0) / trips.length;
  const reach = Math.max(...trips.map((trip) => Math.abs(trip - middle)), middle / 3, 1);
  const x = (at) => 71 - (trips.length - 1 - at) * (70 / (TRIPS - 1));
  const points = trips.map((trip, at) => `${x(at).toFixed(1)},${(11 - ((trip - middle) / reach) * 9.5).toFixed(1)}`);
  line.setAttribute("points", points.join(" "));
}

const find = (id) => shown.find((session) => session.id === id);

function detail(id) {
  const session = find(id);
  if (!session) return;
  const ms = (value) => (typeof value === "number" ? `${milliseconds(value)} ms` : null);
  const facts = [
    ["Session", String(session.id)], ["In the log", session.sid_hash && `sid_hash ${session.sid_hash}`],
    ["Address", session.peer], ["Namespaces", session.namespaces.join("  ")],
    ["Transport", (TRANSPORTS[session.transport] ?? session.transport) + (session.upgraded ? ", upgraded from polling" : "")],
    ["Service", session.service], ["Open for", duration(session.age_seconds)],
    ["Quality", session.quality], ["Round trip", ms(session.rtt_ms)], ["On average", ms(session.rtt_avg_ms)], ["Jitter", ms(session.jitter_ms)],
    ["Lost", typeof session.loss_percent === "number" ? `${milliseconds(session.loss_percent)} %` : null],
    ["Received", plural(session.packets_received, "packet")], ["Sent", plural(session.packets_sent, "packet")],
    ["Refused", plural(session.packets_refused, "packet")], ["Wait for the service", plural(session.waiting_packets, "packet")],
  ];
  write($("session-title"), nameOf(session) ?? "A session without a token");
  $("session-facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  $("revoke").hidden = !session.user;
  $("revoke").onclick = () => askToRevoke(session.user);
  $("close").onclick = () => askToClose(id);
  $("session-dialog").showModal();
}

/** Asks once more, and does it then, with the token. */
function confirm({ title, text, button, act }) {
  withToken(() => {
    write($("confirm-title"), title);
    write($("confirm-text"), text);
    write($("confirm"), button);
    $("confirm").onclick = async () => {
      $("confirm").disabled = true;
      try {
        toast(await act());
      } catch {
        toast("The node did not answer: nothing is known of what was done.");
      }
      $("confirm").disabled = false;
      $("confirm-dialog").close();
      $("session-dialog").close();
      next(0);
    };
    $("confirm-dialog").showModal();
  });
}

function askToClose(id) {
  const session = find(id);
  if (!session) return;
  confirm({
    title: `Close the session of ${called(session)}?`,
    text: "A stock client connects again by itself and begins a new session. To keep a user out, revoke the tokens.",
    button: "Close the session",
    act: async () => {
      const answer = await post("close", { session: id });
      return answer.ok ? `The session of ${called(session)} is closed.` : refusal(answer);
    },
  });
}

function askToRevoke(user) {
  confirm({
    title: `Revoke the tokens of ${user}?`,
    text: "All sessions of this user end, and the tokens that the user has now are refused for 30 days. Newer tokens are accepted.",
    button: "Revoke the tokens",
    act: async () => {
      const answer = await post("revoke", { user });
      if (!answer.ok) return refusal(answer);
      const done = await answer.json();
      return `The tokens of ${user} are revoked; ${plural(done.sessions, "session")} here ended by it.`;
    },
  });
}

function order(sort, way) {
  [view.sort, view.order, view.page] = [sort, way, 1];
  for (const head of $("columns").children) {
    if (head.dataset.sort !== sort) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", way === "asc" ? "ascending" : "descending");
  }
  const choice = `${sort} ${way}`;
  if ([...$("sort").options].some(({ value }) => value === choice)) $("sort").value = choice;
  next(0);
}

for (const [title, sort, way, kind] of COLUMNS) {
  const head = el("th", { role: "columnheader", scope: "col", className: kind.includes("number") ? "number" : "" });
  if (sort) {
    head.dataset.sort = sort;
    const button = el("button", { type: "button" }, title);
    const other = { asc: "desc", desc: "asc" };
    button.addEventListener("click", () => order(sort, view.sort === sort ? other[view.order] : way));
    head.append(button);
  } else head.append(title);
  $("columns").append(head);
}
$("columns").append(el("th", { role: "columnheader", scope: "col" }, el("span", { className: "hidden" }, "What can be done")));
order("age", "asc");
$("limit").value = view.limit;

let typing;
function search(text) {
  [view.search, view.page] = [text.trim(), 1];
  next(0);
}
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => search($("search").value), TYPING_MS);
});
$("clear").addEventListener("click", () => {
  $("search").value = "";
  $("search").focus();
  search("");
});
$("sort").addEventListener("change", () => order(...$("sort").value.split(" ")));
$("limit").addEventListener("change", () => {
  [view.limit, view.page] = [Number($("limit").value), 1];
  next(0);
});
const turn = (by) => () => {
  view.page += by;
  next(0);
};
$("previous").addEventListener("click", turn(-1));
$("next").addEventListener("click", turn(1));
document.addEventListener("visibilitychange", () => !document.hidden && next(0));
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]") || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) return;
  event.preventDefault();
  $("search").focus();
});

