// The connection of this page: one stock Socket.IO socket, whose network can be cut.

import { $ } from "./basics.js";

const PATIENCE_MS = 20_000;
const CUT = "tidegate-demo-cut";

/** A socket of the stock client as it comes: it begins with polling and goes over to a websocket. */
export const open = (auth, more) => io({ auth, forceNew: true, ...more });

/** What a client shows. */
export const credentials = () => ({ token: $("token").value.trim(), learnerId: "ada" });

/** Event `change` after each change of `state` and `text`. */
class Connection extends EventTarget {
  socket = open((show) => show(credentials()), { autoConnect: false });
  /** "idle", "connecting", "connected", "refused" or "cut". */
  state = "idle";
  text = "not connected";
  disconnections = 0;

  constructor() {
    super();
    const { socket } = this;
    const connected = () => this.#show("connected", `connected, ${socket.io.engine.transport.name}`);
    socket.on("connect", () => {
      connected();
      socket.io.engine.once("upgrade", connected);
    });
    socket.on("connect_error", (error) =>
      socket.active ? this.#show("connecting", "trying again …") : this.#show("refused", error.message));
    socket.on("disconnect", (reason) => {
      this.disconnections += 1;
      if (!this.isCut) this.#show(socket.active ? "connecting" : "idle", reason);
    });
  }

  /** A reload does not bring the network back. */
  get isCut() {
    return sessionStorage.getItem(CUT) !== null;
  }

  connect() {
    if (this.isCut) return this.#show("cut", "offline");
    this.#show("connecting", "connecting …");
    this.socket.connect();
  }

  disconnect() {
    this.socket.disconnect();
    this.#show("idle", "not connected");
  }

  /** The transport closes without a word of Socket.IO, and no other is opened. */
  cut() {
    sessionStorage.setItem(CUT, "yes");
    this.socket.io.reconnection(false);
    if (this.socket.connected) this.socket.io.engine.close();
    else this.socket.disconnect();
    this.#show("cut", "offline");
  }

  repair() {
    sessionStorage.removeItem(CUT);
    this.socket.io.reconnection(true);
    this.connect();
  }

  /** The session of this page in the list of the gate, which has a hash of its id. */
  async among(sessions) {
    const id = this.socket.io.engine?.id;
    if (!id || !crypto.subtle) return undefined;
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(id)));
    const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return sessions.find(({ sid_hash: known }) => known && hex.startsWith(known));
  }

  #show(state, text) {
    this.state = state;
    this.text = text;
    this.dispatchEvent(new Event("change"));
  }
}

export const connection = new Connection();

/**
 * Sends without the queue. Never rejects. The outcome is "answered", "refused" (by the gate) or "lost"; `text` says what
 * really happened.
 */
export async function ask(socket, event, data) {
  const sent = performance.now();
  const done = (outcome, text, answer) => ({ outcome, text, answer, sent, ms: performance.now() - sent });
  try {
    const answer = await socket.timeout(PATIENCE_MS).emitWithAck(event, data);
    if (answer.rateLimited) return done("refused", "answered by Tidegate: over the limit", answer);
    if (answer.retriable) return done("lost", "failed: the service was restarted before it answered", answer);
    return done("answered", "answered by the service", answer);
  } catch (error) {
    return done("lost", socket.connected ? `failed: no ack within ${PATIENCE_MS / 1000} s` : `failed: ${error.message}`);
  }
}
