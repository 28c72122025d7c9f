// The quality of a connection, measured by questions that Tidegate itself answers.

import { linkOf, listen, type Connection, type Link } from "./link.js";

/** A grade of a connection: by the average round trip, below 100, 250 and 500 ms; `offline` without a connection. */
export type ConnectionQuality = "excellent" | "good" | "fair" | "poor" | "offline";

/** What was measured. */
export interface QualityMetrics {
  /** `good` while there is a connection and no answer yet: then `lastChecked` is `null`. */
  readonly quality: ConnectionQuality;
  /** The last round trip in milliseconds. `null`: none yet, or the last ping was lost. */
  readonly latency: number | null;
  /** The average of the last samples in milliseconds. `null`: none yet. */
  readonly avgLatency: number | null;
  /** How many of the last samples had no answer, in percent. */
  readonly packetLoss: number;
  /** Whether the standard deviation is below 30 % of the mean. */
  readonly isStable: boolean;
  /** When the last ping was answered or given up. `null`: never. */
  readonly lastChecked: Date | null;
}

/** How the quality is measured. */
export interface QualityOptions {
  /** Milliseconds between two pings; 10,000. */
  interval?: number | undefined;
  /** How many pings the average, the loss and the stability are of; 10. */
  samples?: number | undefined;
  /** Milliseconds until a ping counts as lost; 5,000. */
  timeout?: number | undefined;
  /** The event that the gate answers, its `[quality] ping_event`; `quality_ping`. */
  event?: string | undefined;
}

/** What these samples say; `null` is a ping that was lost. The newest is the last. */
export function measure(samples: readonly (number | null)[], connected: boolean, lastChecked: Date | null): QualityMetrics {
  const times = samples.filter((sample) => sample !== null);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const deviation = Math.sqrt(times.reduce((sum, time) => sum + (time - mean) ** 2, 0) / times.length);
  return {
    quality: !connected ? "offline" : mean < 100 ? "excellent" : mean < 250 ? "good" : mean < 500 ? "fair" : mean || samples.length ? "poor" : "good",
    latency: samples.at(-1) ?? null,
    avgLatency: times.length ? Math.round(mean) : null,
    packetLoss: Math.round((1 - times.length / samples.length) * 100) || 0,
    isStable: !(deviation >= 0.3 * mean && deviation),
    lastChecked,
  };
}

/** Measures a connection. Event `change` comes with each new `metrics`. It pauses while the page is hidden. */
export class ConnectionQualityMonitor extends EventTarget {
  /** What was measured last; the same object until something changes. */
  metrics: QualityMetrics = measure([], false, null);
  #link: Link;
  #options: QualityOptions;
  #samples: (number | null)[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #checking: Promise<QualityMetrics> | undefined;
  #end: (() => void) | undefined;

  constructor(socket: Connection, options: QualityOptions = {}) {
    super();
    this.#link = linkOf(socket);
    this.#options = options;
    this.#show();
  }

  /** Begins to measure: now, and every `interval`. */
  start(): void {
    if (this.#end) return;
    let was = false;
    const turn = () => {
      const { connected } = this.#link;
      // Another connection has another quality.
      if (was !== connected) this.#samples = [];
      was = connected;
      this.#show();
      clearInterval(this.#timer);
      if (!connected || globalThis.document?.hidden) return;
      this.#timer = setInterval(() => this.check(), this.#options.interval ?? 10_000);
      this.check();
    };
    const ends = [
      this.#link.watch(turn),
      listen(globalThis.document, ["visibilitychange"], turn),
      // They say nothing certain, but make it worth to ask.
      listen(globalThis, ["online", "offline"], turn),
    ];
    this.#end = () => ends.forEach((end) => end());
    turn();
  }

  /** Ends measuring; `metrics` stay. */
  stop(): void {
    clearInterval(this.#timer);
    this.#end?.();
    this.#end = undefined;
  }

  /** Measures once, now. A check under way is not begun a second time. */
  check(): Promise<QualityMetrics> {
    return (this.#checking ??= this.#check().finally(() => (this.#checking = undefined)));
  }

  async #check(): Promise<QualityMetrics> {
    const { event = "quality_ping", timeout = 5_000, samples: most = 10 } = this.#options;
    const samples = this.#samples;
    if (this.#link.connected) {
      const began = performance.now();
      const time = await this.#link.ping(event, timeout).then(
        () => Math.round(performance.now() - began),
        () => null,
      );
      // A page that was hidden or frozen has measured its own sleep; a connection that ended is no loss.
      if (this.#link.connected && samples === this.#samples && !globalThis.document?.hidden) {
        samples.push(time);
        samples.splice(0, samples.length - most);
        this.#show(new Date());
      }
    }
    return this.metrics;
  }

  #show(at = this.metrics.lastChecked): void {
    // The browser's word counts only beside a question that had no answer.
    const cut = globalThis.navigator?.onLine === false && this.#samples.at(-1) === null;
    this.metrics = measure(this.#samples, this.#link.connected && !cut, at);
    this.dispatchEvent(new Event("change"));
  }
}
