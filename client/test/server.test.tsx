// @vitest-environment node
import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import {
  ConnectionQualityCard,
  ConnectionQualityIndicator,
  useConnectionQuality,
  useOfflineQueue,
  useSocket,
  useWebSocket,
  type StockSocket,
} from "../src/react/index.js";

test("a server renders the page without a browser, a socket or a timer", () => {
  expect(typeof document).toBe("undefined");
  const socket = { connected: false } as StockSocket;
  function Page() {
    const { status, send, isConnected, queueSize } = useWebSocket({ url: "ws://gate/ws" });
    const metrics = useConnectionQuality({ status, send });
    const other = useSocket(socket);
    const queue = useOfflineQueue(send, isConnected);
    return (
      <>
        <ConnectionQualityIndicator status={status} metrics={metrics} />
        <ConnectionQualityCard status={other.status} />
        <p>{[queueSize, queue.queueSize].join()}</p>
      </>
    );
  }
  const html = renderToString(<Page />);
  expect(html).toContain("Offline");
  expect(html).toContain("<p>0,0</p>");
});

test("elements can be imported where there are none", async () => {
  expect(await import("../src/elements.js")).toHaveProperty("TidegateQualityBadge");
});
