// An identity provider: holds keys, signs tokens with them and publishes the public halves.
// `node issuer.mjs` prints {"port":N}.
//
//   POST /keys {alg, kid}                     makes a key; with the `kid` of an old one it takes its place
//   POST /keys/remove {kid}
//   POST /sign {kid, claims[, header]}        → {token}
//   GET  /pem?kid=KID                         the public key
//   GET  /jwks                                the key set; POST /jwks {status} makes it fail; GET /hits counts

import { createServer } from "node:http";
import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";

const keys = new Map(); // kid → {alg, privateKey}
let hits = 0;
let status = 200;

const generate = {
  RS256: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  ES384: () => generateKeyPairSync("ec", { namedCurve: "P-384" }),
  EdDSA: () => generateKeyPairSync("ed25519"),
};

function signature(alg, data, key) {
  if (alg === "EdDSA") return sign(null, data, key);
  const hash = `sha${alg.slice(2)}`;
  if (alg.startsWith("PS")) return sign(hash, data, { key, padding: 6, saltLength: 32 }); // RSA_PKCS1_PSS_PADDING
  return sign(hash, data, alg.startsWith("ES") ? { key, dsaEncoding: "ieee-p1363" } : key);
}

function token(kid, claims, header) {
  const { alg, privateKey } = keys.get(kid);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg, typ: "JWT", kid, ...header })}.${part(claims)}`;
  return `${signed}.${signature(alg, Buffer.from(signed), privateKey).toString("base64url")}`;
}

const publicKey = ({ privateKey }) => createPublicKey(privateKey);

const routes = {
  "POST /keys": (_query, { alg, kid }) => {
    keys.set(kid, { alg, privateKey: generate[alg]().privateKey });
    return {};
  },
  "POST /keys/remove": (_query, { kid }) => (keys.delete(kid), {}),
  "POST /sign": (_query, { kid, claims, header }) => ({ token: token(kid, claims, header) }),
  "GET /pem": (query) => ({ pem: publicKey(keys.get(query.get("kid"))).export({ type: "spki", format: "pem" }) }),
  "POST /jwks": (_query, body) => ((status = body.status), {}),
  "GET /hits": () => ({ hits }),
};

function keySet() {
  return [...keys].map(([kid, key]) => ({ ...publicKey(key).export({ format: "jwk" }), kid, alg: key.alg, use: "sig" }));
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://issuer");
  const parts = [];
  for await (const part of request) parts.push(part);
  const answer = (code, value) => {
    response.writeHead(code, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  if (`${request.method} ${pathname}` === "GET /jwks") {
    hits += 1;
    return answer(status, status === 200 ? { keys: keySet() } : {});
  }
  const body = parts.length > 0 ? JSON.parse(Buffer.concat(parts)) : undefined;
  return answer(200, routes[`${request.method} ${pathname}`](searchParams, body));
});

server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
