// The look of badge, indicator and card: text as in the page, and five tones, which pages set by `--tidegate-…`.

export const css: string = `.tidegate-quality{\
--tone:var(--tidegate-waiting,light-dark(#5b6472,#9aa4b2));\
--soft:color-mix(in srgb,currentColor 16%,transparent);\
display:inline-flex;vertical-align:middle;align-items:center;gap:.5em;\
font:500 .8125rem/1.4 var(--tidegate-font,system-ui,sans-serif);font-variant-numeric:tabular-nums}\
[data-tone=excellent],[data-tone=good]{--tone:var(--tidegate-good,light-dark(#15803d,#4ade80))}\
[data-tone=fair]{--tone:var(--tidegate-fair,light-dark(#a16207,#facc15))}\
[data-tone=poor]{--tone:var(--tidegate-poor,light-dark(#c2410c,#fb923c))}\
[data-tone=offline]{--tone:var(--tidegate-offline,light-dark(#b91c1c,#f87171));--soft:color-mix(in srgb,var(--tone) 40%,transparent)}\
.tg-badge{padding:.25em .75em .25em .625em;border-radius:9em;background:color-mix(in srgb,var(--tone) 12%,transparent)}\
.tg-dot,.tg-bars i{background:var(--tone);forced-color-adjust:none}\
.tg-dot{width:.5rem;height:.5rem;border-radius:9em}\
[data-tone=offline]>.tg-dot{background:none;box-shadow:inset 0 0 0 2px var(--tone)}\
.tg-bars{display:inline-flex;align-items:end;gap:2px;height:.875rem}\
.tg-bars i{width:3px;height:35%;border-radius:1px}\
.tg-bars i+i{height:55%}.tg-bars i+i+i{height:78%}.tg-bars i+i+i+i{height:100%}\
.tg-bars .tg-off{background:var(--soft)}\
.tg-value:empty{display:none}\
.tg-indicator .tg-value,.tg-card dt{opacity:.7}\
.tg-card{display:block;min-width:13rem;padding:1rem;border-radius:.875rem;border:1px solid var(--soft);background:var(--tidegate-surface,none)}\
.tg-head,.tg-card dl div{display:flex;align-items:center;gap:.625rem}\
.tg-head{font-size:.9375rem;font-weight:600}\
.tg-head .tg-value,.tg-card dd{margin:0 0 0 auto}\
.tg-card dl{display:grid;gap:.375rem;margin:.875rem 0 0;padding-top:.75rem;border-top:1px solid var(--soft)}\
.tg-hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}\
@media(prefers-reduced-motion:no-preference){[data-tone=waiting] :is(.tg-dot,.tg-bars){animation:tg 1.6s infinite}\
@keyframes tg{50%{opacity:.35}}}`;
