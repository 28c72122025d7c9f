// The look of badge, indicator and card. Pages change it by the custom properties `--tidegate-…`.

export const css: string = `.tidegate-quality{
--tone:var(--tidegate-waiting,light-dark(#5b6472,#9aa4b2));
--text:var(--tidegate-text,light-dark(#1b2330,#e6eaf0));
box-sizing:border-box;display:inline-flex;align-items:center;gap:.5em;color:var(--text);
font:500 .8125rem/1.4 var(--tidegate-font,system-ui,sans-serif);font-variant-numeric:tabular-nums}
.tidegate-quality[data-tone=excellent],.tidegate-quality[data-tone=good]{--tone:var(--tidegate-good,light-dark(#15803d,#4ade80))}
.tidegate-quality[data-tone=fair]{--tone:var(--tidegate-fair,light-dark(#a16207,#facc15))}
.tidegate-quality[data-tone=poor]{--tone:var(--tidegate-poor,light-dark(#c2410c,#fb923c))}
.tidegate-quality[data-tone=offline]{--tone:var(--tidegate-offline,light-dark(#b91c1c,#f87171))}
.tidegate-badge{padding:.25em .75em .25em .625em;border-radius:9em;background:color-mix(in srgb,var(--tone) 12%,transparent)}
.tidegate-dot{width:.5rem;height:.5rem;border-radius:50%;background:var(--tone);forced-color-adjust:none}
[data-tone=offline]>.tidegate-dot{background:none;box-shadow:inset 0 0 0 2px var(--tone)}
.tidegate-bars{display:inline-flex;align-items:flex-end;gap:2px;height:.875rem;forced-color-adjust:none}
.tidegate-bars i{width:3px;height:35%;border-radius:1px;background:var(--text);opacity:.18}
.tidegate-bars i:nth-child(2){height:55%}.tidegate-bars i:nth-child(3){height:78%}.tidegate-bars i:nth-child(4){height:100%}
.tidegate-bars .tidegate-lit{background:var(--tone);opacity:1}
.tidegate-value:empty{display:none}
.tidegate-indicator .tidegate-value,.tidegate-quality dt{color:var(--tidegate-muted,light-dark(#5b6472,#9aa4b2));font-weight:400}
.tidegate-card{display:block;min-width:15rem;padding:1rem 1.125rem;border-radius:.875rem;
border:1px solid var(--tidegate-border,light-dark(#e2e6ec,#2b3341));background:var(--tidegate-surface,light-dark(#fff,#161c26))}
.tidegate-head{display:flex;align-items:center;gap:.625rem;font-size:.9375rem;font-weight:600}
.tidegate-head .tidegate-value{margin-inline-start:auto;font-size:1.125rem}
.tidegate-quality dl{display:grid;gap:.375rem;margin:.875rem 0 0;padding-top:.75rem;border-top:1px solid var(--tidegate-border,light-dark(#e2e6ec,#2b3341))}
.tidegate-quality dl div{display:flex;justify-content:space-between;gap:1.5rem}
.tidegate-quality dd{margin:0}
.tidegate-hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media(prefers-reduced-motion:no-preference){[data-tone=waiting]>.tidegate-dot,[data-tone=waiting] .tidegate-bars{animation:tidegate-pulse 1.6s ease-in-out infinite}
@keyframes tidegate-pulse{50%{opacity:.35}}}`;
