// Chromium without a screen, driven over its DevTools protocol: a page is opened, pressed, read and pictured.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import WebSocket from "ws";

const BETWEEN_LOOKS_MS = 25;
const PATIENCE_MS = 40_000;

/** What an expression becomes that is asked while one page takes the place of another. */
const IS_BETWEEN_PAGES = /navigated or closed|context was destroyed|Cannot find .*context|Promise was collected/;

/** Of the last question to a browser. */
let lastId = 0;

export class Page {
  /** A page of this size, in a browser of its own; `dark` is its colour scheme, `before` a script that runs before its own. */
  static async open(url, { width = 1280, height = 800, dark = false, before = "" } = {}) {
    const page = new Page();
    page.profile = mkdtempSync(join(tmpdir(), "tidegate-chromium-"));
    page.browser = spawn("chromium", [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
      "--remote-debugging-port=0", `--user-data-dir=${page.profile}`, "about:blank",
    ], { stdio: ["ignore", "ignore", "pipe"], detached: true, env: { ...process.env, TMPDIR: page.profile } });
    // Also if the caller fails.
    process.once("exit", () => page.close());
    const devtools = await new Promise((found, failed) => {
      createInterface(page.browser.stderr).on("line", (line) => {
        const address = line.match(/DevTools listening on (ws:\S+)/);
        if (address) found(address[1]);
      });
      page.browser.once("error", failed);
      page.browser.once("exit", () => failed(new Error("chromium has ended")));
    });
    page.socket = new WebSocket(devtools);
    await new Promise((opened, failed) => page.socket.once("open", opened).once("error", failed));
    await page.#begin(url, { width, height, dark, before });
    return page;
  }

  /** The size and the colour scheme from now on. */
  async look({ width, height, dark }) {
    await this.#ask("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    const features = [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }];
    await this.#ask("Emulation.setEmulatedMedia", { features });
  }

  /** Another page of the same browser, with the same storage and locks. */
  async tab(url) {
    const tab = new Page();
    tab.socket = this.socket;
    await tab.#begin(url, { width: 1280, height: 800, dark: false });
    return tab;
  }

  async #begin(url, { width, height, dark, before = "" }) {
    this.answers = new Map();
    this.complaints = [];
    this.socket.on("message", (data) => this.#heard(JSON.parse(data)));
    const { targetId } = await this.#ask("Target.createTarget", { url: "about:blank" });
    ({ sessionId: this.session } = await this.#ask("Target.attachToTarget", { targetId, flatten: true }));
    await this.look({ width, height, dark });
    // Else a page behind another one is hidden, and pauses.
    await this.#ask("Emulation.setFocusEmulationEnabled", { enabled: true });
    for (const domain of ["Runtime", "Log", "Page", "Network"]) await this.#ask(`${domain}.enable`);
    await this.#ask("Page.addScriptToEvaluateOnNewDocument", { source: before });
    const { errorText } = await this.#ask("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.until("document.readyState === 'complete'");
  }

  /** Whether the browser believes that it has a network. */
  async online(is) {
    await this.#ask("Network.emulateNetworkConditions", { offline: !is, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  }

  /** Its process dies without a word. */
  crash() {
    // It is never answered.
    this.#ask("Page.crash").catch(() => {});
  }

  /** The value of an expression in the page. */
  async read(expression) {
    const { result, exceptionDetails } = await this.#ask("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Waits until an expression is true in the page, and returns its value. */
  async until(expression) {
    for (const deadline = Date.now() + PATIENCE_MS; ;) {
      const value = await this.read(expression).catch((error) => {
        if (!IS_BETWEEN_PAGES.test(error.message)) throw error;
      });
      if (value) return value;
      if (Date.now() > deadline) throw new Error(`waited in vain for ${expression}\n${await this.read("document.body.innerText")}`);
      await new Promise((done) => setTimeout(done, BETWEEN_LOOKS_MS));
    }
  }

  /** Loads the page again. */
  async reload() {
    await this.read("window.before = true");
    await this.#ask("Page.reload");
    await this.until("!window.before && document.readyState === 'complete'");
  }

  /** Presses a button as soon as it can be pressed. */
  async press(id) {
    await this.until(`document.getElementById("${id}").disabled === false`);
    await this.read(`document.getElementById("${id}").click()`);
  }

  text(id) {
    return this.read(`document.getElementById("${id}").textContent`);
  }

  /** What axe-core finds in the page as it is now, with what to do about it. */
  async violations() {
    await this.read(`${readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")}; 0`);
    return this.read(`axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => [id, ...target, failureSummary].join(" "))))`);
  }

  /** A PNG of what is in sight, or of the whole page. */
  async picture(whole = false) {
    const { data } = await this.#ask("Page.captureScreenshot", { format: "png", captureBeyondViewport: whole });
    return Buffer.from(data, "base64");
  }

  /** Ends the browser with all of its processes. */
  close() {
    if (!this.browser?.pid) return;
    try {
      process.kill(-this.browser.pid, "SIGKILL");
    } catch { /* it has ended */ }
    this.browser = null;
    this.socket?.terminate();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20 });
  }

  #ask(method, params = {}) {
    const id = (lastId += 1);
    this.socket.send(JSON.stringify({ id, method, params, sessionId: this.session }));
    return new Promise((answered, failed) => this.answers.set(id, { answered, failed }));
  }

  #heard({ id, result, error, method, params, sessionId }) {
    const waits = this.answers.get(id);
    if (error) waits?.failed(new Error(error.message));
    else waits?.answered(result);
    if (sessionId !== this.session) return;
    if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.exception?.description);
    if (method === "Runtime.consoleAPICalled" && params.type === "error") this.complaints.push(JSON.stringify(params.args));
    if (method === "Log.entryAdded" && params.entry.level === "error") this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
  }
}
