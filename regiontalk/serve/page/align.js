// Align: each word of a sentence joined to its region, the whole matrix, and where the model looks.

import { post } from "./api.js";
import { $, during, element, hue } from "./dom.js";

const DIM = 0.8; // darkness where the model does not look

export class Align {
  constructor(stage) {
    this.stage = stage;
    this.answer = null;
    $("align-form").addEventListener("submit", (event) => (event.preventDefault(), this.run()));
    for (const [kind, on] of [["enter", true], ["leave", false], ["pick", true]]) {
      stage.addEventListener(kind, (event) => this.active && this.#point(event.detail, on));
    }
  }

  photo() {
    this.answer = null;
    this.show();
  }

  enter() {
    this.active = true;
    this.show();
  }

  leave() {
    this.active = false;
  }

  run() {
    const file = this.stage.file;
    if (!file) return $("file").focus();
    const fields = { photo: file, sentence: $("sentence").value, beta: $("beta").value || 0, looks: true };
    return during($("align-form").querySelector(".main"), "Reading …", async () => {
      const answer = await post("/v1/align", fields);
      if (file !== this.stage.file) return;
      this.answer = answer;
      this.stage.measured(answer.width, answer.height);
      if (this.active) this.show();
      return `${answer.matches.length} words joined to ${this.boxes.length} regions.`;
    });
  }

  show() {
    const matches = this.answer?.matches ?? [];
    this.boxes = [];
    this.places = matches.map((match) => {
      const key = String(match.box);
      if (!this.boxes.some((box) => String(box) === key)) this.boxes.push(match.box);
      return this.boxes.findIndex((box) => String(box) === key);
    });
    $("words").replaceChildren(...matches.map((match, word) => this.#word(match, word)));
    $("matrix-part").hidden = $("looks-part").hidden = !this.answer;
    if (this.active) this.#draw();
    if (!this.answer) return;
    this.#matrix(this.answer.matrix);
    $("looks-part").hidden = !this.answer.looks;
    $("looks").replaceChildren(...(this.answer.looks ? looks(this.answer.looks, this.stage) : []));
  }

  #draw() {
    const said = (place) => this.answer.matches.filter((_, word) => this.places[word] === place);
    this.stage.show(
      this.boxes.map((box, place) => ({ box, hue: hue(place), label: said(place).map((one) => one.phrase).join(" ") })),
    );
  }

  #word(match, word) {
    const place = this.places[word];
    const corners = match.box.map(Math.round).join(", ");
    const button = element("button", { type: "button", textContent: match.phrase, title: `box ${corners}` });
    button.setAttribute("aria-label", `${match.phrase}: region ${place + 1}, box ${corners}`);
    button.style.setProperty("--hue", hue(place));
    for (const [kind, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) {
      button.addEventListener(kind, () => this.#point(place, on));
    }
    return button;
  }

  #point(place, on) {
    this.stage.light(on ? [place] : []);
    [...$("words").children].forEach((word, row) => word.classList.toggle("lit", on && this.places[row] === place));
  }

  /** A table: rows are words, columns regions, 0 the whole photo; the deeper the colour, the better the match. */
  #matrix({ words, boxes, scores }) {
    const [low, high] = [Math.min(...scores.flat()), Math.max(...scores.flat())];
    const head = element("tr", {}, element("th", { scope: "col", textContent: "word" }));
    boxes.forEach((_, column) => head.append(element("th", { scope: "col", textContent: column || "photo" })));
    const rows = words.map((word, row) => {
      const best = Math.max(...scores[row]);
      const line = element("tr", {}, element("th", { scope: "row", textContent: word }));
      scores[row].forEach((score, column) => {
        const share = (score - low) / (high - low || 1);
        const cell = element("td", { textContent: score.toFixed(3), className: score === best ? "best" : "" });
        cell.style.background = `color-mix(in srgb, var(--accent) ${Math.round(35 * share)}%, var(--card))`;
        cell.addEventListener("pointerenter", () => this.#one(boxes[column], word));
        cell.addEventListener("pointerleave", () => this.#draw());
        line.append(cell);
      });
      return line;
    });
    const title = element("caption", { className: "quiet", textContent: "Scores of every word on every region" });
    $("matrix").replaceChildren(title, element("thead", {}, head), element("tbody", {}, ...rows));
  }

  #one(box, word) {
    this.stage.show([{ box, label: word, hue: hue(0) }]);
    this.stage.light([0]);
  }
}

/** The photo once a word, bright where the model looked. */
function looks({ words, boxes, scores }, stage) {
  const image = $("picture");
  const [width, height] = stage.size;
  return words.map((word, row) => {
    const canvas = element("canvas", { width: 240, height: Math.max(1, Math.round((240 * height) / width)) });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Where the model looks at “${word}”`);
    const brush = canvas.getContext("2d");
    const light = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    const most = Math.max(...scores[row]) || 1;
    boxes.forEach(([x1, y1, x2, y2], place) => {
      light.fillStyle = `rgb(0 0 0 / ${DIM * (1 - scores[row][place] / most)})`;
      const [x, y] = [(x1 / width) * canvas.width, (y1 / height) * canvas.height];
      light.clearRect(x, y, ((x2 - x1) / width) * canvas.width + 1, ((y2 - y1) / height) * canvas.height + 1);
      light.fillRect(x, y, ((x2 - x1) / width) * canvas.width + 1, ((y2 - y1) / height) * canvas.height + 1);
    });
    if (!image.hidden) brush.drawImage(image, 0, 0, canvas.width, canvas.height);
    brush.filter = "blur(8px)";
    brush.drawImage(light.canvas, 0, 0);
    return element("figure", {}, canvas, element("figcaption", { textContent: word }));
  });
}
