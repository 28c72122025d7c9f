// The page of the demo in Chromium: `node demo_page.mjs URL` presses its buttons and prints what the page shows then.
// `node demo_page.mjs URL FILE [WIDTH HEIGHT [dark] [whole]]` makes a picture of it while the service is dead.

import { writeFileSync } from "node:fs";
import { Page } from "./chromium.mjs";

const [url, file, width, height, ...more] = process.argv.slice(2);

const squares = (strip) => `Object.fromEntries(["waiting", "answered", "refused", "lost"].map((kind) =>
  [kind, document.querySelectorAll("#${strip} ." + kind).length]))`;
const connected = `document.getElementById("status-text").textContent === "connected, websocket"`;
const down = `document.getElementById("service").dataset.state === "down"`;
const told = (id) => `document.getElementById("${id}").textContent`;
const settled = `${told("deaths")}.startsWith("The service is back")`;

/** What is seen at one moment of an outage. */
const outage = `({ client: ${told("status-text")}, service: ${told("service-text")}, told: ${told("deaths")},
  waits: parseFloat(${told("wait")}), waiting: Number(${told("waiting")}), life: ${squares("life")} })`;

async function picture(page) {
  await page.press("kill");
  await page.until(`document.querySelectorAll("#life .waiting").length >= 14`);
  writeFileSync(file, await page.picture(more.includes("whole")));
}

async function play(page) {
  const seen = { yours: await page.text("yours-text") };

  await page.press("bad-token");
  await page.until(`${told("refusal")}.startsWith("connect_error")`);
  seen.badToken = await page.text("refusal");

  await page.press("burst");
  await page.until(`${told("tally")} !== ""`);
  seen.burst = { told: await page.text("tally"), last: await page.text("last-answer"), squares: await page.read(squares("strip")) };

  await page.press("kill");
  // A second press finds the button disabled.
  await page.read(`document.getElementById("kill").click()`);
  await page.until(`${down} && document.querySelectorAll("#life .waiting").length >= 2`);
  const early = await page.read(outage);
  // The visitor sends as well.
  await page.press("send");
  seen.lesson = { waiting: await page.text("ack") };
  await page.until(`${down} && document.querySelectorAll("#life .waiting").length >= 5`);
  seen.dead = [early, await page.read(outage)];
  await page.until(settled);
  seen.back = await page.read(outage);
  seen.lesson.answered = await page.text("ack");

  // A new try begins without what the last one left.
  await page.press("kill");
  seen.again = await page.read(outage);
  await page.until(settled);
  seen.disconnections = await page.text("disconnections");
  seen.complaints = page.complaints;
  process.stdout.write(`${JSON.stringify(seen)}\n`);
}

const page = await Page.open(url, { width: Number(width ?? 1280), height: Number(height ?? 800), dark: more.includes("dark") });
await page.until(connected);
await (file ? picture(page) : play(page));
page.close();
