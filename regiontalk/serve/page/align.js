// Align: each word of a sentence joined to its region, the matrix behind that and where the model looks; or the places
// of a whole phrase.
// A region has one number everywhere: its column in the matrix, 0 being the whole photo.

import { post } from "./api.js";
import { $, during, element, hue, strange, submits } from "./dom.js";
import { joined, looks, table } from "./matrix.js";

export class Align {
  constructor(stage) {
    this.stage = stage;
    this.photo();
    submits($("align-form"), () => this.run());
    for (const way of document.getElementsByName("way")) way.addEventListener("change", () => this.#ask());
    for (const [kind, on] of [["enter", true], ["leave", false], ["pick", true]]) {
      stage.addEventListener(kind, (event) => this.active && this.#pointed(event.detail, on));
    }
  }

  photo() {
    this.joins = []; // {text, number, box, score, row} of every word that is joined, or of every place of a phrase
    this.matrix = this.looks = null;
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
    const { file, signal } = this.stage;
    if (!file) return $("file").focus();
    const [waiting, ask] = wholePhrase() ? ["Looking …", this.#locate] : ["Reading …", this.#align];
    const work = async () => {
      const said = await ask.call(this, file, signal);
      this.show();
      return said;
    };
    return during($("align-form").querySelector(".main"), waiting, work, signal);
  }

  async #align(file, signal) {
    const fields = { photo: file, sentence: $("sentence").value, beta: $("beta").value || 0, looks: true };
    const answer = await post("/v1/align", fields, signal);
    this.stage.measured(answer.width, answer.height);
    this.joins = joined(answer);
    [this.matrix, this.looks] = [answer.matrix, answer.looks];
    const regions = new Set(this.joins.map((join) => join.number)).size;
    return `${this.joins.length} words joined to ${count(regions, "region")}.${strange(answer.unknown_words)}`;
  }

  async #locate(file, signal) {
    const fields = { photo: file, phrase: $("sentence").value, k: $("places").value };
    const answer = await post("/v1/locate", fields, signal);
    this.stage.measured(answer.width, answer.height);
    this.joins = answer.matches.map(({ phrase: text, box, score }, place) => ({ text, number: place + 1, box, score }));
    this.matrix = this.looks = null;
    return `${count(this.joins.length, "place")}, the best first.${strange(answer.unknown_words)}`;
  }

  /** Fit the form to what is asked for. */
  #ask() {
    const whole = wholePhrase();
    $("sentence-label").textContent = whole ? "A phrase to look for" : "A sentence about the photo";
    $("sentence").placeholder = whole ? "a red shirt" : "a man in a red shirt rides a bike";
    $("beta-part").hidden = whole;
    $("places-part").hidden = !whole;
    $("align-form").querySelector(".main").textContent = whole ? "Locate" : "Align";
  }

  show() {
    const numbers = [...new Set(this.joins.map((join) => join.number))];
    this.regions = numbers.map((number) => {
      const joins = this.joins.filter((join) => join.number === number);
      const words = this.matrix ? [name(number), ...joins.map((join) => join.text)].join(" ") : String(number);
      return { number, box: joins[0].box, hue: hue(number), label: words };
    });
    $("words").replaceChildren(...this.joins.map((join) => this.#join(join)));
    $("matrix-part").hidden = !this.matrix;
    $("looks-part").hidden = !this.looks;
    if (this.matrix) $("matrix").replaceChildren(...table(this.matrix, this.joins, (...cell) => this.#cell(...cell)));
    if (this.looks) $("looks").replaceChildren(...looks(this.looks, this.stage));
    this.#draw();
  }

  #draw() {
    this.alone = false; // whether only one region of the matrix is shown
    if (this.active) this.stage.show(this.regions);
  }

  #join({ text, number, box, score }) {
    const corners = box.map(Math.round).join(", ");
    const button = element(
      "button",
      { type: "button", title: `box ${corners}, score ${score.toFixed(3)}` },
      element("span", { textContent: text }),
      " ",
      element("span", { className: "number", textContent: name(number) }),
    );
    button.dataset.number = number;
    button.setAttribute("aria-label", `${text} ${name(number)}, box ${corners}, score ${score.toFixed(3)}`);
    button.style.setProperty("--hue", hue(number));
    for (const [kind, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) {
      button.addEventListener(kind, () => this.#point(number, on));
    }
    return button;
  }

  #pointed(place, on) {
    if (!this.alone) this.#point(this.regions[place].number, on);
  }

  #point(number, on) {
    this.stage.light(on ? [this.regions.findIndex((region) => region.number === number)] : []);
    [...$("words").children].forEach((word) => word.classList.toggle("lit", on && word.dataset.number === `${number}`));
  }

  /** One region of the matrix alone, with what is said of it; without a box all come back. */
  #cell(box, number, words) {
    if (!box) return this.#draw();
    this.alone = true;
    this.stage.show([{ box, label: [name(number), words].join(" ").trim(), hue: hue(number) }]);
    this.stage.light([0]);
  }
}

const wholePhrase = () => document.querySelector("[name=way]:checked").value === "phrase";
const name = (number) => (number === 0 ? "photo" : String(number));
const count = (many, what) => `${many} ${what}${many === 1 ? "" : "s"}`;
