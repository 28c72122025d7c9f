import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    environment: "happy-dom",
    include: ["test/**/*.test.{ts,tsx}"],
    // Others compile beside it.
    testTimeout: 40_000,
    hookTimeout: 40_000,
    restoreMocks: true,
    unstubGlobals: true,
  },
});
