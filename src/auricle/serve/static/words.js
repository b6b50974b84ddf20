// The words on the page: shaded by confidence, each a button that plays it.

const MARGIN_S = 0.08; // heard before and after a word: its times are near the truth

export class Words {
  constructor(element, partial, spoken, sound) {
    Object.assign(this, { element, partial, spoken, sound, known: [], until: Infinity });
    element.addEventListener("click", ({ target }) => target.matches("button") && this.play(target));
    element.addEventListener("keydown", (event) => this.move(event));
    sound.addEventListener("timeupdate", () => this.follow());
  }

  clear() {
    this.known = [];
    this.element.replaceChildren();
    this.partial.replaceChildren();
    this.spoken.replaceChildren();
  }

  // Final words: {word, start, end, confidence}.
  add(words) {
    for (const word of words) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = word.word;
      button.tabIndex = this.element.childElementCount ? -1 : 0; // one stop for Tab, arrows within
      button.style.setProperty("--confidence", word.confidence);
      button.title = `${word.start.toFixed(2)} s, ${Math.round(100 * word.confidence)} % sure`;
      this.element.append(button, " ");
      this.known.push(word);
    }
    if (words.length) {
      const line = document.createElement("span");
      line.textContent = `${words.map(({ word }) => word).join(" ")} `;
      this.spoken.append(line);
    }
  }

  // What may still change; grey, its stable words less so.
  show(words) {
    this.partial.replaceChildren(
      ...words.map(({ word, stable }) => {
        const span = document.createElement("span");
        span.textContent = `${word} `;
        span.classList.toggle("stable", stable);
        return span;
      }),
    );
  }

  play(button) {
    const word = this.known[[...this.element.children].indexOf(button)];
    this.until = word.end + MARGIN_S;
    this.sound.currentTime = Math.max(0, word.start - MARGIN_S);
    this.sound.play().catch(() => {}); // a format that this browser cannot play
  }

  follow() {
    const now = this.sound.currentTime;
    if (now >= this.until) {
      this.sound.pause();
      this.until = Infinity;
    }
    [...this.element.children].forEach((button, n) => {
      const current = !this.sound.paused && this.known[n].start <= now && now < this.known[n].end;
      button.toggleAttribute("aria-current", current);
      if (current) button.setAttribute("aria-current", "true");
    });
  }

  move(event) {
    const buttons = [...this.element.children];
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined || !buttons[to]) return;
    event.preventDefault();
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  }
}
