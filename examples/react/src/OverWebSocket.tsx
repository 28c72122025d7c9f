import { useConnectionQuality, useWebSocket } from "@tidegate/client/react";
import { useState } from "react";
import { Lesson, textOf, type Line } from "./Lesson";

const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;

/** No Socket.IO in the page: a bridged route of Tidegate speaks it with the service. */
export function OverWebSocket({ token }: { token: string }) {
  const [lines, setLines] = useState<Line[]>([]);
  const add = (line: Line) => setLines((before) => [...before, line]);

  const connection = useWebSocket({
    url,
    token,
    enableOfflineQueue: true,
    onQueueEvent: ({ type, detail }) => {
      if (!("message" in detail)) return add({ from: "queue", text: "This browser does not store messages; they wait in memory." });
      if (type === "dropped") add({ from: "queue", text: `The queue is full, and its oldest message was dropped: ${textOf(detail.message)}` });
      if (type === "failed") add({ from: "queue", text: `Not delivered: ${textOf(detail.message)}` });
    },
    onMessage: (message) => message.type === "tutor:message" && add({ from: "tutor", text: message.message ?? message.text }),
  });
  const { metrics } = useConnectionQuality({ status: connection.status, send: connection.send, checkInterval: 2000, samples: 3 });

  return (
    <Lesson
      status={connection.status}
      metrics={metrics}
      lines={lines}
      queueSize={connection.queueSize}
      clearQueue={connection.clearQueue}
      send={(input) => {
        add({ from: "you", text: input });
        connection.send({ type: "agent:tutor", input });
      }}
    />
  );
}
