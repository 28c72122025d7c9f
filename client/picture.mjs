// Makes docs/images/client-light.png and client-dark.png: badge, indicator and card in each state. Run it after a change of their look.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const measured = [
  { quality: "excellent", latency: 23, avgLatency: 25, packetLoss: 0, isStable: true },
  { quality: "good", latency: 148, avgLatency: 160, packetLoss: 0, isStable: true },
  { quality: "fair", latency: 312, avgLatency: 290, packetLoss: 10, isStable: false },
  { quality: "poor", latency: 871, avgLatency: 760, packetLoss: 30, isStable: false },
];
const states = [...measured.map((metrics) => ({ status: "connected", metrics })), { status: "reconnecting" }, { status: "disconnected" }];

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
for (const colorScheme of ["light", "dark"]) {
  const page = await browser.newPage({ colorScheme, reducedMotion: "reduce", deviceScaleFactor: 2, viewport: { width: 860, height: 480 }, locale: "en-GB" });
  await page.setContent(`<style>
    :root { color-scheme: light dark }
    body { margin: 0; padding: 1.5rem; display: grid; gap: 1.5rem; width: fit-content; background: Canvas; color: CanvasText }
    div { display: grid; gap: 1rem; grid-template-columns: repeat(3, 16rem) }
    div:first-child { display: flex }
  </style><div></div><div></div>`);
  await page.addScriptTag({ type: "module", content: readFileSync("embedded/client.js", "utf8") });
  await page.waitForFunction(() => customElements.get("tidegate-quality-card"));
  await page.evaluate((states) => {
    ["badge", "card"].forEach((kind, at) => {
      for (const { status, metrics } of states) {
        const element = document.createElement("tidegate-quality-" + kind);
        element.status = status;
        if (metrics) element.metrics = { ...metrics, lastChecked: new Date(2026, 0, 5, 9, 30, 12) };
        document.querySelectorAll("div")[at].append(element);
      }
    });
  }, states);
  await page.locator("body").screenshot({ path: `../docs/images/client-${colorScheme}.png` });
}
await browser.close();
