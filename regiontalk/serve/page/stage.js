// The photo with its boxes: shows them, lights one up, and lets one be drawn. Boxes are in pixels of the photo.

import { $, element, hue } from "./dom.js";

const LEAST = 4; // a drag shorter than this many screen pixels is a click

export class Stage extends EventTarget {
  constructor() {
    super();
    this.file = null;
    this.size = null; // [width, height] of the photo
    this.boxes = [];
    this.drawable = false;
    $("stage").addEventListener("pointerdown", (event) => this.#begin(event));
  }

  /** Show a picture file. A kind that this browser cannot show still has its boxes, on a plain ground. */
  async load(file) {
    const image = $("picture");
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(file);
    this.file = file;
    this.size = null;
    $("stage").style.aspectRatio = "";
    this.show([]);
    const shown = await image.decode().then(() => true, () => false);
    if (file !== this.file) return; // another photo came meanwhile
    $("stage").classList.remove("empty", "unshown");
    $("stage").classList.add("loaded");
    $("stage").classList.toggle("unshown", !shown);
    image.hidden = !shown;
    image.alt = `The photo ${file.name || ""}`.trim();
    image.title = file.name;
    $("empty").hidden = shown;
    $("empty").textContent = "This browser cannot show this kind of picture; its captions come all the same.";
    this.size = shown ? [image.naturalWidth, image.naturalHeight] : null;
    this.dispatchEvent(new Event("photo"));
  }

  /** What the server says of the photo's size. */
  measured(width, height) {
    this.size = [width, height];
    if ($("picture").hidden) $("stage").style.aspectRatio = `${width} / ${height}`;
  }

  /** Replace all boxes: {box, label, hue, unsure}. None can stand on a photo whose size is not known yet. */
  show(boxes) {
    this.boxes = this.size ? boxes : [];
    $("boxes").classList.remove("dimmed");
    $("boxes").replaceChildren(...this.boxes.map((item, number) => this.#drawn(item, number)));
  }

  /** Light up the boxes with these numbers; none brings all back. */
  light(numbers) {
    const parts = [...$("boxes").children];
    parts.forEach((part, number) => part.classList.toggle("lit", numbers.includes(number)));
    $("boxes").classList.toggle("dimmed", numbers.length > 0);
  }

  #drawn(item, number) {
    const part = element("div", { className: item.unsure ? "box unsure" : "box" });
    if (item.label) part.append(element("b", { textContent: item.label }));
    part.style.setProperty("--hue", item.hue ?? hue(number));
    this.#place(part, item.box);
    const [x1, y1, x2, y2] = item.box;
    part.style.zIndex = Math.max(1, Math.round(900 - 800 * ((x2 - x1) * (y2 - y1)) / (this.size[0] * this.size[1])));
    part.addEventListener("pointerenter", () => this.#tell("enter", number));
    part.addEventListener("pointerleave", () => this.#tell("leave", number));
    part.addEventListener("click", () => this.#tell("pick", number));
    return part;
  }

  #place(part, [x1, y1, x2, y2]) {
    const [width, height] = this.size;
    part.style.left = `${(100 * x1) / width}%`;
    part.style.top = `${(100 * y1) / height}%`;
    part.style.width = `${(100 * (x2 - x1)) / width}%`;
    part.style.height = `${(100 * (y2 - y1)) / height}%`;
  }

  #tell(what, number) {
    if (!this.dragging) this.dispatchEvent(new CustomEvent(what, { detail: number }));
  }

  #begin(event) {
    const finger = event.pointerType === "touch" && !$("stage").classList.contains("drawing");
    if (!this.drawable || !this.size || event.button !== 0 || finger) return;
    event.preventDefault();
    const start = this.#pixel(event);
    const from = [event.clientX, event.clientY];
    const part = element("div", { className: "box fresh lit" });
    part.style.setProperty("--hue", hue(1));
    const move = (now) => {
      this.dragging = Math.hypot(now.clientX - from[0], now.clientY - from[1]) >= LEAST;
      if (!this.dragging) return;
      if (!part.isConnected) $("boxes").append(part);
      this.#place(part, corners(start, this.#pixel(now)));
    };
    const end = (now) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      part.remove();
      const drawn = this.dragging && now.type === "pointerup";
      this.dragging = false;
      const box = corners(start, this.#pixel(now));
      if (drawn && box[2] > box[0] && box[3] > box[1]) this.dispatchEvent(new CustomEvent("draw", { detail: box }));
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  #pixel(event) {
    const frame = $("boxes").getBoundingClientRect();
    const share = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
    return share.map((value, axis) => Math.round(Math.min(1, Math.max(0, value)) * this.size[axis]));
  }
}

function corners([x, y], [u, v]) {
  return [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
}
