// What all parts of the page use: elements made of text, numbers for people, requests with the token.

const STORED = "tidegate.token";

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children. Texts are texts, never markup. */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text only where it is another one, so that a reader of the screen hears changes alone. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (number) => whole.format(number);
export const compact = (number) => (Math.abs(number) < 10000 ? whole.format(number) : short.format(number));
export const rate = (number) => (number >= 100 ? compact(number) : exact.format(number));
export const milliseconds = (number) => (number >= 10 ? whole.format(number) : exact.format(number));
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export function bytes(number) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (number >= size) return `${exact.format(number / size)} ${unit}`;
  }
  return `${count(number)} B`;
}

export function duration(seconds) {
  const [s, m, h, d] = [seconds, seconds / 60, seconds / 3600, seconds / 86400].map(Math.floor);
  if (d >= 14) return `${d} d`;
  if (d >= 1) return `${d} d ${h % 24} h`;
  if (h >= 1) return `${h} h ${m % 60} min`;
  if (m >= 1) return `${m} min`;
  return `${Math.max(0, s)} s`;
}

export const since = (unix) => duration(Date.now() / 1000 - unix);

// Not in a cookie, which browsers would send by themselves.
let token = sessionStorage.getItem(STORED) ?? "";
export const hasToken = () => token !== "";
export function setToken(value) {
  token = value;
  if (token) sessionStorage.setItem(STORED, token);
  else sessionStorage.removeItem(STORED);
}

/** A request to this address, with the token if there is one. */
export const ask = (path, options = {}) => fetch(path, {
  cache: "no-store", credentials: "omit", ...options,
  headers: { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) },
});

/** What is wrong, as the answer says it. */
export async function refusal(answer) {
  try {
    return (await answer.json()).message;
  } catch {
    return `The answer was ${answer.status}.`;
  }
}

export const post = (path, value) => ask(path, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value),
});

let toasting;
/** Says what was done, for a while. */
export function toast(text) {
  write($("toast"), text);
  $("toast").hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

for (const button of document.querySelectorAll("[data-closes]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
