import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Where `cargo run --example demo` listens. */
const gate = "http://127.0.0.1:4003";

export default defineConfig({
  plugins: [react()],
  // One React, although @tidegate/client is linked from beside this folder.
  resolve: { dedupe: ["react", "react-dom"] },
  server: {
    // The page talks to its own origin, in development as in production, where the gate serves both.
    proxy: {
      "/socket.io": { target: gate, ws: true },
      "/ws": { target: gate, ws: true },
      "/token": gate,
    },
  },
});
