import type { QueuedMessage } from "@tidegate/client";
import { ConnectionQualityBadge, ConnectionQualityCard, type ConnectionQualityProps } from "@tidegate/client/react";
import { useEffect, useRef, useState, useSyncExternalStore, type FormEvent } from "react";

export interface Line {
  from: "you" | "tutor" | "queue";
  text: string;
  /** Of the message in the queue. */
  id?: string;
  /** Not acknowledged yet. */
  waits?: boolean;
}

interface Props extends Pick<ConnectionQualityProps, "status" | "metrics"> {
  lines: Line[];
  queueSize: number;
  clearQueue: () => void;
  send: (input: string) => void;
}

/** What was written, of a message of the queue. */
export function textOf({ args: [data] }: QueuedMessage): string {
  return (data as { input?: string } | undefined)?.input ?? "a message";
}

function watchNetwork(changed: () => void) {
  for (const event of ["online", "offline"]) addEventListener(event, changed);
  return () => {
    for (const event of ["online", "offline"]) removeEventListener(event, changed);
  };
}

/** The page itself, which does not know how it is connected. */
export function Lesson({ status: attempt, metrics, lines, queueSize, clearQueue, send }: Props) {
  // A client goes on trying, but nothing comes of it while the browser has no network.
  const hasNetwork = useSyncExternalStore(watchNetwork, () => navigator.onLine, () => true);
  const status = attempt === "reconnecting" && !hasNetwork ? "disconnected" : attempt;
  const [input, setInput] = useState("");
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [lines.length]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!input.trim()) return;
    send(input.trim());
    setInput("");
  };

  return (
    <>
      <header>
        <h1>Tutor</h1>
        <ConnectionQualityBadge className="badge" status={status} metrics={metrics} />
      </header>
      <main>
        <section className="chat" aria-label="Lesson">
          <div ref={log} role="log" tabIndex={0} aria-label="Messages">
            {lines.length === 0 && <p className="empty">Ask the tutor something, also while you are offline.</p>}
            <ol>
              {lines.map(({ from, text, waits }, at) => (
                <li key={at} className={waits ? `${from} waits` : from}>
                  <span className="hidden">{waits ? "waits: " : `${from}: `}</span>
                  {text}
                </li>
              ))}
            </ol>
          </div>
          <form onSubmit={submit}>
            <label htmlFor="input">Your question</label>
            <input id="input" value={input} onChange={(event) => setInput(event.target.value)} autoComplete="off" />
            <button className="main">Send</button>
          </form>
          <p className="queue" aria-live="polite">
            <span id="queue-size" data-size={queueSize}>
              {queueSize === 0 ? "Nothing waits." : `${queueSize} ${queueSize === 1 ? "message waits" : "messages wait"} to be delivered.`}
            </span>
            {queueSize > 0 && <button onClick={clearQueue}>Clear</button>}
          </p>
        </section>
        <ConnectionQualityCard className="card" status={status} metrics={metrics} />
      </main>
    </>
  );
}
