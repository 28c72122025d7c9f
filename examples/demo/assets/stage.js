// The controls of the demo, outside of the service: they answer while it is dead, and are not delayed.

import { sleep } from "./basics.js";

const LOOK_EVERY_MS = 300, SESSIONS_EVERY_MS = 1000;

/** Event `state` after each look, `log` with new lines of the gate's log, `sessions` with the gate's list of sessions. */
class Stage extends EventTarget {
  /** Milliseconds until the service is back; `null` while it lives; `undefined` before the first look. */
  backInMs = undefined;
  delayMs = 0;
  lines = [];
  sessions = [];
  #last = 0;

  get down() {
    return typeof this.backInMs === "number";
  }

  kill(seconds) {
    return this.#act(`/kill?seconds=${seconds}`);
  }

  revive() {
    return this.#act("/revive");
  }

  delay(ms) {
    return this.#act(`/delay?ms=${ms}`);
  }

  async keepLooking() {
    this.#keepListing();
    for (;;) {
      try {
        this.#took(await this.#ask(`/state?after=${this.#last}`));
      } catch {
        this.backInMs = undefined;
        this.dispatchEvent(new Event("state"));
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  async #keepListing() {
    for (;;) {
      try {
        this.sessions = (await this.#ask("/sessions")).sessions;
        this.dispatchEvent(new Event("sessions"));
      } catch { /* the next look may find it */ }
      await sleep(SESSIONS_EVERY_MS);
    }
  }

  async #act(path) {
    this.#took(await this.#ask(path, { method: "POST" }));
  }

  async #ask(path, options) {
    const response = await fetch(document.body.dataset.stage + path, options);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.json();
  }

  #took({ backInMs, delayMs, log }) {
    this.backInMs = backInMs;
    this.delayMs = delayMs;
    if (log.lines.length) {
      this.#last = log.last;
      this.lines.push(...log.lines);
      this.dispatchEvent(new CustomEvent("log", { detail: log.lines }));
    }
    this.dispatchEvent(new Event("state"));
  }
}

export const stage = new Stage();
