// The labels of the moment: a row each, its bar as long as the label is likely.

export class Meter {
  constructor(list) {
    this.list = list;
  }

  clear() {
    this.list.replaceChildren();
  }

  // {label, confidence}, the likeliest first. Rows are kept: what has the focus or is read stays.
  show(labels) {
    while (this.list.childElementCount < labels.length) this.list.append(row());
    while (this.list.childElementCount > labels.length) this.list.lastElementChild.remove();
    labels.forEach(({ label, confidence }, n) => {
      const [name, bar, share] = this.list.children[n].children;
      name.textContent = label;
      bar.value = confidence;
      bar.setAttribute("aria-label", label);
      share.textContent = `${Math.round(100 * confidence)} %`;
    });
  }
}

function row() {
  const made = document.createElement("li");
  made.append(document.createElement("span"), document.createElement("meter"), document.createElement("span"));
  made.lastElementChild.setAttribute("aria-hidden", "true"); // the bar says it
  return made;
}

// Neighbouring windows with the same likeliest label as one stretch, as `Words` takes it.
export function stretches(windows) {
  const found = [];
  for (const { start, end, labels } of windows) {
    const [{ label, confidence }] = labels;
    const last = found.at(-1);
    if (last?.word === label) {
      last.end = end;
      last.confidence = Math.max(last.confidence, confidence);
    } else found.push({ word: label, start: last ? Math.max(start, Math.min(last.end, end)) : start, end, confidence });
  }
  return found;
}
