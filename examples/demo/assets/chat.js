// The chat with the tutor. Everything that is written goes through the offline queue.

import { $, make, show, tell } from "./basics.js";
import { connection } from "./connection.js";
import { queue } from "./quality.js";
import { stage } from "./stage.js";

const KEPT = "tidegate-demo-chat", MOST_MESSAGES = 250, MOST_QUEUED = 4, MORE_THAN_FIT = 101;
const STATES = {
  waiting: "waits in this browser", sent: "on its way", gate: "waits in Tidegate", answered: "answered",
  dropped: "dropped, the queue was full", failed: "failed",
};

/** Each `{id, who, text, state?, note?}`; they outlive a reload in this tab. */
let messages = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
let lesson = false;
const counts = { delivered: 0, dropped: 0, failed: 0 };
const log = $("messages"), list = $("bubbles");

/** Queues a message and shows it. Resolves with the ack; rejects if it is not delivered. */
export function write(text, event, data) {
  const id = crypto.randomUUID?.() ?? String(Math.random());
  add({ id, who: "me", text, state: "waiting" });
  return queue.send(event, { ...data, _id: id });
}

/** The tutor is asked and says nothing, but answers. */
export const note = (text) => write(text, "agent:tutor", { input: text, quiet: true });

function add(message) {
  messages.push(message);
  messages = messages.slice(-MOST_MESSAGES);
  const near = log.scrollHeight - log.scrollTop - log.clientHeight < 80 || message.who === "me";
  list.append(bubble(message));
  while (list.childElementCount > MOST_MESSAGES) list.firstElementChild.remove();
  if (near) log.scrollTop = log.scrollHeight;
  keep();
}

function bubble(message) {
  const item = make("li", message.who, make("p", "", message.text), make("small", "mark"));
  item.dataset.id = message.id;
  mark(item, message);
  return item;
}

function mark(item, { who, state, note }) {
  item.dataset.state = state ?? "";
  item.querySelector(".mark").textContent = who === "me" ? note ?? STATES[state] : who === "tutor" ? "" : who;
}

function settle(id, state, note) {
  const message = messages.find((each) => each.id === id);
  if (!message) return;
  Object.assign(message, { state, note });
  const item = list.querySelector(`[data-id="${CSS.escape(id)}"]`);
  if (item) mark(item, message);
  keep();
}

function keep() {
  sessionStorage.setItem(KEPT, JSON.stringify(messages));
}

/** Where each message is that has no answer: the queue sends one at a time. */
function place() {
  const open = messages.filter(({ state }) => ["waiting", "sent", "gate"].includes(state));
  open.forEach(({ id, state }, at) => {
    const now = at > 0 || connection.state !== "connected" ? "waiting" : stage.down ? "gate" : "sent";
    if (now !== state) settle(id, now);
  });
  show("waiting", queue.size);
  $("queued").replaceChildren(
    ...open.slice(0, MOST_QUEUED).map(({ text, state }) => make("li", state, make("span", "", text), make("small", "", STATES[state]))),
    ...(open.length > MOST_QUEUED ? [make("li", "more", `and ${open.length - MOST_QUEUED} more`)] : []),
  );
  $("clear").disabled = queue.size === 0;
}

/** What became of messages, also of those that were written before a reload or in another tab. */
function follow() {
  queue.addEventListener("delivered", ({ detail: { message, answer } }) => {
    counts.delivered += 1;
    show("delivered", counts.delivered);
    if (answer?.error) settle(message.id, "failed", `answered: ${answer.error}`);
    else settle(message.id, "answered", summary(answer));
    place();
  });
  queue.addEventListener("dropped", ({ detail: { message } }) => {
    counts.dropped += 1;
    show("dropped", counts.dropped);
    settle(message.id, "dropped");
    tell($("queue-told"), "warn", `The queue keeps 100. The oldest went, and this page was told: “${message.args[0].input}”.`);
  });
  queue.addEventListener("failed", ({ detail: { message, reason } }) => {
    counts.failed += 1;
    show("failed", counts.failed);
    settle(message.id, "failed", `failed: ${reason}`);
  });
  queue.addEventListener("storageerror", ({ detail: { error } }) =>
    tell($("queue-told"), "bad", `The browser does not store: ${error.message ?? error}. Messages wait in memory.`));
  queue.addEventListener("change", place);
  connection.addEventListener("change", place);
  stage.addEventListener("state", place);
}

function summary(answer) {
  if (answer?.recommendation) return `advice: ${answer.recommendation}`;
  return answer?.number ? `answered, number ${answer.number}` : "answered";
}

function hear() {
  const { socket } = connection;
  socket.on("tutor:message", ({ message }) => add({ who: "tutor", text: message }));
  socket.on("content:adapted", ({ difficulty }) => add({ who: "content:adapted", text: `The lesson is now at level ${difficulty}.` }));
  socket.on("break:suggested", ({ minutes, because }) =>
    add({ who: "break:suggested", text: `Take a break of ${minutes} minutes (${because}).` }));
}

function compose(event) {
  event.preventDefault();
  const text = $("input").value.trim();
  if (!text) return;
  $("input").value = "";
  if (lesson && /^[\d\s/]+$/.test(text)) write(text, "agent:learning", { action: "process_answer", answer: text });
  else write(text, "agent:tutor", { input: text });
}

function chip({ target }) {
  const { action, tutor, think } = target.dataset;
  if (action === "start_session") {
    setLesson(true);
    write("Start a lesson", "agent:learning", { action, subject: "fractions" });
  } else if (action) write(target.textContent, "agent:learning", { action });
  else if (tutor) write(tutor, "agent:tutor", { input: tutor, ...(think && { thinkMs: Number(think) }) });
}

function setLesson(on) {
  lesson = on;
  show("input-label", on ? "Your answer, or a question" : "Your question");
  $("input").placeholder = on ? "3/4" : "How do I add 1/2 and 1/4?";
}

export function startChat() {
  list.replaceChildren(...messages.map(bubble));
  log.scrollTop = log.scrollHeight;
  follow();
  hear();
  $("composer").addEventListener("submit", compose);
  $("chips").addEventListener("click", chip);
  $("clear").onclick = () => {
    queue.clear();
    for (const { id, state } of messages) if (["waiting", "sent", "gate"].includes(state)) settle(id, "failed", "cleared");
    place();
  };
  $("fill").onclick = () => {
    for (let count = 1; count <= MORE_THAN_FIT; count += 1) note(`Message ${count} of ${MORE_THAN_FIT}`);
  };
  place();
}
