// The public suites, run directly and through Tidegate, and compared case by case with `expected.txt`.
// scripts/conformance prepares the copies of the suites and starts this.

import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { autobahnSuite } from "./autobahn.mjs";
import { readExpected } from "./expected.mjs";
import { endAll } from "./gate.mjs";
import { packageSuite } from "./packages.mjs";
import { protocolSuite } from "./protocol.mjs";
import { pythonSuite } from "./python.mjs";

const SUITES = [
  protocolSuite("engine.io-protocol", "/engine.io/", "Engine.IO protocol"),
  protocolSuite("socket.io-protocol", "/socket.io/", "Socket.IO protocol"),
  packageSuite("socket.io"),
  packageSuite("socket.io-client", ["test/support/hooks.ts"]),
  pythonSuite,
  autobahnSuite,
];

/** How often a suite is run at most, to tell what fails now and then from what fails. */
const MOST_RUNS = 3;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tidegate: { type: "string" }, copies: { type: "string" }, python: { type: "string" }, runs: { type: "string" } },
});
const environment = {
  program: resolve(values.tidegate),
  copies: resolve(values.copies),
  python: resolve(values.python, "bin/python"),
  kosoku: resolve(values.python, "bin/kosoku"),
};

/** Adds a run to what was seen of each case. */
async function runOnce(suite, gated, seen) {
  for (const { title, error } of numbered(await suite.run({ ...environment, gated }))) {
    const before = seen.get(title) ?? { runs: 0, passed: 0 };
    const passed = before.passed + (error === undefined);
    seen.set(title, { runs: before.runs + 1, passed, error: error ?? before.error });
  }
}

/** The cases, with numbers behind titles that are there before. */
function numbered(cases) {
  const counts = new Map();
  return cases.map((one) => {
    const count = (counts.get(one.title) ?? 0) + 1;
    counts.set(one.title, count);
    return count === 1 ? one : { ...one, title: `${one.title} (${count})` };
  });
}

const passes = (seen) => seen !== undefined && seen.passed * 2 > seen.runs;

/** The cases that pass directly and not through Tidegate, or are expected to. */
function verdicts(direct, gated, expected) {
  const rows = [];
  for (const [title, before] of direct) {
    const behind = gated.get(title);
    const listed = expected.get(title);
    const differs = passes(before) && !passes(behind);
    if (!differs && (listed === undefined || listed.sometimes)) continue;
    const kind = differs ? (listed === undefined ? "WORSE" : "as listed") : passes(behind) ? "BETTER" : "fails directly";
    rows.push({ title, kind, reason: listed?.reason, direct: before, gated: behind });
  }
  const gone = [...expected.keys()].filter((title) => !direct.has(title));
  return rows.concat(gone.map((title) => ({ title, kind: "GONE", reason: "the suite has no such case" })));
}

const surprising = ({ kind }) => kind === "WORSE" || kind === "BETTER";

async function compare(suite, expected) {
  const [direct, gated] = [new Map(), new Map()];
  const runs = Number(values.runs ?? 1);
  let rows;
  for (let n = 0; n < runs || (n < MOST_RUNS && rows.some(surprising)); n += 1) {
    await runOnce(suite, false, direct);
    await runOnce(suite, true, gated);
    rows = verdicts(direct, gated, expected);
  }
  for (const { title, kind, reason, direct, gated } of rows) {
    const counts = direct && ` (${direct.passed} of ${direct.runs} directly, ${gated?.passed ?? 0} of ${gated?.runs ?? 0} through)`;
    console.log(`  ${kind.padEnd(10)} ${title}${counts ?? ""}`);
    console.log(`             ${kind === "WORSE" ? (gated?.error ?? "not run").split("\n")[0].slice(0, 200) : reason}`);
  }
  const count = (seen) => [...seen.values()].filter(passes).length;
  const of = (kind) => rows.filter((row) => row.kind === kind).length;
  return {
    suite: suite.name,
    cases: direct.size,
    direct: count(direct),
    gated: count(gated),
    listed: of("as listed"),
    worse: of("WORSE"),
    better: of("BETTER") + of("GONE"),
  };
}

async function main() {
  const expected = await readExpected(join(import.meta.dirname, "expected.txt"));
  const rows = [];
  for (const suite of SUITES.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
    console.log(`== ${suite.name}`);
    await mkdir(join(environment.copies, suite.name), { recursive: true });
    rows.push(await compare(suite, expected.get(suite.name) ?? new Map()));
  }
  console.log("\n| suite | cases | pass directly | pass through Tidegate | differ as listed | worse | better |");
  console.log("|---|---|---|---|---|---|---|");
  for (const row of rows) console.log(`| ${Object.values(row).join(" | ")} |`);
  if (rows.some(({ worse }) => worse > 0)) return 1;
  return rows.some(({ better }) => better > 0) ? 3 : 0;
}

const code = await main().finally(endAll);
process.exit(code);
