// The one file that the gate serves: elements and core.

export * from "./index.js";
export { TidegateQualityBadge, TidegateQualityCard } from "./elements.js";
