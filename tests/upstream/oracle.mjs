// The differential oracle: what the official parsers make of a string. One JSON value a line in, one out.
//
// A string is decoded as an Engine.IO packet of a text frame and, when it is a message, as a Socket.IO packet:
//   {"engine":TYPE, "packet":{type,namespace,id,event,attachments} | "error":…}
// {"payload":…} is the body of a POST, decoded to a list of {"text":…}, with its type, {"binary":BASE64} or, where it
// ends in an error, {}. {"packets":[…]} is such a list, encoded to the answer of a poll.
// {"publish":[UID,PACKET,OPTIONS],"notepack":2|3} is what the Redis adapter publishes, by that version of its encoder:
// {"payload":BASE64}. {"published":BASE64} is such a payload, read as the adapter reads it, and its packet encoded for clients:
// {"uid","namespace","rooms","except","flags","text","attachments":[BASE64]} or {"error":…}. Beside {"$binary"} values of a
// packet may be {"$date":MS}, {"$number":TEXT}, {"$buffer":BASE64} for an ArrayBuffer, and {"$undefined":true}.
// {"restated":…} is JSON, as JSON.stringify writes what JSON.parse reads.
// {"json":…} is text for JSON.parse: whether it takes it. {"binary":…,"attachments":N} is a packet with so many binary
// messages behind it: whether it is decoded.
// Any other object is a Socket.IO packet to be encoded: {"text":…, "attachments":N}.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { decodePacket, decodePayload, encodePacket, encodePayload } from "engine.io-parser";
import { Decoder, Encoder } from "socket.io-parser";

import { fromJson } from "./seen.mjs";

/** JSON has no NaN and no lone surrogates: such an id is `null`, such a name is not there. */
function reading({ type, nsp, id, data }, attachments) {
  const name = Array.isArray(data) ? data[0] : undefined;
  const event = typeof name === "string" && /\p{Surrogate}/u.test(name) ? undefined : name;
  return { type, namespace: nsp, id, event, attachments };
}

function decode(text) {
  const { type: engine, data } = decodePacket(text, "nodebuffer");
  if (engine !== "message") return { engine };
  const decoder = new Decoder();
  let packet;
  decoder.on("decoded", (decoded) => (packet = reading(decoded, 0)));
  try {
    decoder.add(data);
  } catch (error) {
    return { engine, error: error.message };
  }
  // A packet with attachments is complete only after them. Until then the decoder keeps it here, as the type that it
  // will have then: 2 for 5, 3 for 6.
  const waiting = decoder.reconstructor?.reconPack;
  return { engine, packet: packet ?? (waiting && reading({ ...waiting, type: waiting.type + 3 }, waiting.attachments)) };
}

function encode(packet) {
  const [text, ...attachments] = new Encoder().encode(fromJson(packet));
  let framed;
  encodePacket({ type: "message", data: text }, true, (encoded) => (framed = encoded));
  return { text: framed, attachments: attachments.length };
}

const TYPES = ["open", "close", "ping", "pong", "message", "upgrade", "noop"];

function readPayload(payload) {
  return decodePayload(payload, "nodebuffer").map(({ type, data = "" }) => {
    if (type === "error") return {};
    return Buffer.isBuffer(data) ? { binary: data.toString("base64") } : { text: TYPES.indexOf(type) + data };
  });
}

function writtenPayload(packets) {
  let written;
  const parsed = packets.map(({ text, binary }) =>
    binary === undefined
      ? { type: TYPES[text[0]], data: text.slice(1) }
      : { type: "message", data: Buffer.from(binary, "base64") },
  );
  encodePayload(parsed, (payload) => (written = payload));
  return written;
}

// The encoder of the adapter of today, and that of older ones.
const require = createRequire(import.meta.url);
const notepack = {
  2: require("notepack.io"),
  3: createRequire(require.resolve("@socket.io/redis-adapter"))("notepack.io"),
};

function value(json) {
  if (Array.isArray(json)) return json.map(value);
  if (json === null || typeof json !== "object") return json;
  if (json.$undefined) return undefined;
  if ("$date" in json) return new Date(json.$date);
  if ("$number" in json) return Number(json.$number);
  if ("$buffer" in json) return Uint8Array.from(Buffer.from(json.$buffer, "base64")).buffer;
  if ("$binary" in json) return Buffer.from(json.$binary, "base64");
  return Object.fromEntries(Object.entries(json).map(([key, inner]) => [key, value(inner)]));
}

function publish(args, version) {
  return { payload: notepack[version].encode(value(args)).toString("base64") };
}

/** As `RedisAdapter.onmessage` does, and `Adapter.broadcast` after it. */
function published(payload) {
  try {
    const [uid, packet, opts] = notepack[3].decode(Buffer.from(payload, "base64"));
    const { nsp: namespace = "/" } = packet;
    const [rooms, except] = [[...new Set(opts.rooms)], [...new Set(opts.except)]];
    const [text, ...attachments] = new Encoder().encode({ ...packet, nsp: namespace });
    const bytes = attachments.map((attachment) => Buffer.from(attachment).toString("base64"));
    return { uid, namespace, rooms, except, flags: opts.flags, text, attachments: bytes };
  } catch (error) {
    return { error: error.message };
  }
}

function isJson(json) {
  try {
    JSON.parse(json);
    return true;
  } catch {
    return false;
  }
}

function isDecoded(binary, attachments) {
  const decoder = new Decoder();
  let decoded = false;
  decoder.on("decoded", () => (decoded = true));
  try {
    decoder.add(binary);
    for (let added = 0; added < attachments; added += 1) decoder.add(Buffer.of(added));
  } catch {
    return false;
  }
  return decoded;
}

function answer(asked) {
  if (typeof asked === "string") return decode(asked);
  if ("payload" in asked) return readPayload(asked.payload);
  if ("json" in asked) return isJson(asked.json);
  if ("publish" in asked) return publish(asked.publish, asked.notepack);
  if ("published" in asked) return published(asked.published);
  if ("restated" in asked) return { text: JSON.stringify(JSON.parse(asked.restated)) };
  if ("binary" in asked) return isDecoded(asked.binary, asked.attachments);
  if ("packets" in asked) return writtenPayload(asked.packets);
  return encode(asked);
}

// Not `readline`, which takes U+2028 for the end of a line.
const lines = (await text(process.stdin)).split("\n").filter((line) => line !== "");
for (const line of lines) {
  console.log(JSON.stringify(answer(JSON.parse(line))));
}
