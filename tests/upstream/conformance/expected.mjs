// The list of the cases that differ: `[suite]` before its cases, a case a line, and before them the reason as a comment. A
// case behind a `?` differs now and then.

import { readFile } from "node:fs/promises";

/** By suite and case: the reason, and whether it also passes. */
export async function readExpected(file) {
  const suites = new Map();
  let cases;
  let reason = [];
  let afterCase = false;
  for (const line of (await readFile(file, "utf8")).split("\n").map((text) => text.trim())) {
    if (line === "") continue;
    if (line.startsWith("[")) {
      cases = new Map();
      suites.set(line.slice(1, -1), cases);
      reason = [];
    } else if (line.startsWith("#")) {
      if (afterCase) reason = [];
      reason.push(line.replace(/^#\s*/, ""));
    } else {
      cases.set(line.replace(/^\? /, ""), { reason: reason.join(" "), sometimes: line.startsWith("? ") });
    }
    afterCase = !line.startsWith("#");
  }
  return suites;
}
