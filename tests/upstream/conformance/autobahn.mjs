// The Autobahn cases on RFC 6455, sent to a plain route before an echo. Groups 12 and 13 are about compression, which is
// declined.

import { spawn } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { start, startGate } from "./gate.mjs";

const GROUPS = [1, 2, 3, 4, 5, 6, 7, 9, 10];

const SETTINGS = `
[socketio]
max_payload = "64MB"
[limits]
send_buffer = "64MB"
[[websocket]]
path = "/"
`;

let server;

async function startEcho() {
  const child = start(process.execPath, [join(import.meta.dirname, "../ws.mjs")]);
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line).port;
  throw new Error("the echo ended before it listened");
}

export const autobahnSuite = {
  name: "autobahn",
  async run({ program, copies, kosoku, gated }) {
    server ??= startEcho();
    const upstream = await server;
    const folder = join(copies, "autobahn");
    const reports = join(folder, "reports");
    await rm(reports, { recursive: true, force: true });
    await mkdir(reports, { recursive: true });
    const port = gated ? await startGate({ program, folder, upstream, settings: SETTINGS }) : upstream;
    const cases = [];
    for (const group of GROUPS) {
      const out = join(reports, `${group}`);
      const options = ["-m", "fuzzingclient", "-i", `${group}.*`, "-o", out, `127.0.0.1:${port}`];
      const child = spawn(kosoku, options, { stdio: "ignore" });
      await new Promise((done) => child.once("exit", done));
      const [agent] = Object.values(JSON.parse(await readFile(join(out, "index.json"), "utf8")));
      for (const [title, { behavior, behaviorClose, remoteCloseCode }] of Object.entries(agent)) {
        const failed = behavior === "FAILED" || behaviorClose === "FAILED";
        cases.push({ title, error: failed ? `${behavior}, close ${behaviorClose} ${remoteCloseCode}` : undefined });
      }
    }
    return cases;
  },
};
