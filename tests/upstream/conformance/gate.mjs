// A gate before a service, for the suites that know one address.

import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const START_PATIENCE_MS = 20_000;
const BETWEEN_LOOKS_MS = 50;

/** No authentication, no limits: a suite knows of neither. One thread: clients come to the server in the order they came. */
export const OPEN = `
rate_limit = []
listen.workers = 1
origins.allow = ["*"]
auth.required = false
`;

const children = [];

/** Starts a program that ends with this one. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
  children.push(child);
  return child;
}

export function endAll() {
  children.forEach((child) => child.kill("SIGKILL"));
}

export async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await new Promise((listens) => listener.once("listening", listens));
  const { port } = listener.address();
  await new Promise((closed) => listener.close(closed));
  return port;
}

/** Waits until something listens or has been logged. */
async function until(what, ready) {
  for (const end = Date.now() + START_PATIENCE_MS; !(await ready()); await sleep(BETWEEN_LOOKS_MS)) {
    if (Date.now() > end) throw new Error(`${what} is not ready after ${START_PATIENCE_MS} ms`);
  }
}

/** Starts a gate before the service at this port, with these settings besides; answers with its port. */
export async function startGate({ program, folder, upstream, settings = "" }) {
  const port = await freePort();
  const file = join(folder, `gate-${port}.toml`);
  // Keys with dots come first, so that `settings` may end with tables.
  await writeFile(
    file,
    `listen.address = "127.0.0.1:${port}"
admin.address = "127.0.0.1:0"
upstream.url = "http://127.0.0.1:${upstream}"
${OPEN}
${settings}`,
  );
  const gate = start(program, ["run", "--config", file], { stdio: ["ignore", "ignore", "pipe"] });
  const log = [];
  gate.stderr.on("data", (data) => log.push(data));
  await until("Tidegate", () => Buffer.concat(log).includes("listening on") || (gate.exitCode !== null && fail(log)));
  return port;
}

function fail(log) {
  throw new Error(`Tidegate does not start:\n${Buffer.concat(log)}`);
}

/** A JSON file that a test runner wrote, or nothing where it wrote none. */
export async function written(file) {
  return JSON.parse(await readFile(file, "utf8").catch(() => "null"));
}
