// How much faster than others the clocks are of the status page with figures that are made up, so that its pictures show five
// minutes after a few seconds.

export const FASTER = 15;
