// The differential oracle: what the official parsers make of a string. One JSON value a line in, one out.
//
// A string is decoded as an Engine.IO packet of a text frame and, when it is a message, as a Socket.IO packet:
//   {"engine":TYPE, "packet":{type,namespace,id,event,attachments} | "error":…}
// {"payload":…} is the body of a POST, decoded to a list of {"text":…}, with its type, {"binary":BASE64} or, where it
// ends in an error, {}. {"packets":[…]} is such a list, encoded to the answer of a poll.
// {"json":…} is text for JSON.parse: whether it takes it. {"binary":…,"attachments":N} is a packet with so many binary
// messages behind it: whether it is decoded.
// Any other object is a Socket.IO packet to be encoded: {"text":…, "attachments":N}.

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
  if ("binary" in asked) return isDecoded(asked.binary, asked.attachments);
  if ("packets" in asked) return writtenPayload(asked.packets);
  return encode(asked);
}

// Not `readline`, which takes U+2028 for the end of a line.
const lines = (await text(process.stdin)).split("\n").filter((line) => line !== "");
for (const line of lines) {
  console.log(JSON.stringify(answer(JSON.parse(line))));
}
