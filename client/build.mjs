// Builds dist/ (the package) and embedded/client.js (what the gate serves). `--package` builds dist/ alone, `--size` measures,
// `--fresh` says whether the committed embedded/client.js is what the sources make.

import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const common = { bundle: true, format: "esm", target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning" };
const kilobyte = 1000;
/** Bytes of gzip, without what is loaded only where it is needed. */
const budgets = [
  { name: "core", entry: "src/index.ts", limit: 3 * kilobyte },
  { name: "./react, beside the core", entry: "src/react/index.ts", limit: 4 * kilobyte, external: ["react", "../core.js"] },
  { name: "./elements, beside the core", entry: "src/elements.ts", limit: 3 * kilobyte, external: ["./queue.js", "./monitor.js", "./link.js"] },
];

async function embedded() {
  const built = await build({ ...common, entryPoints: ["src/embedded.ts"], minify: true, write: false });
  return "// @tidegate/client, built from client/src: see client/README.md. MIT OR Apache-2.0\n" + built.outputFiles[0].text;
}

async function sizes() {
  let tooLarge = false;
  for (const { name, entry, limit, external = [] } of budgets) {
    const built = await build({ ...common, entryPoints: [entry], minify: true, splitting: true, outdir: "out", write: false, external });
    const main = built.outputFiles.find(({ path }) => !/storage-|chunk-/.test(path));
    const size = gzipSync(main.contents, { level: 9 }).length;
    tooLarge ||= size > limit;
    console.log(`${size > limit ? "TOO LARGE " : ""}${name}: ${size} of ${limit} bytes`);
  }
  if (tooLarge) process.exit(1);
}

if (process.argv.includes("--size")) {
  await sizes();
} else if (process.argv.includes("--fresh")) {
  if (readFileSync("embedded/client.js", "utf8") !== (await embedded())) {
    console.error("client/embedded/client.js is not what client/src makes: run `npm run build` in client/ and commit it");
    process.exit(1);
  }
} else {
  rmSync("dist", { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: { index: "src/index.ts", react: "src/react/index.ts", elements: "src/elements.ts" },
    outdir: "dist",
    splitting: true,
    packages: "external",
    chunkNames: "[name]-[hash]",
  });
  // For servers that render: the hooks belong to the browser.
  writeFileSync("dist/react.js", '"use client";\n' + readFileSync("dist/react.js", "utf8"));
  const styles = await build({ ...common, entryPoints: ["src/styles.ts"], write: false });
  const { css } = await import("data:text/javascript," + encodeURIComponent(styles.outputFiles[0].text));
  writeFileSync("dist/styles.css", css);
  execFileSync("node_modules/.bin/tsc", ["--outDir", "dist/types"], { stdio: "inherit" });
  // Not where it is installed: the check would find fresh what nobody has committed.
  if (!process.argv.includes("--package")) writeFileSync("embedded/client.js", await embedded());
}
