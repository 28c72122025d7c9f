// A web server for the files of a page, and the line from that page to a gate, which can be slow or cut.

import { createReadStream, existsSync } from "node:fs";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { extname, join, normalize } from "node:path";

const KINDS = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8" };

/** Serves `folder`, and passes on to `gate` what is below one of `paths`, as the development server of a page does. */
export class Line {
  /** A round trip takes so much longer. */
  delayMs = 0;
  /** Connections to the gate end, and none is made. The files are still served. */
  #cut = false;
  #sockets = new Set();

  static async start(folder, gate, paths) {
    const line = new Line();
    Object.assign(line, { folder, gate: new URL(gate), paths });
    line.server = createServer((asked, answer) => line.#asked(asked, answer));
    line.server.on("upgrade", (asked, socket, head) => line.#upgrade(asked, socket, head));
    await new Promise((listening) => line.server.listen(0, "127.0.0.1", listening));
    line.url = `http://127.0.0.1:${line.server.address().port}`;
    return line;
  }

  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  repair() {
    this.#cut = false;
  }

  #asked(asked, answer) {
    if (!this.paths.some((path) => asked.url.startsWith(path))) return this.#file(asked, answer);
    if (this.#cut) return asked.socket.destroy();
    this.#keep(asked.socket);
    const { hostname, port } = this.gate;
    const passed = request({ hostname, port, method: asked.method, path: asked.url, headers: asked.headers, setHost: false }, (came) => {
      answer.writeHead(came.statusCode, came.rawHeaders);
      this.#late(came, answer);
    });
    passed.on("error", () => asked.socket.destroy());
    this.#late(asked, passed);
  }

  #upgrade(asked, socket, head) {
    if (this.#cut) return socket.destroy();
    const gate = connect(Number(this.gate.port), this.gate.hostname);
    gate.setNoDelay(true);
    for (const each of [socket, gate]) {
      this.#keep(each);
      each.on("error", () => {});
    }
    socket.on("close", () => gate.destroy());
    gate.on("close", () => socket.destroy());
    const headers = asked.rawHeaders.reduce((text, part, at) => text + part + (at % 2 ? "\r\n" : ": "), "");
    gate.write(`${asked.method} ${asked.url} HTTP/1.1\r\n${headers}\r\n`);
    gate.write(head);
    this.#late(socket, gate);
    this.#late(gate, socket);
  }

  #keep(socket) {
    if (this.#sockets.has(socket)) return;
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** One direction, in order also where the delay changes. */
  #late(from, to) {
    let before = Promise.resolve();
    const pass = (act) => {
      const due = new Promise((done) => setTimeout(done, this.delayMs / 2));
      before = Promise.all([before, due]).then(() => to.destroyed || act());
    };
    from.on("data", (bytes) => pass(() => to.write(bytes)));
    from.on("end", () => pass(() => to.end()));
  }

  #file(asked, answer) {
    const path = normalize(new URL(asked.url, this.url).pathname);
    const file = join(this.folder, path === "/" ? "index.html" : path);
    if (!existsSync(file)) return answer.writeHead(404).end();
    answer.writeHead(200, { "content-type": KINDS[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(answer);
  }
}
