// The status page with figures that are made up: `node status_figures.mjs SESSIONS` serves src/admin/page on a free port,
// which it prints, with what the operator's address of a node with so many sessions would answer.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { FASTER } from "./status_haste.mjs";

const FOLDER = new URL("../../src/admin/page/", import.meta.url);
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8" };
const most = Number(process.argv[2] ?? 20);
const began = Math.floor(Date.now() / 1000) - 275_400;
const names = ["ada", "alan", "barbara", "emmy", "donald", "edsger", "frances", "grace", "hedy", "john", "katherine", "leslie", "margaret", "niklaus", "radia", "tim"];

let seed = 7;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const grades = [[100, "excellent"], [250, "good"], [500, "fair"], [Infinity, "poor"]];

const sessions = Array.from({ length: most }, (_, at) => {
  const rtt = 18 * Math.exp(random() * random() * 4.2);
  const measured = random() > 0.06;
  const transport = random() < 0.12 ? "polling" : random() < 0.03 ? "absent" : "websocket";
  const pace = random() ** 4 * 18;
  const age = 4 + (most - at - random()) * (18_000 / most);
  return {
    id: 1000 + at, sid_hash: Math.floor(random() * 2 ** 32).toString(16).padStart(8, "0"),
    user: random() < 0.05 ? null : most > 100 ? `${names[at % names.length]}-${Math.floor(at / names.length)}` : names[at % names.length],
    peer: random() < 0.2 ? `2001:db8:${(at % 4096).toString(16)}::${(at % 255).toString(16)}` : `203.0.113.${1 + (at * 7) % 250}`,
    namespaces: random() < 0.25 ? ["/", "/chat"] : ["/"], transport, service: "open", upgraded: transport === "websocket" && random() < 0.2,
    waiting_packets: random() < 0.02 ? Math.ceil(random() * 9) : 0, age_seconds: age, pace,
    packets_received: Math.round(age * pace), packets_sent: Math.round(age * pace * 2.3), packets_refused: random() < 0.04 ? Math.ceil(random() * 120) : 0,
    rtt_ms: measured ? rtt : null, rtt_avg_ms: measured ? rtt * 1.04 : null, jitter_ms: measured ? rtt * 0.08 : null, loss_percent: measured ? 0 : null,
    quality: measured ? grades.find(([below]) => rtt < below)[1] : null,
  };
});
const by = (key) => sessions.reduce((all, session) => ({ ...all, [session[key] ?? "unknown"]: (all[session[key] ?? "unknown"] ?? 0) + 1 }), {});
const [transports, qualities] = [by("transport"), by("quality")];

const opened = Date.now();
/** Since the start, as fast as the page takes them to pass. */
const elapsed = () => ((Date.now() - opened) / 1000) * FASTER;
let seconds = 0, received = most * 9100, sent = most * 21_300, refused = 1841;
const wave = (at, long) => Math.sin(at / long) + 0.4 * Math.sin(at / (long / 3.1));
function status() {
  const passed = elapsed() - seconds;
  seconds += passed;
  const calm = wave(seconds, 47);
  received += Math.round(passed * most * (2.1 + 0.35 * calm + random() * 0.25));
  sent += Math.round(passed * most * (4.9 + 0.8 * calm + random() * 0.5));
  refused += Math.round(passed * Math.max(0, 0.4 + 0.5 * wave(seconds, 23)) * (1 + most / 3000));
  const open = most - Math.round((most / 60) * (1 + wave(seconds, 80)));
  return {
    node: "gate-7c9f4", version: "0.1.0", at: opened / 1000 + seconds, started_at: began, uptime_seconds: 275_400 + Math.floor(seconds),
    sessions: {
      open, active: open - Math.round(most / 20), held: 0, absent: transports.absent ?? 0,
      by_transport: { websocket: transports.websocket ?? 0, polling: transports.polling ?? 0, absent: transports.absent ?? 0 },
      by_quality: { excellent: 0, good: 0, fair: 0, poor: 0, unknown: 0, ...qualities },
    },
    totals: {
      connections: most * 31, received, sent,
      refused: { "rate_limit[0]": refused, "auth.expired": 412, "auth.missing": 96, forbidden: 55, "limit.connections_per_ip": 31, sid_mismatch: 4 },
      disconnected: { client_closed: most * 21, client_lost: most * 8, ping_timeout: most, "auth.expired": 311, drained: 120, operator: 2 }, errors: {},
    },
    latency_ms: { p50: 4.2 + 0.4 * calm, p95: 17 + 2.5 * calm + random(), p99: 41 + 6 * calm + random() * 5 },
    upstream: { url: "http://tutor:4003", up: true, since: began + 41_000, why: null },
    redis: { up: true, since: began + 2, why: null },
    certificates: [{ name: "ws.example.org", not_after: Math.floor(Date.now() / 1000) + 61.5 * 86_400 }, { name: "chat.example.org", not_after: Math.floor(Date.now() / 1000) + 80 * 86_400 }],
    memory: { used: 160e6 + most * 21e3, limit: 2 ** 30, sessions: most * 1900 },
    reload: { ok: true, last_success: began + 180_000 },
  };
}

const keys = { id: "id", user: "user", rtt: "rtt_ms", received: "packets_received", refused: "packets_refused", waiting: "waiting_packets" };
function list(query) {
  const wanted = (query.get("search") ?? "").toLowerCase();
  const found = sessions.filter(({ user, peer, namespaces }) => [user ?? "", peer, ...namespaces].some((text) => text.toLowerCase().includes(wanted)));
  const [sort, sign] = [query.get("sort") ?? "id", query.get("order") === "desc" ? -1 : 1];
  const value = (session) => (sort === "age" ? -session.id : session[keys[sort]]);
  found.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    return a === b ? one.id - other.id : a === null ? 1 : b === null ? -1 : a < b ? -sign : sign;
  });
  const limit = Number(query.get("limit") ?? 100);
  const from = (Number(query.get("page") ?? 1) - 1) * limit;
  const shown = found.slice(from, from + limit).map(({ pace, ...session }) => ({
    ...session, age_seconds: session.age_seconds + seconds,
    packets_received: session.packets_received + Math.round(pace * elapsed()), packets_sent: session.packets_sent + Math.round(pace * 2.3 * elapsed()),
    rtt_ms: session.rtt_ms && session.rtt_ms * (1 + 0.12 * Math.sin(seconds / 2 + session.id) + 0.04 * Math.sin(seconds * 1.7 + session.id)),
  }));
  return { sessions: shown, next: null, total: found.length };
}

createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const json = (value) => response.setHeader("content-type", "application/json").end(JSON.stringify(value));
  if (pathname === "/events") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const tell = () => response.write(`event: status\ndata: ${JSON.stringify(status())}\n\n`);
    tell();
    const ticks = setInterval(tell, 1000 / FASTER);
    request.on("close", () => clearInterval(ticks));
  } else if (pathname === "/status") json(status());
  else if (pathname === "/sessions") json(list(searchParams));
  else if (pathname === "/config") response.setHeader("content-type", "application/toml").end(readFileSync(new URL("../../config/tidegate.toml", import.meta.url)));
  else {
    const file = pathname === "/" ? "index.html" : pathname.slice(1);
    try {
      response.setHeader("content-type", TYPES[file.split(".").at(-1)]).end(readFileSync(new URL(file, FOLDER)));
    } catch {
      response.writeHead(404).end();
    }
  }
}).listen(0, "127.0.0.1", function () {
  console.log(JSON.stringify({ port: this.address().port }));
});
