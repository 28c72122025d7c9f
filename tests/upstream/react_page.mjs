// The React example in Chromium, between its user and the service: `node react_page.mjs GATE ADMIN SERVICE_PORT TOKEN WAY` builds
// the page, starts the service, plays, and prints what the page showed and what the service received. WAY is "socket.io", or
// "websocket" where the gate has a bridge at /ws.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Page } from "./chromium.mjs";
import { Line } from "./line.mjs";

const [gate, admin, port, token, way] = process.argv.slice(2);
const EXAMPLE = new URL("../../examples/react/", import.meta.url).pathname;
const CLIENT = new URL("../../client/src/", import.meta.url).pathname;
const PATIENCE_MS = 40_000, LOOK_EVERY_MS = 50;
const OFFLINE = 10, MORE_THAN_FIT = 101;

async function until(what, look) {
  for (const deadline = Date.now() + PATIENCE_MS; ; ) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  }
}

/* the service */

let service = null;

async function startService() {
  service = spawn("node", ["service.mjs", port], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((listening, failed) => {
    createInterface(service.stdout).once("line", listening);
    service.once("exit", () => failed(new Error("the service has ended")));
  });
  service.removeAllListeners("exit");
}

async function killService() {
  const ended = new Promise((done) => service.once("exit", done));
  service.kill("SIGKILL");
  await ended;
}

/** What the tutor was asked since the service started, in order. */
async function heard() {
  const { events } = await (await fetch(`http://127.0.0.1:${port}/seen`)).json();
  return events.filter(({ event }) => event === "agent:tutor").map(({ args }) => args[0].input);
}

const heardOf = async (beginning) => (await heard()).filter((input) => input.startsWith(beginning));

/** How many questions for the tutor the gate has received. */
async function received() {
  const metrics = await (await fetch(`${admin}/metrics/prometheus`)).text();
  return Number(metrics.match(/^websocket_messages_received_total\{[^}]*event="agent:tutor"[^}]*\} (\d+)/m)?.[1] ?? 0);
}

/* the page */

const find = (selector) => `document.querySelector(${JSON.stringify(selector)})`;
const badge = `(${find("header .badge")}?.textContent ?? "")`;
const grade = `(${find("main .card")}?.getAttribute("data-tone") ?? "")`;
const queued = `Number(${find("#queue-size")}?.dataset.size ?? -1)`;
const lines = `Array.from(document.querySelectorAll("[role=log] li"), (line) => line.textContent)`;

/** As a person does: React listens to the event. */
const type = (page, selector, text) => page.read(`{
  const field = ${find(selector)};
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, ${JSON.stringify(text)});
  field.dispatchEvent(new Event("input", { bubbles: true }));
}`);

async function write(page, text) {
  await type(page, "#input", text);
  // The form reads what React has rendered.
  await page.until(`${find("#input")}.value === ${JSON.stringify(text)}`);
  await page.read(`${find(".chat form button")}.click()`);
  await page.until(`${find("#input")}.value === ""`);
}

async function login(page) {
  await page.until(`${find("#token")} !== null`);
  await type(page, "#token", token);
  await page.read(`${find(".login button.main")}.click()`);
}

const measured = (page) => page.until(`/\\d+\\sms/.test(${badge}) && ${badge}`);

/** The grades at each check, from the first check after the line was slowed until one of these. */
async function gradesUntil(page, wanted) {
  const lastCheck = `${find("main .card dl > div:last-child dd")}.textContent`;
  const grades = [];
  for (let before = await page.read(lastCheck); !wanted.includes(grades.at(-1)) && grades.length < 10; ) {
    before = await page.until(`${lastCheck} !== ${JSON.stringify(before)} && ${lastCheck}`);
    grades.push(await page.read(grade));
  }
  return grades;
}

/* what happens */

async function quality(page, line) {
  const seen = { badge: await measured(page) };
  line.delayMs = 150;
  await page.until(`${grade} !== "excellent"`);
  line.delayMs = 300;
  seen.slowed = await gradesUntil(page, ["fair", "poor"]);
  line.delayMs = 0;
  return seen;
}

/** Ten messages, a reload, and the network again. */
async function offline(page, line) {
  line.cut();
  await page.online(false);
  await page.until(`${badge}.includes("Offline")`);
  const seen = { badge: await page.read(badge) };
  for (let count = 1; count <= OFFLINE; count += 1) await write(page, `offline ${count}`);
  seen.written = await page.until(`${queued} >= ${OFFLINE} && ${queued}`);
  await page.online(true);
  await page.reload();
  await page.until(`${queued} === ${OFFLINE}`);
  seen.heardMeanwhile = await heardOf("offline");
  line.repair();
  await page.until(`${queued} === 0`);
  seen.heard = await heardOf("offline");
  await page.until(`${lines}.filter((line) => line.startsWith("you: offline")).length >= ${OFFLINE}`);
  return seen;
}

/** The service has the message, and dies before it answers. */
async function killedBetween(page) {
  const before = await received();
  service.kill("SIGSTOP");
  await write(page, "killed between");
  await until("the gate has the message", async () => (await received()) > before);
  await killService();
  const waits = await page.read(queued);
  await startService();
  await page.until(`${queued} === 0`);
  return { waits, heard: await heardOf("killed between") };
}

async function overfull(page, line) {
  line.cut();
  for (let count = 1; count <= MORE_THAN_FIT; count += 1) await write(page, `many ${count}`);
  await page.until(`${queued} === ${MORE_THAN_FIT - 1}`);
  const told = await page.until(`${lines}.find((line) => line.includes("dropped"))`);
  const kept = await page.read(`Object.values(localStorage).join().includes("many ${MORE_THAN_FIT}")`);
  await page.read(`${find(".queue button")}.click()`);
  await page.until(`${queued} === 0`);
  line.repair();
  await measured(page);
  return { told, kept };
}

/** Both write while the network is away; one dies with what it has written. */
async function tabs(page, line) {
  const other = await page.tab(line.url);
  await login(other);
  await measured(other);
  line.cut();
  for (let count = 1; count <= 3; count += 1) {
    await write(page, `first tab ${count}`);
    await write(other, `second tab ${count}`);
  }
  line.repair();
  await page.until(`${queued} === 0`);
  await other.until(`${queued} === 0`);
  const both = { first: await heardOf("first tab"), second: await heardOf("second tab") };

  await measured(other);
  line.cut();
  for (let count = 1; count <= 3; count += 1) await write(other, `crashed ${count}`);
  other.crash();
  line.repair();
  await until("the other tab has sent what was left", async () => (await heardOf("crashed")).length >= 3);
  return { ...both, crashed: await heardOf("crashed") };
}

/** A plain WebSocket in the page, the same service behind it. */
async function bridged(page) {
  await page.read(`Array.from(document.querySelectorAll("nav button")).find((each) => each.textContent === "plain WebSocket").click()`);
  const seen = { badge: await measured(page) };
  await write(page, "over the bridge");
  seen.answer = await page.until(`${lines}.find((line) => line.startsWith("tutor") && line.includes("over the bridge"))`);
  return { ...seen, heard: await heardOf("over the bridge") };
}

const built = mkdtempSync(join(tmpdir(), "tidegate-react-"));
process.once("exit", () => {
  rmSync(built, { recursive: true, force: true });
  service?.kill("SIGKILL");
});
const { build } = await import(`${EXAMPLE}node_modules/vite/dist/node/index.js`);
// From the sources of the package, so that a package that was built earlier is not what is tested.
const alias = [
  { find: /^@tidegate\/client$/, replacement: `${CLIENT}index.ts` },
  { find: /^@tidegate\/client\/react$/, replacement: `${CLIENT}react/index.ts` },
];
await build({ root: EXAMPLE, logLevel: "error", resolve: { alias }, build: { outDir: built, emptyOutDir: true } });
await startService();
const line = await Line.start(built, gate, ["/socket.io", "/ws"]);
const page = await Page.open(line.url);
await page.until(`${find("#token")} !== null`);
const violations = await page.violations();
await login(page);
const seen = way === "websocket" ? { bridged: await bridged(page) } : {
  quality: await quality(page, line),
  offline: await offline(page, line),
  killed: await killedBetween(page),
  overfull: await overfull(page, line),
  tabs: await tabs(page, line),
};
seen.violations = [...violations, ...await page.violations()];
process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit(0));
