// The suites of the two protocols: a server that they describe, and a script that is told its URL.

import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { start, startGate } from "./gate.mjs";

/** What the suites write into their `URL`. */
const SUITE_URL = "http://localhost:3000";

const settings = (path) => `
[socketio]
path = "${path}"
ping_interval = "300ms"
ping_timeout = "200ms"
connect_timeout = "1s"
max_payload = "1MB"
`;

let server;

async function startServer() {
  const child = start(process.execPath, [join(import.meta.dirname, "protocol_server.mjs")]);
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line).port;
  throw new Error("the server ended before it listened");
}

/** A suite of a protocol, whose cases have this title before their own. */
export function protocolSuite(name, path, title) {
  return {
    name,
    async run({ program, copies, gated }) {
      server ??= startServer();
      const upstream = await server;
      const folder = join(copies, name);
      const port = gated ? await startGate({ program, folder, upstream, settings: settings(path) }) : upstream;
      const source = await readFile(join(folder, "test-suite.js"), "utf8");
      if (!source.includes(SUITE_URL)) throw new Error(`${name} does not name ${SUITE_URL}`);
      await writeFile(join(folder, "run.js"), source.replace(SUITE_URL, `http://127.0.0.1:${port}`));
      const mocha = ["node_modules/mocha/bin/mocha", "run.js", "--exit", "--reporter", "json"];
      // It exits with the number of failures.
      const output = await new Promise((done) => execFile(process.execPath, mocha, { cwd: folder }, (_, text) => done(text)));
      return JSON.parse(output).tests.map(({ fullTitle, err }) => ({
        title: fullTitle.replace(`${title} `, ""),
        error: err.message,
      }));
    },
  };
}
