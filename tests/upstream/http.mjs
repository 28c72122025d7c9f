// The ordinary HTTP of the stand-in service, and the doors a test uses to look behind it.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const STREAM_PARTS = ["one\n", "two\n", "three\n"];

/** The responses of GET /stream that wait for POST /stream/next. */
const openStreams = new Set();

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

const page = readFileSync(new URL("page.html", import.meta.url));

/** A page of other pages, in frames: ?frames=[{"src":URL,"sandbox":FLAGS},…]. */
const FRAMES = `<!doctype html>
<title>Frames</title>
<body><script>
  for (const frame of JSON.parse(new URLSearchParams(location.search).get("frames"))) {
    const element = document.createElement("iframe");
    for (const [name, value] of Object.entries(frame)) element.setAttribute(name, value);
    document.body.append(element);
  }
</script>`;

function html(response, text) {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(text);
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

function advance(response) {
  response.write(STREAM_PARTS[response.part++]);
  if (response.part === STREAM_PARTS.length) {
    openStreams.delete(response);
    response.end();
  }
}

const service = {
  "POST /lessons/generate": async (request, response) => {
    const bytes = await body(request);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    json(response, 201, { lesson: "fractions", bytes: bytes.length, sha256 }, { "x-lesson": "fractions" });
  },
  "GET /sessions/plan": (request, response) => json(response, 200, { plan: ["read", "answer", "rest"], url: request.url }),
  "HEAD /sessions/plan": (_request, response) => {
    response.writeHead(200, { "content-type": "application/json", "content-length": "64" });
    response.end();
  },
  "GET /metrics": (_request, response) => json(response, 200, { uptime: process.uptime() }),
  "GET /headers": (request, response) =>
    json(response, 200, { raw: request.rawHeaders, headers: request.headers }, { "set-cookie": ["a=1", "b=2"] }),
  "POST /echo": (request, response) => {
    response.writeHead(200, { "content-type": "application/octet-stream" });
    request.pipe(response);
  },
  "POST /sink": (request, response) => {
    request.on("error", () => {}).on("end", () => json(response, 200, {})).resume();
  },
  "GET /stream": (_request, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    response.part = 0;
    openStreams.add(response);
    advance(response);
  },
  "POST /stream/next": (_request, response) => {
    openStreams.forEach(advance);
    json(response, 200, {});
  },
  "GET /never": () => {},
  "GET /broken": (request) => request.socket.destroy(),
  "OPTIONS /": (_request, response) => response.writeHead(204).end(),
  "OPTIONS *": (_request, response) => response.writeHead(204).end(),
  "GET /page": (_request, response) => html(response, page),
  "GET /frames": (_request, response) => html(response, FRAMES),
  "GET /teapot": (_request, response) => json(response, 418, { error: "short and stout" }),
};

/**
 * A request listener. `doors` are further routes, for the test alone, whose use is not noted in `seen`:
 * "METHOD /path" → (JSON body, if any) → what to answer.
 */
export function listener(seen, doors) {
  const hidden = {
    "GET /seen": () => seen,
    "POST /seen/reset": () => (seen.reset(), {}),
    ...doors,
  };
  return async (request, response) => {
    const [path, query] = request.url.split("?");
    const route = `${request.method} ${path}`;
    if (route === "GET /report") {
      const told = new URLSearchParams(query);
      seen.reports[told.get("name")] = JSON.parse(told.get("what"));
      return json(response, 200, {});
    }
    if (Object.hasOwn(hidden, route)) {
      const sent = await body(request);
      try {
        return json(response, 200, (await hidden[route](sent.length > 0 ? JSON.parse(sent) : undefined)) ?? {});
      } catch (error) {
        return json(response, 500, { error: error.message });
      }
    }
    seen.http.push({ method: request.method, url: request.url });
    const answer = service[route];
    return answer ? answer(request, response) : json(response, 404, { error: `nothing at ${request.url}` });
  };
}
