// Find: photos of the library by words or by an example, the answering region framed.

import { post } from "./api.js";
import { $, during, element, hue } from "./dom.js";

export class Find {
  constructor() {
    $("find-form").addEventListener("submit", (event) => (event.preventDefault(), this.run()));
  }

  /** How many photos can be searched; null without a library. */
  library(count) {
    $("no-library").hidden = count !== null;
    $("find-form").hidden = count === null;
    this.count = count;
  }

  photo() {}

  enter() {}

  leave() {}

  run() {
    const example = $("example").files[0] ?? null;
    if (!$("text").value.trim() && !example) return $("text").focus();
    const fields = { text: $("text").value.trim(), photo: example, k: $("k").value, folder: $("folder").value.trim() };
    fields.after = $("after").value;
    fields.before = nextDay($("before").value);
    return during($("find-form").querySelector(".main"), `Searching ${this.count} photos …`, async () => {
      const { hits, unknown_words: unknown } = await post("/v1/search", fields);
      $("hits").replaceChildren(...hits.map(card));
      const lost = unknown.length ? ` Words that the model does not know: ${unknown.join(", ")}.` : "";
      return `${hits.length} ${hits.length === 1 ? "photo" : "photos"} found.${lost}`;
    });
  }
}

/** "Until" a day includes that day. */
function nextDay(day) {
  if (!day) return "";
  const next = new Date(`${day}T00:00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  return next.toISOString().slice(0, 10);
}

function card(hit) {
  const name = hit.photo.split(/[\\/]/).pop();
  const said = hit.caption?.text ?? "";
  const picture = hit.thumbnail
    ? framed(hit, `${name}: ${said}. Framed: ${hit.answer.phrase}`)
    : element("div", { className: "gone", textContent: hit.missing ? "The file is gone." : "The file cannot be shown." });
  return element(
    "li",
    {},
    picture,
    element("p", { textContent: said }),
    element("p", { className: "hint", textContent: `${name}, ${hit.date.slice(0, 10)}`, title: hit.photo }),
  );
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
