// What a stand-in service saw, for a test to read back over HTTP.

/** Events kept one by one; beyond it they are only counted. */
const EVENTS_KEPT_MAX = 5000;

/** JSON has no bytes: a Buffer becomes {"$binary": base64}, at any depth. */
export function toJson(value) {
  if (Buffer.isBuffer(value) || value instanceof Uint8Array || value instanceof ArrayBuffer) {
    return { $binary: Buffer.from(value).toString("base64") };
  }
  if (Array.isArray(value)) return value.map(toJson);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toJson(inner)]));
  }
  return typeof value === "function" ? "$function" : value;
}

/** The reverse of `toJson`. */
export function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value !== null && typeof value === "object") {
    if (typeof value.$binary === "string") return Buffer.from(value.$binary, "base64");
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fromJson(inner)]));
  }
  return value;
}

export class Seen {
  constructor() {
    this.reset();
  }

  reset() {
    this.transports = 0; // WebSocket or Engine.IO connections opened
    this.opened = []; // when they were, in milliseconds
    this.heartbeats = 0; // its pings that were answered
    this.connections = []; // sockets, as {sid, namespace, auth, headers}
    this.upgrades = []; // upgrade requests, as {url, headers, rawHeaders}
    this.polls = []; // requests of the polling transport, as {method, url}
    this.events = []; // what clients sent, as {sid, namespace, event, args, acked}
    this.received = {}; // event → how often clients sent it
    this.emitted = {}; // event → how often it was sent to a client
    this.disordered = 0; // events whose `seq` was not the one after the last of that socket
    this.disconnects = []; // as {sid, namespace, reason}
    this.reports = {}; // what pages in a browser have told, by the name of the page
    this.http = []; // other requests, as {method, url}
    this.faults = []; // what the Engine.IO server complained of
  }

  upgrade(request) {
    const { url, headers, rawHeaders } = request;
    this.upgrades.push({ url, headers, rawHeaders });
  }

  event(sid, namespace, event, args) {
    this.received[event] = (this.received[event] ?? 0) + 1;
    if (this.events.length >= EVENTS_KEPT_MAX) return;
    const acked = typeof args.at(-1) === "function";
    this.events.push({ sid, namespace, event, args: toJson(acked ? args.slice(0, -1) : args), acked });
  }

  sent(event) {
    this.emitted[event] = (this.emitted[event] ?? 0) + 1;
  }
}
