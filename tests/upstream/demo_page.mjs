// The page of the demo in Chromium: `node demo_page.mjs URL` presses its buttons and prints what the page shows then.
// `node demo_page.mjs URL FILE [WIDTH HEIGHT [dark] [whole]]` makes a picture of it while the service is dead.

import { writeFileSync } from "node:fs";
import { Page } from "./chromium.mjs";

const [url, file, width, height, ...more] = process.argv.slice(2);
const OFFLINE = 10;
/** The service is dead for longer than the page says, so that a slow machine has the time to look; it is revived once all was seen. */
const DEAD_FOR_LONG = `const ask = window.fetch;
  window.fetch = (what, ...more) => ask(String(what).replace("/kill?seconds=5", "/kill?seconds=25"), ...more);`;

const element = (id) => `document.getElementById("${id}")`;
const told = (id) => `${element(id)}.textContent`;
const squares = (strip) => `Object.fromEntries(["waiting", "answered", "refused", "lost"].map((kind) =>
  [kind, document.querySelectorAll("#${strip} ." + kind).length]))`;
const connected = `${told("status-text")} === "connected, websocket"`;
const service = `${element("service")}.dataset.state`;
const badge = `(${element("badge")}.shadowRoot ?? ${element("badge")}).textContent.replace(/\\s+/g, " ").trim()`;
const stepTold = (id) => `document.querySelector("#step-${id} .told").textContent`;
const ended = (id) => `["done", "trouble"].includes(${element(`step-${id}`)}.dataset.state)`;
const bubbles = `Array.from(document.querySelectorAll("#bubbles .me"), (each) =>
  [each.querySelector("p").textContent, each.dataset.state, each.querySelector("small").textContent])`;
const last = `(${bubbles}).at(-1)`;
const figures = `Object.fromEntries(["waiting", "delivered", "dropped", "failed"].map((id) => [id, Number(document.getElementById(id).textContent)]))`;

/** Of rules of accessibility, in all states that were looked at. */
const violations = [];

async function begin(page, id) {
  const button = `document.querySelector("#step-${id} > button")`;
  await page.until(`!${button}.disabled`);
  await page.read(`${button}.click()`);
}

const chip = (page, selector) => page.read(`document.querySelector("#chips ${selector}").click()`);
const write = (page, text) => page.read(`${element("input")}.value = ${JSON.stringify(text)}; ${element("send")}.click()`);

async function delay(page, ms) {
  await page.read(`${element("delay")}.value = "${ms}"; ${element("delay")}.dispatchEvent(new Event("change"))`);
}

async function killed(page) {
  await begin(page, "kill");
  const waits = (count) => page.until(`${service} === "down" && document.querySelectorAll("#life .waiting").length >= ${count}`);
  const look = () => page.read(`({ client: ${told("status-text")}, service: ${told("service-text")}, told: ${stepTold("kill")}, life: ${squares("life")} })`);
  await waits(2);
  const early = await look();
  await chip(page, "[data-action=get_recommendation]");
  await page.until(`${last}[1] === "gate"`);
  const chat = [await page.read(last)];
  await waits(5);
  const late = await look();
  violations.push(...await page.violations());
  await page.press("kill");
  await page.until(ended("kill"));
  await page.until(`${last}[1] === "answered"`);
  chat.push(await page.read(last));
  return { early, late, chat, life: await page.read(squares("life")), told: await page.read(stepTold("kill")) };
}

async function tunnel(page) {
  await begin(page, "network");
  await page.until(`${badge}.includes("Offline")`);
  const offline = { badge: await page.read(badge), client: await page.read(told("status-text")) };
  await page.until(ended("network"));
  return { offline, squares: await page.read(squares("tunnel")), told: await page.read(stepTold("network")) };
}

/** Written offline by hand, with a reload before the network is back. */
async function reloaded(page) {
  const before = await page.read(`${bubbles}.length`);
  await page.press("network");
  for (let count = 1; count <= OFFLINE; count += 1) await write(page, `By hand, ${count}`);
  const written = await page.read(figures);
  await page.reload();
  await page.until(`${told("waiting")} === "${OFFLINE}"`);
  violations.push(...await page.violations());
  const waiting = { client: await page.read(told("status-text")), figures: await page.read(figures) };
  await page.press("network");
  await page.until(`${bubbles}.slice(${before}).filter((each) => each[1] === "answered").length === ${OFFLINE}`);
  await page.until(`${told("waiting")} === "0"`);
  return { written, waiting, arrived: (await page.read(bubbles)).slice(before) };
}

async function killedBetween(page) {
  await chip(page, "[data-think]");
  await page.until(`${last}[1] === "sent"`);
  await page.press("kill");
  await page.until(`${service} === "down"`);
  await page.press("kill");
  await page.until(`${last}[1] === "answered"`);
  return page.read(last);
}

async function overfull(page) {
  await page.press("network");
  await page.press("fill");
  await page.until(`${told("dropped")} !== "0"`);
  const seen = { figures: await page.read(figures), told: await page.read(told("queue-told")) };
  await page.press("clear");
  await page.press("network");
  return { ...seen, cleared: await page.read(figures) };
}

async function slow(page) {
  const grades = [];
  const is = async (grade) => grades.push((await page.until(`${badge}.match(/${grade}/i)?.[0]`)).toLowerCase());
  await is("excellent|good");
  await delay(page, 300);
  await is("fair|poor");
  await delay(page, 0);
  await is("excellent|good");
  await begin(page, "delay");
  await page.until(ended("delay"));
  return { grades, told: await page.read(stepTold("delay")) };
}

async function play(page) {
  const seen = { yours: await page.text("yours-text") };

  await page.press("bad-token");
  await page.until(`${told("refusal")}.startsWith("connect_error")`);
  seen.badToken = await page.text("refusal");

  seen.killed = await killed(page);
  seen.tunnel = await tunnel(page);

  await begin(page, "burst");
  await page.until(ended("burst"));
  seen.burst = { told: await page.read(stepTold("burst")), last: await page.text("last-answer"), squares: await page.read(squares("strip")), log: await page.text("limit-log") };

  seen.slow = await slow(page);
  seen.reloaded = await reloaded(page);
  seen.between = await killedBetween(page);
  seen.overfull = await overfull(page);
  Object.assign(seen, { complaints: page.complaints, violations: [...violations, ...await page.violations()] });
  process.stdout.write(`${JSON.stringify(seen)}\n`);
}

async function picture(page) {
  await chip(page, "[data-action=start_session]");
  await begin(page, "kill");
  await page.until(`document.querySelectorAll("#life .waiting").length >= 10`);
  await chip(page, "[data-tutor]");
  await page.until(`document.querySelectorAll("#life .waiting").length >= 14`);
  writeFileSync(file, await page.picture(more.includes("whole")));
  // The next picture needs the service, which serves the page.
  await page.until(ended("kill"));
}

const before = file ? "" : DEAD_FOR_LONG;
const page = await Page.open(url, { width: Number(width ?? 1280), height: Number(height ?? 800), dark: more.includes("dark"), before });
await page.until(connected);
await (file ? picture(page) : play(page));
page.close();
