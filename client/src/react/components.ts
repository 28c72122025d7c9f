// Badge, card, and the indicator that is either.

import { createElement, Fragment, type ReactElement } from "react";
import type { QualityMetrics } from "../monitor.js";
import { css } from "../styles.js";
import { view, type ConnectionStatus, type Tree, type Variant } from "../view.js";

/** Of every component. */
export interface ConnectionQualityProps {
  /** Where the connection stands. */
  status: ConnectionStatus;
  /** What `useConnectionQuality` returns. Without it only the status is shown. */
  metrics?: QualityMetrics | null | undefined;
  className?: string | undefined;
}

/** Of `ConnectionQualityIndicator`. */
export interface ConnectionQualityIndicatorProps extends ConnectionQualityProps {
  /** Show everything, as the card does. */
  showDetails?: boolean | undefined;
  /** Show dot and latency only, as the badge does. */
  compact?: boolean | undefined;
}

const draw = ([tag, { class: className, ...attributes }, ...children]: Tree): ReactElement =>
  createElement(tag, { className, ...attributes }, ...children.map((child) => (typeof child === "string" ? child : draw(child))));

// React 19 puts one of them into the head of the page; React 18 leaves it here.
const style = createElement("style", { href: "tidegate-quality", precedence: "a" } as object, css);

const show = (variant: Variant, { status, metrics, className }: ConnectionQualityProps): ReactElement =>
  createElement(Fragment, null, style, draw(view(variant, status, metrics, className)));

/** Bars, grade and latency; with `compact` the badge, with `showDetails` the card. */
export const ConnectionQualityIndicator = ({ showDetails, compact, ...props }: ConnectionQualityIndicatorProps): ReactElement =>
  show(compact ? "badge" : showDetails ? "card" : "indicator", props);

/** A coloured dot and the latency. */
export const ConnectionQualityBadge = (props: ConnectionQualityProps): ReactElement => show("badge", props);

/** Grade, latency and average, loss, stability, and when it was checked. */
export const ConnectionQualityCard = (props: ConnectionQualityProps): ReactElement => show("card", props);
