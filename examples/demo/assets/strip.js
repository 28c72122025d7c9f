// A row of squares, one for each message, with the count of each outcome beside its meaning.

import { $, make } from "./basics.js";

export class Strip {
  /** `meanings`: of "waiting", "answered", "refused" and "lost", those that can be. */
  constructor(id, meanings) {
    this.box = $(id);
    this.key = $(`${id}-key`);
    this.meanings = meanings;
    this.clear();
  }

  clear(blanks = 0) {
    this.counts = { waiting: 0, answered: 0, refused: 0, lost: 0 };
    this.squares = Array.from({ length: blanks }, () => make("i"));
    this.turns = 0;
    this.sent = 0;
    this.box.replaceChildren(...this.squares);
    this.show();
  }

  /** The next square shows this message until its outcome is known. */
  async follow(coming) {
    const at = this.sent, counts = this.counts;
    this.sent += 1;
    const square = this.squares[at] ?? this.box.appendChild(make("i"));
    square.className = "waiting";
    square.title = `${at + 1}: waiting`;
    counts.waiting += 1;
    this.show();
    const result = await coming;
    counts.waiting -= 1;
    counts[result.outcome] += 1;
    square.className = result.outcome;
    square.title = `${at + 1}: ${result.text}, after ${result.ms.toFixed(0)} ms`;
    // Acks that arrive together change colour one after the other, so that they can be seen.
    square.style.setProperty("--turn", this.turns);
    this.turns += 1;
    if (counts === this.counts) this.show();
    return result;
  }

  show() {
    const kinds = Object.entries(this.meanings);
    this.key.replaceChildren(...kinds.map(([kind, meaning]) => make("b", kind, `${this.counts[kind]} ${meaning}`)));
    this.box.setAttribute("aria-label", kinds.map(([kind, meaning]) => `${this.counts[kind]} ${meaning}`).join(", "));
  }
}
