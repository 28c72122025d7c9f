// The public protocol suites, run against their server directly and through Tidegate.
// `node conformance.mjs TIDEGATE COPIES RUNS`; scripts/conformance prepares the copies of the suites.

import { execFile, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [program, copies, runs] = [resolve(process.argv[2]), resolve(process.argv[3]), Number(process.argv[4])];

/** What the suites write into their `URL`. */
const SUITE_URL = "http://localhost:3000";
const START_PATIENCE_MS = 10_000;
const BETWEEN_LOOKS_MS = 50;

const RAW = "it echoes raw Engine.IO messages; behind Tidegate only Socket.IO packets are spoken";

/** Cases that cannot pass through Tidegate, with the reason. */
const BY_DESIGN = {
  "engine.io-protocol": {
    "message HTTP long-polling sends and receives a payload containing one plain text packet": RAW,
    "message HTTP long-polling sends and receives a payload containing several plain text packets": RAW,
    "message HTTP long-polling sends and receives a payload containing plain text and binary packets": RAW,
    "message WebSocket sends and receives a plain text packet": RAW,
    "message WebSocket sends and receives a binary packet": RAW,
    "upgrade successfully upgrades from HTTP long-polling to WebSocket": RAW,
    "upgrade ignores HTTP requests with same sid after upgrade": RAW,
    "upgrade ignores WebSocket connection with same sid after upgrade": RAW,
  },
  "socket.io-protocol": {},
};

const suites = [
  { name: "engine.io-protocol", path: "/engine.io/" },
  { name: "socket.io-protocol", path: "/socket.io/" },
];

const children = [];

function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
  children.push(child);
  return child;
}

async function startServer() {
  const server = start(process.execPath, [join(import.meta.dirname, "conformance_server.mjs")]);
  for await (const line of createInterface({ input: server.stdout })) return JSON.parse(line).port;
  throw new Error("the server ended before it listened");
}

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await new Promise((listens) => listener.once("listening", listens));
  const { port } = listener.address();
  await new Promise((closed) => listener.close(closed));
  return port;
}

/** A gate before the server, configured as the suites ask: no authentication, no limits, and their times. */
async function startGate(path, upstream) {
  const [port, admin] = [await freePort(), await freePort()];
  const file = join(copies, `tidegate-${port}.toml`);
  const toml = `
    rate_limit = []
    [listen]
    address = "127.0.0.1:${port}"
    [admin]
    address = "127.0.0.1:${admin}"
    [upstream]
    url = "http://127.0.0.1:${upstream}"
    [origins]
    allow = ["*"]
    [auth]
    required = false
    [socketio]
    path = "${path}"
    transports = ["polling", "websocket"]
    ping_interval = "300ms"
    ping_timeout = "200ms"
    connect_timeout = "1s"
    max_payload = "1MB"
    [log]
    level = "error"
  `;
  await writeFile(file, toml);
  start(program, ["run", "--config", file]);
  const ready = () => fetch(`http://127.0.0.1:${admin}/readyz`).then(({ ok }) => ok, () => false);
  for (const until = Date.now() + START_PATIENCE_MS; !(await ready()); await sleep(BETWEEN_LOOKS_MS)) {
    if (Date.now() > until) throw new Error(`Tidegate is not ready after ${START_PATIENCE_MS} ms`);
  }
  return port;
}

/** One run of a suite: its cases, each with whether it passed. */
async function run(suite, port) {
  const folder = join(copies, suite.name);
  const source = await readFile(join(folder, "test-suite.js"), "utf8");
  if (!source.includes(SUITE_URL)) throw new Error(`${suite.name} does not name ${SUITE_URL}`);
  await writeFile(join(folder, "run.js"), source.replace(SUITE_URL, `http://127.0.0.1:${port}`));
  const mocha = ["node_modules/mocha/bin/mocha", "run.js", "--exit", "--reporter", "json"];
  const output = await new Promise((done) => {
    // It exits with the number of failures.
    execFile(process.execPath, mocha, { cwd: folder }, (_error, stdout) => done(stdout));
  });
  const { tests } = JSON.parse(output);
  return tests.map(({ fullTitle, err }) => ({ title: fullTitle, error: err.message }));
}

/** All runs of a suite: each case with how often it passed, and the last error. */
async function runAll(suite, port) {
  const cases = new Map();
  for (let n = 0; n < runs; n += 1) {
    for (const { title, error } of await run(suite, port)) {
      const seen = cases.get(title) ?? { passed: 0 };
      cases.set(title, { passed: seen.passed + (error === undefined), error: error ?? seen.error });
    }
  }
  return cases;
}

function reasonOf(suite, title) {
  const found = Object.entries(BY_DESIGN[suite.name]).find(([end]) => title.endsWith(` protocol ${end}`));
  return found?.[1];
}

/** How many cases passed, and how many of them not in every run. */
function passed(cases) {
  const counts = [...cases.values()].map(({ passed }) => passed).filter((count) => count > 0);
  const flaky = counts.filter((count) => count < runs).length;
  return flaky === 0 ? `${counts.length}` : `${counts.length}, ${flaky} of them not always`;
}

/** Prints how a case fared where it did not pass everywhere; whether Tidegate is at fault. */
function compare(suite, title, direct, gated) {
  if (direct.passed === runs && gated.passed === runs) return false;
  const reason = reasonOf(suite, title);
  const atFault = gated.passed < direct.passed && reason === undefined;
  const verdict = reason ? `by design: ${reason}` : (gated.error ?? direct.error);
  console.log(`  ${atFault ? "!" : " "} ${title}\n      ${direct.passed}, ${gated.passed} of ${runs}; ${verdict}`);
  return atFault;
}

async function main() {
  const upstream = await startServer();
  const rows = [];
  let faults = 0;
  for (const suite of suites) {
    console.log(`== ${suite.name}, ${runs} runs each: passes directly, passes through Tidegate`);
    const direct = await runAll(suite, upstream);
    const gated = await runAll(suite, await startGate(suite.path, upstream));
    for (const [title, seen] of direct) faults += compare(suite, title, seen, gated.get(title));
    const byDesign = [...direct.keys()].filter((title) => reasonOf(suite, title)).length;
    rows.push({ suite: suite.name, cases: direct.size, direct: passed(direct), tidegate: passed(gated), byDesign });
  }
  console.log("\n| suite | cases | pass directly | pass through Tidegate | differ by design |\n|---|---|---|---|---|");
  for (const { suite, cases, direct, tidegate, byDesign } of rows) {
    console.log(`| ${suite} | ${cases} | ${direct} | ${tidegate} | ${byDesign} |`);
  }
  return faults === 0 ? 0 : 1;
}

const code = await main().finally(() => children.forEach((child) => child.kill()));
process.exit(code);
