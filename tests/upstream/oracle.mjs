// The differential oracle: what the official parsers make of a string. One JSON value a line in, one out.
//
// A string is decoded as an Engine.IO packet of a text frame and, when it is a message, as a Socket.IO packet:
//   {"engine":TYPE, "packet":{type,namespace,id,event,attachments} | "error":…}
// An object is a Socket.IO packet to be encoded: {"text":…, "attachments":N}.

import { text } from "node:stream/consumers";
import { decodePacket, encodePacket } from "engine.io-parser";
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

// Not `readline`, which takes U+2028 for the end of a line.
const lines = (await text(process.stdin)).split("\n").filter((line) => line !== "");
for (const line of lines) {
  const asked = JSON.parse(line);
  console.log(JSON.stringify(typeof asked === "string" ? decode(asked) : encode(asked)));
}
