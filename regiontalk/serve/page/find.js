// Find: photos of the library by words or by an example (or parts of it), the answering region framed.

import { post } from "./api.js";
import { $, during, element, hedged, hue, strange, submits } from "./dom.js";

const OPENED = 1024; // longer side of a found photo that is opened: the largest that the API gives

export class Find {
  /** open(file) shows a found photo in Describe. */
  constructor(stage, open) {
    this.stage = stage;
    this.open = open;
    this.boxes = [];
    this.count = null;
    submits($("find-form"), () => this.run());
    submits($("example-form"), () => this.#add(corners.map((name) => Number($(name).value))));
    $("example-clear").addEventListener("click", () => this.#clear());
    stage.addEventListener("draw", (event) => this.#add(event.detail));
    stage.addEventListener("photo", () => (stage.call(`The example ${stage.file.name}`), this.#show()));
  }

  /** How many photos can be searched; null without a library. */
  library(count) {
    $("no-library").hidden = count !== null;
    $("find-form").hidden = count === null;
    this.count = count;
  }

  /** An example to search by. */
  take(file) {
    if (this.count === null) return;
    this.boxes = [];
    $("example-form").hidden = $("example-clear").hidden = false;
    this.stage.drawable = true;
    this.stage.load(file);
  }

  photo() {}

  enter() {}

  leave() {}

  run() {
    const example = this.stage.file;
    if (!$("text").value.trim() && !example) return $("text").focus();
    const fields = { text: $("text").value.trim(), photo: example, k: $("k").value, folder: $("folder").value.trim() };
    if (example && this.boxes.length) fields.boxes = this.boxes;
    fields.after = $("after").value;
    fields.before = nextDay($("before").value);
    return during($("find-form").querySelector(".main"), `Searching ${this.count ?? "the"} photos …`, async () => {
      const { hits, unknown_words: unknown } = await post("/v1/search", fields);
      $("hits").replaceChildren(...hits.map((hit) => card(hit, (button) => this.#open(button, hit, fields))));
      return `${hits.length} ${hits.length === 1 ? "photo" : "photos"} found.${strange(unknown)}`;
    });
  }

  /** Ask for one hit again, larger: the page has no other way to a photo of the library. */
  #open(button, hit, fields) {
    return during(button, "Opening …", async () => {
      const { hits } = await post("/v1/search", { ...fields, folder: hit.photo, k: 1, thumbnail: OPENED });
      const found = hits.find((one) => one.photo === hit.photo);
      if (!found?.thumbnail) throw new Error(`${nameOf(hit)}: the file is gone or cannot be shown.`);
      this.open(fileOf(found));
    });
  }

  #clear() {
    this.boxes = [];
    this.stage.clear();
    this.stage.drawable = false;
    $("example-form").hidden = $("example-clear").hidden = true;
    this.#show();
    $("example").focus();
  }

  #add(box) {
    this.boxes.push(box);
    this.#show();
  }

  #show() {
    this.stage.show(this.boxes.map((box, number) => ({ box, label: String(number + 1) })));
    $("example-boxes").replaceChildren(...this.boxes.map((box, number) => this.#line(box, number)));
  }

  #line(box, number) {
    const remove = element("button", { type: "button", textContent: "×", ariaLabel: `Remove part ${number + 1}` });
    remove.addEventListener("click", () => {
      this.boxes.splice(number, 1);
      this.#show();
      $("example-form").querySelector("button:not([type=button])").focus();
    });
    return element("li", {}, element("span", { textContent: `Part ${number + 1}: ${box.join(", ")}` }), remove);
  }
}

const corners = ["u1", "v1", "u2", "v2"];
const nameOf = (hit) => hit.photo.split(/[\\/]/).pop();

/** "Until" a day includes that day. */
function nextDay(day) {
  if (!day) return "";
  const next = new Date(`${day}T00:00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return next.toISOString().slice(0, 10);
}

/** The picture that an answer holds, as a file; `reduced` says that its bytes are not the photo's. */
function fileOf(hit) {
  const bytes = Uint8Array.from(atob(hit.thumbnail.split(",")[1]), (letter) => letter.charCodeAt(0));
  return Object.assign(new File([bytes], nameOf(hit), { type: "image/jpeg" }), { reduced: true });
}

function card(hit, open) {
  const name = nameOf(hit);
  const said = hedged(hit.caption ?? {});
  const parts = [
    element("p", { textContent: said }),
    element("p", { className: "hint", textContent: `${name}, ${hit.date.slice(0, 10)}`, title: hit.photo }),
  ];
  if (!hit.thumbnail) {
    const why = hit.missing ? "The file is gone." : "The file cannot be shown.";
    return element("li", {}, element("div", { className: "gone", textContent: why }), ...parts);
  }
  const button = element("button", { type: "button", textContent: "Describe", ariaLabel: `Describe ${name}` });
  button.addEventListener("click", () => open(button));
  return element("li", {}, framed(hit, `${name}: ${said}. Framed: ${hit.answer.phrase}`), ...parts, button);
}

function framed(hit, alt) {
  const [x1, y1, x2, y2] = hit.answer.box;
  const box = element("div", { className: "box" });
  box.style.setProperty("--hue", hue(0));
  box.style.left = `${(100 * x1) / hit.width}%`;
  box.style.top = `${(100 * y1) / hit.height}%`;
  box.style.width = `${(100 * (x2 - x1)) / hit.width}%`;
  box.style.height = `${(100 * (y2 - y1)) / hit.height}%`;
  return element("div", { className: "frame" }, element("img", { src: hit.thumbnail, alt }), box);
}
