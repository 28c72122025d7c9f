// The cases of `python-socketio` that have a server and clients, over the published code of the package. Its server and its
// clients run in one process; in_front.py lets the clients dial the gate.

import { spawn } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { startGate } from "./gate.mjs";

/** Where the suite's servers listen. */
const PORT = 8900;

export const pythonSuite = {
  name: "python-socketio",
  async run({ program, copies, python, gated }) {
    const folder = join(copies, "python-socketio");
    const report = join(folder, "report.xml");
    await rm(report, { force: true });
    const settings = `session.hold = "0s"`;
    const gate = gated ? await startGate({ program, folder, upstream: PORT, settings }) : PORT;
    const env = { ...process.env, SERVER_PORT: `${PORT}`, GATE_PORT: `${gate}`, PYTHONPATH: import.meta.dirname };
    const options = ["-m", "pytest", "-q", "-p", "in_front", `--junit-xml=${report}`];
    const files = ["tests/common/test_admin.py", "tests/async/test_admin.py"];
    const child = spawn(python, [...options, ...files], { cwd: folder, env, stdio: "ignore" });
    await new Promise((done) => child.once("exit", done));
    const xml = await readFile(report, "utf8");
    return [...xml.matchAll(/<testcase classname="([^"]*)" name="([^"]*)"[^>]*?(?:\/>|>([^]*?)<\/testcase>)/g)].map(
      ([, classname, name, inner]) => ({
        title: `${classname.split(".").slice(1).join(".")} ${name}`,
        error: /<(?:failure|error) message="([^"]*)"/.exec(inner ?? "")?.[1],
      }),
    );
  },
};
