// What all parts of the page use.

export const $ = (id) => document.getElementById(id);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** An element of this class, with this text or these children. */
export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((each) => each !== null && each !== undefined));
  return element;
}

/** Says it in an element, in the colour of a mood: "good", "warn", "bad", or none. */
export function tell(element, mood, text) {
  for (const each of ["good", "warn", "bad"]) element.classList.toggle(each, each === mood);
  element.textContent = text;
}

/** Writes only what has changed, so that nothing is read aloud twice. */
export function show(id, text) {
  const element = $(id);
  if (element.textContent !== String(text)) element.textContent = text;
}

/** Resolves when `condition` is true; looks after each `event` of `target`. */
export function when(target, event, condition) {
  return new Promise((resolve) => {
    const look = () => {
      if (!condition()) return;
      target.removeEventListener(event, look);
      resolve();
    };
    target.addEventListener(event, look);
    look();
  });
}
