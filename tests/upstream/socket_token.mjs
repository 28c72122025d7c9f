// The route of docs/tokens.md that signs a token for a user of NextAuth, and the page's way to it.
// `node socket_token.mjs ROUTE FRESH`, the two pieces of source as the page has them, prints a line of JSON:
//   token      what `fresh` gets for a user who is signed in
//   signedOut  the status without one
//   encrypted  a token like the one of the session, which is not for the gate
// `@/auth` is the application's own; a stub stands for it.

import { register } from "node:module";
import { createHash } from "node:crypto";
import { EncryptJWT } from "jose";

const [route, page] = process.argv.slice(2);
const module = (source) => `data:text/javascript,${encodeURIComponent(source)}`;
const auth = module("export const auth = async () => globalThis.session;");
const hooks = `export function resolve(name, context, next) {
  if (name === "@/auth") return { url: ${JSON.stringify(auth)}, shortCircuit: true };
  const from = context.parentURL?.startsWith("data:") ? ${JSON.stringify(import.meta.url)} : context.parentURL;
  return next(name, { ...context, parentURL: from });
}`;
register(module(hooks));

const { GET } = await import(module(route));
const fetched = async (path) => {
  if (path !== "/api/socket-token") throw new Error(`there is no ${path}`);
  return GET();
};
const fresh = new Function("fetch", `${page}\nreturn fresh;`)(fetched);

const { status } = await GET();
globalThis.session = { user: { id: "ada", email: "ada@example.com" } };
const key = createHash("sha512").update(process.env.NEXTAUTH_SECRET).digest();
const encrypted = await new EncryptJWT({ sub: "ada" })
  .setProtectedHeader({ alg: "dir", enc: "A256CBC-HS512" })
  .setExpirationTime("15m")
  .encrypt(key);
console.log(JSON.stringify({ token: await fresh(), signedOut: status, encrypted }));
