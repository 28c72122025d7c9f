// What badge, indicator and card show, as a function of what is known. React and the custom elements draw it.

import type { QualityMetrics } from "./monitor.js";

/** Where a connection stands. */
export type ConnectionStatus = "connecting" | "connected" | "disconnected" | "error" | "reconnecting";

/** How much is shown: dot and latency; bars, grade and latency; everything. */
export type Variant = "badge" | "indicator" | "card";

/** An element: its name, its attributes, what is in it. The shape depends on the variant alone. */
export type Tree = [tag: string, attributes: Record<string, string>, ...children: (Tree | string)[]];

const GRADES = ["offline", "poor", "fair", "good", "excellent"];
const WORDS = { connecting: "Connecting…", reconnecting: "Reconnecting…", error: "Connection failed", disconnected: "Offline", connected: "Measuring…" };

/** What to show of this connection. Without `metrics` only its status is known. */
export function view(variant: Variant, status: ConnectionStatus, metrics?: QualityMetrics | null, className = ""): Tree {
  const known = status === "connected" && metrics?.lastChecked ? metrics : undefined;
  const tone = known?.quality ?? (status === "disconnected" || status === "error" ? "offline" : "waiting");
  const word = known ? tone[0]!.toUpperCase() + tone.slice(1) : WORDS[status];
  const number = (value: number | null | undefined) => (value == null ? "" : value + " ms");
  const latency = number(known?.latency);
  const average = number(known?.avgLatency);
  const span = (name: string, ...children: (Tree | string)[]): Tree => ["span", { class: "tg-" + name }, ...children];
  const bars = span("bars", ...[1, 2, 3, 4].map((bar): Tree => ["i", { class: bar > GRADES.indexOf(tone) ? "tg-off" : "" }]));
  const hides = variant === "badge" && latency;
  // Heard when the grade changes, and not with each latency.
  const label: Tree = [
    "span",
    { class: "tg-label" + (hides ? " tg-hidden" : ""), "aria-live": "polite", "aria-atomic": "true" },
    span("hidden", "Connection: "),
    word,
  ];
  const head = [variant === "badge" ? span("dot") : bars, label, span("value", latency)];
  const root = { class: `tidegate-quality tg-${variant} ${className}`.trim(), "data-tone": tone, title: hides ? word : "" };
  if (variant !== "card") return ["span", root, ...head];
  const rows: [string, string | undefined][] = [
    ["Average", average],
    ["Packet loss", known && known.packetLoss + " %"],
    ["Stability", average && (known?.isStable ? "Stable" : "Unstable")],
    ["Last check", metrics?.lastChecked?.toLocaleTimeString()],
  ];
  return [
    "div",
    root,
    ["div", { class: "tg-head" }, ...head],
    ["dl", {}, ...rows.map(([name, value]): Tree => ["div", {}, ["dt", {}, name], ["dd", {}, value || "–"]])],
  ];
}
