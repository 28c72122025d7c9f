// Loaded before a suite (`--require`): puts a gate in front of every HTTP server that the suite starts.
//
// `http.Server.listen` starts a gate for the port that is bound, and waits for it. `net.Socket.connect`, which all clients
// of Node come to, dials the gate when it is given such a port. The servers keep their ports, so a suite that closes a
// server finds its port free. Programs that the suite starts find the gates by the files in TIDEGATE_GATES, one for each
// port, with the gate's port in it.

"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const path = require("node:path");

const { TIDEGATE: program, TIDEGATE_GATES: folder, TIDEGATE_SETTINGS: settings } = process.env;

const START_PATIENCE_MS = 20_000;
const BETWEEN_LOOKS_MS = 5;
/** How long a gate stays after its server has closed: clients still hear the end, and the server may come back. */
const LINGER_MS = 3_000;

/** The gates of this process by the port of their server. */
const gates = new Map();

function freePort() {
  // Without a host it is bound before `listen` returns.
  const listener = net.createServer().listen(0);
  const { port } = listener.address();
  listener.close();
  return port;
}

function waitForLog(file, child) {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (const until = Date.now() + START_PATIENCE_MS; Date.now() < until; Atomics.wait(clock, 0, 0, BETWEEN_LOOKS_MS)) {
    if (fs.readFileSync(file, "utf8").includes("listening on")) return;
    if (child.pid === undefined) break;
  }
  throw new Error(`Tidegate does not listen:\n${fs.readFileSync(file, "utf8")}`);
}

/** Starts a gate before the server at this port; when it returns, the gate listens. */
function startGate(upstream) {
  const port = freePort();
  const base = path.join(folder, `gate-${process.pid}-${upstream}-${port}`);
  fs.writeFileSync(
    `${base}.toml`,
    `${settings}
listen.address = "127.0.0.1:${port}"
admin.address = "127.0.0.1:0"
upstream.url = "http://127.0.0.1:${upstream}"
`,
  );
  const log = fs.openSync(`${base}.log`, "w");
  const { NODE_OPTIONS: _, ...env } = process.env;
  const child = spawn(program, ["run", "--config", `${base}.toml`], { stdio: ["ignore", log, log], env });
  fs.closeSync(log);
  child.unref();
  waitForLog(`${base}.log`, child);
  fs.writeFileSync(path.join(folder, String(upstream)), String(port));
  return { port, child, end: undefined };
}

function endGate(upstream) {
  gates.get(upstream).child.kill("SIGKILL");
  gates.delete(upstream);
  fs.rmSync(path.join(folder, String(upstream)), { force: true });
}

const { listen } = http.Server.prototype;

http.Server.prototype.listen = function (...args) {
  const bound = () => {
    const address = this.address();
    if (address === null || typeof address === "string") return;
    const { port } = address;
    const known = gates.get(port);
    if (known) clearTimeout(known.end);
    else gates.set(port, startGate(port));
    this.once("close", () => {
      gates.get(port).end = setTimeout(() => endGate(port), LINGER_MS).unref();
    });
  };
  const result = listen.apply(this, args);
  // With a host it is bound later.
  if (this.address() === null) this.prependOnceListener("listening", bound);
  else bound();
  return result;
};

function gatePort(port) {
  const known = gates.get(Number(port));
  if (known) return known.port;
  try {
    return Number(fs.readFileSync(path.join(folder, String(Number(port))), "utf8"));
  } catch {
    return undefined;
  }
}

const { connect } = net.Socket.prototype;

net.Socket.prototype.connect = function (...args) {
  // What `net.connect` hands on is an array of the options and the callback.
  const list = Array.isArray(args[0]) ? args[0] : args;
  const options = typeof list[0] === "object" && list[0] !== null ? list[0] : { port: list[0] };
  const port = options.port === undefined ? undefined : gatePort(options.port);
  if (port !== undefined) {
    if (typeof list[0] !== "object" && typeof list[1] === "string") list.splice(1, 1);
    list[0] = { ...options, port, host: "127.0.0.1" };
  }
  return connect.apply(this, args);
};

process.on("exit", () => gates.forEach(({ child }) => child.kill("SIGKILL")));
