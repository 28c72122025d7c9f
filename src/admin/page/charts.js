// Totals over the last five minutes: four small charts, made by uPlot.

import { $, compact, count, el, milliseconds, rate, write } from "./base.js";

const WINDOW = 300;
const HEIGHT = 104;
/** A rate is that of the last three events: they do not come exactly a second apart. */
const SMOOTH = 3;
/** Events that come at once, after a pause, show no rate. */
const SHORTEST = 0.5;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** What each chart shows of a point: its title, its lines with colours, and texts. */
const CHARTS = [
  {
    id: "open", title: "Sessions", lines: [["open", "accent", true]],
    big: (p) => [count(p.open), ""],
    keys: (p) => [["plain", `${count(p.active)} with a token`], p.held && ["plain", `${count(p.held)} held`], p.absent && ["plain", `${count(p.absent)} absent`]],
  },
  {
    id: "messages", title: "Messages a second", lines: [["received", "accent", true], ["sent", "second"]],
    big: (p) => [p.received === null ? "–" : rate(p.received + p.sent), ""],
    keys: (p) => p.received !== null && [["key-accent", `${rate(p.received)} in`], ["key-second", `${rate(p.sent)} out`]],
  },
  {
    id: "latency", title: "Time to an ack, last minute", lines: [["p50", "third"], ["p95", "accent", true], ["p99", "second"]],
    big: (p) => [p.p95 === null ? "–" : milliseconds(p.p95), p.p95 === null ? " no ack" : " ms at 95 %"],
    keys: (p) => p.p95 !== null && [["key-third", `${milliseconds(p.p50)} ms half`], ["key-second", `${milliseconds(p.p99)} ms at 99 %`]],
  },
  {
    id: "refusals", title: "Refused a second", lines: [["refused", "second", true], ["ended", "third"]],
    big: (p) => [p.refused === null ? "–" : rate(p.refused), ""],
    keys: (p) => p.refused !== null && [["key-second", "refused"], ["key-third", `${rate(p.ended)} sessions ended`]],
  },
];

const NAMES = ["open", "active", "held", "absent", "received", "sent", "p50", "p95", "p99", "refused", "ended"];
const history = { time: [], ...Object.fromEntries(NAMES.map((name) => [name, []])) };
const charts = [];
/** The counts of the last events, the oldest first. */
let counted = [];

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

/** The figures of one event. Rates need an event before, of the same run of the node. */
function pointOf(status, at) {
  const { sessions, totals, latency_ms: latency } = status;
  const now = {
    at, started: status.started_at, received: totals.received, sent: totals.sent,
    refused: sum(totals.refused), ended: sum(totals.disconnected),
  };
  if (counted.at(-1)?.started !== now.started) counted = [];
  const before = counted[0];
  const seconds = before ? at - before.at : 0;
  const perSecond = (name) => (seconds >= SHORTEST ? Math.max(0, now[name] - before[name]) / seconds : null);
  const point = {
    open: sessions.open, active: sessions.active, held: sessions.held, absent: sessions.absent,
    received: perSecond("received"), sent: perSecond("sent"), refused: perSecond("refused"), ended: perSecond("ended"),
    p50: latency?.p50 ?? null, p95: latency?.p95 ?? null, p99: latency?.p99 ?? null,
  };
  counted.push(now);
  if (counted.length > SMOOTH) counted.shift();
  return point;
}

/** One more event. Its moment is by the clock of the node: events come early and late. */
export function show(status) {
  const { at } = status;
  const point = pointOf(status, at);
  history.time.push(at);
  for (const name of NAMES) history[name].push(point[name]);
  while (history.time[0] < at - WINDOW) for (const list of Object.values(history)) list.shift();
  if (charts.length === 0) CHARTS.forEach(make);
  for (const chart of charts) draw(chart, at);
}

/** While the stream is lost, the lines have a gap. */
export function gap() {
  counted = [];
  if (history.time.length === 0) return;
  history.time.push(history.time.at(-1) + 0.5);
  for (const name of NAMES) history[name].push(null);
}

function draw(chart, at) {
  chart.plot.batch(() => {
    chart.plot.setData([history.time, ...chart.lines.map(([name]) => history[name])], false);
    chart.plot.setScale("x", { min: at - WINDOW, max: at });
  });
  tell(chart);
}

/** The figures of the moment under the pointer, or of now. */
function tell(chart) {
  const index = chart.plot?.cursor.idx ?? null;
  const at = index === null ? history.time.length - 1 : index;
  const point = Object.fromEntries(NAMES.map((name) => [name, history[name][at]]));
  if (point.open === null) return;
  const [figure, unit] = chart.big(point);
  write(chart.figure, figure);
  write(chart.unit, unit);
  write(chart.when, index === null ? "" : `${Math.round(history.time.at(-1) - history.time[at])} s ago`);
  const keys = (chart.keys(point) || []).filter(Boolean);
  while (chart.list.children.length > keys.length) chart.list.lastChild.remove();
  keys.forEach(([kind, text], index) => {
    const key = chart.list.children[index] ?? chart.list.appendChild(el("span"));
    if (key.className !== kind) key.className = kind;
    write(key, text);
  });
  chart.plot?.root.parentNode.setAttribute("aria-label", `${chart.title}: ${figure}${unit}`);
}

function make(described) {
  const chart = { ...described, figure: el("span"), unit: el("small"), when: el("span"), list: el("p", { className: "keys" }) };
  const place = el("div", { className: "plot", role: "img", "aria-label": chart.title });
  $("charts").append(el("article", { className: "card chart", id: `chart-${chart.id}` },
    el("h2", {}, el("span", {}, chart.title), chart.when), el("p", { className: "big" }, chart.figure, chart.unit), chart.list, place));
  const axis = { stroke: () => color("muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  const line = ([name, stroke, filled]) => ({
    label: name, stroke: () => color(stroke), width: 1.5, points: { show: false },
    fill: filled ? () => `color-mix(in srgb, ${color(stroke)} 14%, transparent)` : undefined,
  });
  chart.plot = new window.uPlot({
    width: place.clientWidth || 280, height: HEIGHT, padding: [9, 14, 0, 0], legend: { show: false },
    cursor: { sync: { key: "time" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { time: true }, y: { range: (_, __, most) => [0, nice(most)] } },
    axes: [
      { ...axis, size: 22, gap: 5, space: 62, incrs: [60, 120, 300], grid: { show: false }, values: (_, ticks) => ticks.map(clock) },
      { ...axis, size: 44, gap: 6, space: 34, grid: { stroke: () => color("line"), width: 1 }, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "" : tick % 1 ? String(tick) : compact(tick))) },
    ],
    series: [{}, ...chart.lines.map(line)],
    hooks: { setCursor: [() => tell(chart)] },
  }, [[], ...chart.lines.map(() => [])], place);
  new ResizeObserver(() => chart.plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  charts.push(chart);
}

/** The end of a scale: never below what is seen, and calm while that changes a little. */
function nice(most) {
  if (!most || most <= 0) return 1;
  const size = 10 ** Math.floor(Math.log10(most * 1.1));
  return [1, 2, 3, 4, 5, 6, 8, 10].find((times) => times * size >= most * 1.1) * size;
}

const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(({ plot }) => plot.redraw(false, true)));

