// Badge and card for pages without React: `<tidegate-quality-badge>`, `<tidegate-quality-card>`.

import { listen, type SocketIoLike, type WebSocketLike } from "./link.js";
import { ConnectionQualityMonitor, type QualityMetrics } from "./monitor.js";
import { css } from "./styles.js";
import { view, type ConnectionStatus, type Tree, type Variant } from "./view.js";

/** A server has no elements, but may import this. */
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/** Makes the element that is `tree`, or makes `old` so: it was made by the same variant, so that its shape is the same. */
function draw([tag, attributes, ...children]: Tree, old?: Element | null): Element {
  const element = old ?? document.createElement(tag);
  for (const name in attributes) {
    if (element.getAttribute(name) !== attributes[name]) element.setAttribute(name, attributes[name]!);
  }
  children.forEach((child, at) => {
    const there = element.childNodes[at];
    if (typeof child !== "string") {
      const drawn = draw(child, there as Element | undefined);
      if (!there) element.append(drawn);
    } else if (!there) element.append(document.createTextNode(child));
    else if (there.nodeValue !== child) there.nodeValue = child;
  });
  return element;
}

/** What both elements do. */
export class QualityElement extends Base {
  static observedAttributes = ["status", "interval"];
  static variant: Variant;
  #socket: SocketIoLike | WebSocketLike | null = null;
  #metrics: QualityMetrics | null = null;
  #end: (() => void) | undefined;
  #monitor: ConnectionQualityMonitor | undefined;
  #was = false;

  /** The socket whose quality is shown: of socket.io-client, or a `WebSocket`. */
  get socket(): SocketIoLike | WebSocketLike | null {
    return this.#socket;
  }
  set socket(socket: SocketIoLike | WebSocketLike | null) {
    this.#socket = socket;
    this.#was = false;
    this.disconnectedCallback();
    if (this.isConnected) this.connectedCallback();
  }

  /** What is shown: measured on the socket, or set by the page that measures itself. */
  get metrics(): QualityMetrics | null {
    return this.#monitor?.metrics ?? this.#metrics;
  }
  set metrics(metrics: QualityMetrics | null) {
    this.#metrics = metrics;
    this.#draw();
  }

  /** Where the connection stands: the attribute, or else as the socket says. */
  get status(): ConnectionStatus {
    const socket = this.#socket;
    const said = this.getAttribute("status") as ConnectionStatus | null;
    if (said || !socket) return said ?? "disconnected";
    if ("readyState" in socket) return (["connecting", "connected"] as const)[socket.readyState] ?? "disconnected";
    this.#was ||= socket.connected;
    return socket.connected ? "connected" : socket.active === false ? "disconnected" : this.#was ? "reconnecting" : "connecting";
  }
  set status(status: ConnectionStatus) {
    this.setAttribute("status", status);
  }

  connectedCallback(): void {
    // Set before the script was loaded, they hide what the class has.
    for (const name of ["socket", "metrics"] as const) {
      const own = Object.getOwnPropertyDescriptor(this, name);
      if (!own) continue;
      delete (this as any)[name];
      this[name] = own.value;
    }
    if (!this.#end) this.#begin();
    this.#draw();
  }

  #begin(): void {
    const socket = this.#socket;
    if (socket) {
      const monitor = new ConnectionQualityMonitor(socket, { interval: +(this.getAttribute("interval") ?? 10_000) });
      const show = () => this.#draw();
      const ends = [listen(monitor, ["change"], show), listen(socket, ["connect_error", "disconnect", "error", "close"], show)];
      monitor.start();
      this.#monitor = monitor;
      this.#end = () => {
        monitor.stop();
        ends.forEach((end) => end());
      };
    }
  }

  disconnectedCallback(): void {
    this.#end?.();
    this.#end = this.#monitor = undefined;
  }

  attributeChangedCallback(name: string): void {
    if (name === "interval") this.socket = this.#socket;
    else this.#draw();
  }

  #draw(): void {
    if (!this.isConnected) return;
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    if (!root.firstElementChild) {
      // A sheet that no policy on inline styles forbids.
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(":host{display:inline-block}" + css);
      root.adoptedStyleSheets = [sheet];
    }
    const drawn = draw(view((this.constructor as typeof QualityElement).variant, this.status, this.metrics), root.firstElementChild);
    if (!drawn.parentNode) root.append(drawn);
  }
}

/** `<tidegate-quality-badge>`: a coloured dot and the latency. */
export class TidegateQualityBadge extends QualityElement {
  static override variant: Variant = "badge";
}

/** `<tidegate-quality-card>`: grade, latency and average, loss, stability, and when it was checked. */
export class TidegateQualityCard extends QualityElement {
  static override variant: Variant = "card";
}

declare global {
  interface HTMLElementTagNameMap {
    "tidegate-quality-badge": TidegateQualityBadge;
    "tidegate-quality-card": TidegateQualityCard;
  }
}

for (const [name, element] of [
  ["tidegate-quality-badge", TidegateQualityBadge],
  ["tidegate-quality-card", TidegateQualityCard],
] as const) {
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, element);
}
