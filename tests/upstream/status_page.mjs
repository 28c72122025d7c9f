// The status page in Chromium: `node status_page.mjs picture URL FILE WIDTH HEIGHT [dark] [whole]` makes a picture of it.
// `node status_page.mjs play URL TOKEN GATE ADA BOB` does what an operator does, with two clients of the gate that have these
// tokens, and prints what the page shows. It prints a line when the gate may be stopped, and another one behind that.

import { writeFileSync } from "node:fs";
import { io } from "socket.io-client";
import { Page } from "./chromium.mjs";
import { FASTER } from "./status_haste.mjs";

const [mode, url, ...args] = process.argv.slice(2);

const users = `[...document.querySelectorAll("#rows .who button")].map((one) => one.textContent)`;
const live = (state) => `document.getElementById("live").dataset.state === "${state}"`;
const isOpen = (id) => `document.getElementById("${id}").open`;
const are = (...names) => `JSON.stringify(${users}) === ${JSON.stringify(JSON.stringify(names))}`;

const type = (page, id, text) => page.read(`(() => {
  const field = document.getElementById(${JSON.stringify(id)});
  field.value = ${JSON.stringify(text)};
  field.dispatchEvent(new Event("input", { bubbles: true }));
})()`);

/** The clocks of a page that are faster than others by as much as the events of status_figures.mjs. */
const HASTE = `
  const [date, clock, later] = [Date.now, performance.now.bind(performance), setTimeout];
  const began = date();
  Date.now = () => began + (date() - began) * ${FASTER};
  performance.now = () => clock() * ${FASTER};
  // What a page does every other second, but not how long it waits for a busy machine.
  window.setTimeout = (act, after, ...more) => later(act, after <= 2000 ? after / ${FASTER} : after, ...more);
`;

async function picture() {
  const [file, width, height, ...more] = args;
  const page = await Page.open(url, { width: Number(width), height: Number(height), dark: more.includes("dark"), before: HASTE });
  // The charts have five minutes by then.
  await page.until(`[...document.querySelectorAll(".spark polyline")].some((line) => (line.getAttribute("points") ?? "").split(" ").length >= 30)`);
  await page.until(`performance.now() > 305_000`);
  writeFileSync(file, await page.picture(more.includes("whole")));
  if (more.includes("axe")) console.log(JSON.stringify(await page.violations(), null, 1));
  const wide = await page.read("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  if (wide > 0) throw new Error(`the page is ${wide} pixels too wide`);
  if (page.complaints.length > 0) throw new Error(page.complaints.join("\n"));
  page.close();
}

/** A client of the gate that stays away once it was closed, and how it ended. */
function client(gate, token) {
  const socket = io(gate, { auth: { token }, transports: ["websocket"], reconnection: false });
  const ended = new Promise((done) => socket.once("disconnect", done));
  return { socket, ended, connected: new Promise((done, failed) => socket.once("connect", done).once("connect_error", failed)) };
}

async function play() {
  const [token, gate, adasToken, bobsToken] = args;
  const seen = {};
  const page = await Page.open(url, { width: 1280, height: 900 });

  // Without the token nothing is shown.
  await page.until(isOpen("token-dialog"));
  seen.lockedFigures = await page.read(`document.getElementById("figures").hidden`);
  seen.violations = { locked: await page.violations() };
  const enter = async (text) => {
    await type(page, "token", text);
    await page.read(`document.getElementById("token-form").requestSubmit()`);
  };
  await enter("not-the-token");
  await page.until(`document.getElementById("token-error").textContent !== ""`);
  seen.wrong = await page.text("token-error");
  await enter(token);
  await page.until(`${live("live")} && !${isOpen("token-dialog")}`);
  await page.until(`!document.getElementById("empty").hidden`);
  seen.empty = await page.text("empty-text");

  // Sessions appear; one is searched for.
  const ada = client(gate, adasToken);
  await ada.connected;
  await page.until(are("ada"));
  const bob = client(gate, bobsToken);
  await bob.connected;
  await page.until(are("bob", "ada"));
  await page.read(`document.querySelector("[data-sort=user] button").click()`);
  await page.until(are("ada", "bob"));
  await type(page, "search", "BO");
  await page.until(are("bob"));
  seen.matches = await page.text("total");
  await type(page, "search", "nobody-has-this-name");
  await page.until(`!document.getElementById("clear").hidden && !document.getElementById("empty").hidden`);
  await page.press("clear");
  await page.until(are("ada", "bob"));

  for (const [name, look] of Object.entries({
    light: { width: 1280, height: 900 }, dark: { width: 1280, height: 900, dark: true },
    phone: { width: 360, height: 780 }, phoneDark: { width: 360, height: 780, dark: true },
  })) {
    await page.look(look);
    seen.violations[name] = await page.violations();
    seen.tooWide = Math.max(seen.tooWide ?? 0, await page.read("document.documentElement.scrollWidth - document.documentElement.clientWidth"));
  }
  await page.look({ width: 1280, height: 900 });
  await page.press("show-config");
  await page.until(isOpen("config-dialog"));
  seen.config = await page.text("config");
  seen.violations.config = await page.violations();
  await page.read(`document.getElementById("config-dialog").close()`);

  // One is closed, after a question; the tokens of the other are revoked.
  await page.read(`document.querySelector("#rows tr .end").click()`);
  await page.until(isOpen("confirm-dialog"));
  seen.question = await page.text("confirm-title");
  seen.violations.confirm = await page.violations();
  await page.press("confirm");
  seen.adaEnded = await ada.ended;
  await page.until(are("bob"));
  seen.closed = await page.text("toast");
  await page.read(`document.querySelector("#rows .who button").click()`);
  await page.until(isOpen("session-dialog"));
  seen.violations.session = await page.violations();
  await page.press("revoke");
  await page.until(isOpen("confirm-dialog"));
  await page.press("confirm");
  seen.bobEnded = await bob.ended;
  await page.until(`!document.getElementById("empty").hidden`);
  await page.until(`document.getElementById("toast").textContent.includes("revoked")`);
  seen.ended = await page.read(`document.getElementById("ended").textContent`);
  seen.charts = await page.read(`document.querySelectorAll(".chart canvas").length`);
  seen.complaints = page.complaints;
  console.log(JSON.stringify(seen));

  await page.until(live("lost"));
  console.log(JSON.stringify({ lost: await page.text("live-text") }));
  page.close();
  process.exit();
}

await (mode === "picture" ? picture() : play());
