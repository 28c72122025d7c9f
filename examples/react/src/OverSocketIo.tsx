import { useConnectionQuality, useOfflineQueue, useSocket } from "@tidegate/client/react";
import { useEffect, useMemo, useState } from "react";
import { io } from "socket.io-client";
import { Lesson, textOf, type Line } from "./Lesson";

/** The stock client. Each message waits in the queue until the service has acknowledged it, also across a reload. */
export function OverSocketIo({ token }: { token: string }) {
  const socket = useMemo(() => io({ autoConnect: false, auth: { token, learnerId: "ada" } }), [token]);
  const [lines, setLines] = useState<Line[]>([]);
  const add = (line: Line) => setLines((before) => [...before, line]);
  // What was written before a reload is not in the list yet.
  const delivered = (line: Line) => setLines((before) => (before.some(({ id }) => id === line.id) ? before.map((each) => (each.id === line.id ? line : each)) : [...before, line]));

  const connection = useSocket(socket, {
    // `useOfflineQueue` below has the promises and the events.
    enableOfflineQueue: false,
    onMessage: (message) => message.type === "tutor:message" && add({ from: "tutor", text: message.message ?? message.text }),
  });
  // The hook connects the socket, and leaves it to the page to end it: when another token comes, or nobody is logged in.
  useEffect(() => () => void socket.disconnect(), [socket]);
  const queue = useOfflineQueue(connection.send, connection.isConnected, {
    onEvent: ({ type, detail }) => {
      if (!("message" in detail)) return add({ from: "queue", text: "This browser does not store messages; they wait in memory." });
      if (type === "delivered") delivered({ id: detail.message.id, from: "you", text: textOf(detail.message) });
      if (type === "dropped") add({ from: "queue", text: `The queue is full, and its oldest message was dropped: ${textOf(detail.message)}` });
      if (type === "failed") add({ from: "queue", text: `Not delivered: ${textOf(detail.message)}` });
    },
  });
  const quality = useConnectionQuality({ status: connection.status, send: connection.send, checkInterval: 2000, samples: 3 });

  return (
    <Lesson
      status={connection.status}
      metrics={quality.metrics}
      lines={lines}
      queueSize={queue.queueSize}
      clearQueue={queue.clearQueue}
      send={(input) => {
        const id = crypto.randomUUID?.() ?? String(Math.random());
        add({ id, from: "you", text: input, waits: true });
        void queue.queueMessage({ type: "agent:tutor", input, _id: id });
      }}
    />
  );
}
