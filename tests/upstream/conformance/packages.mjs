// The suites of the packages `socket.io` and `socket.io-client`, over the published code of the packages. Their servers run
// in the suite; in_front.cjs puts gates before them.

import { spawn } from "node:child_process";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { OPEN, written } from "./gate.mjs";

/** The suites' own bound is 10 s; what passes takes a tenth of it. */
const CASE_MS = 5_000;

/** Ends the programs that a suite has left: one of its cases stops a shell, but not what that started. */
function endGroup(leader) {
  try {
    process.kill(-leader, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

export function packageSuite(name, hooks = []) {
  return {
    name,
    async run({ program, copies, gated }) {
      const folder = join(copies, name);
      const [report, gates] = [join(folder, "report.json"), join(folder, "gates")];
      for (const old of [report, gates]) await rm(old, { recursive: true, force: true });
      await mkdir(gates);
      const loader = pathToFileURL(join(copies, "node_modules/tsx/dist/loader.mjs"));
      const shim = join(import.meta.dirname, "in_front.cjs");
      const env = {
        ...process.env,
        NODE_OPTIONS: `${gated ? `--require=${shim} ` : ""}--import=${loader}`,
        TIDEGATE: program,
        TIDEGATE_GATES: gates,
        // A suite that stops its server expects its clients to be told.
        TIDEGATE_SETTINGS: `${OPEN}session.hold = "0s"`,
      };
      const required = [join(import.meta.dirname, "real_timers.cjs"), ...hooks].flatMap((file) => ["--require", file]);
      const options = ["--exit", "--timeout", `${CASE_MS}`, "--reporter", "json", "--reporter-option", `output=${report}`];
      const mocha = ["../node_modules/mocha/bin/mocha.js", ...required, ...options, "test/index.ts"];
      const child = spawn(process.execPath, mocha, { cwd: folder, env, stdio: "ignore", detached: true });
      await new Promise((done) => child.once("exit", done));
      endGroup(child.pid);
      const told = await written(report);
      if (told === null) throw new Error(`${name} wrote no report`);
      const hook = told.failures.find(({ fullTitle }) => fullTitle.startsWith('"before all" hook'));
      if (hook) throw new Error(`${name} did not start: ${hook.err.message}`);
      return told.tests.map(({ fullTitle, err }) => ({ title: fullTitle, error: err.message }));
    },
  };
}
