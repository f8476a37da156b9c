// A photo with its boxes: shows them, lights one up, and lets one be drawn. Boxes are in pixels of the photo.

import { element, hue } from "./dom.js";

const LEAST = 4; // a drag shorter than this many screen pixels is a click

/** Dispatches "photo" when another one is shown, "enter", "leave" and "pick" of a box, and "draw" of a new one. */
export class Stage extends EventTarget {
  #asking = new AbortController();
  #coming = null;
  #drawable = false;

  /** The part of the page with an img, .boxes and .note; the button lets a finger draw instead of scroll. */
  constructor(root, button) {
    super();
    this.root = root;
    this.image = root.querySelector("img");
    this.layer = root.querySelector(".boxes");
    this.note = root.querySelector(".note");
    this.button = button;
    this.file = null;
    this.size = null; // [width, height] of the photo
    root.addEventListener("pointerdown", (event) => this.#begin(event));
    button.addEventListener("click", () => this.#fingers(!root.classList.contains("drawing")));
  }

  /** Aborted when another photo comes: nobody waits any more for what was asked about this one. */
  get signal() {
    return this.#asking.signal;
  }

  /** Whether boxes may be drawn. */
  set drawable(may) {
    this.#drawable = may;
    this.button.hidden = !may;
    if (!may) this.#fingers(false);
  }

  /** Show a picture file. A kind that this browser cannot show still has its boxes, on a plain ground. */
  async load(file) {
    this.#forget();
    this.#coming = file;
    this.image.src = URL.createObjectURL(file);
    const shown = await this.image.decode().then(() => true, () => false);
    if (file !== this.#coming) return; // another photo came meanwhile
    this.#asking = new AbortController();
    this.file = file;
    this.size = shown ? [this.image.naturalWidth, this.image.naturalHeight] : null;
    this.root.classList.remove("empty");
    this.root.classList.add("loaded");
    this.root.classList.toggle("unshown", !shown);
    this.image.hidden = !shown;
    this.image.title = file.name;
    this.call("");
    this.note.hidden = shown;
    this.note.textContent = "This browser cannot show this kind of picture; its words come all the same.";
    this.dispatchEvent(new Event("photo"));
  }

  /** Take the photo away, and call off what was asked about it. */
  clear() {
    this.#forget();
    this.image.removeAttribute("src");
    this.image.hidden = true;
  }

  /** What the photo is called by who cannot see it: its caption; its file's name where there is none. */
  call(words) {
    this.image.alt = words || `The photo ${this.file?.name ?? ""}`.trim();
  }

  /** What the server says of the photo's size. */
  measured(width, height) {
    this.size = [width, height];
    if (this.image.hidden) this.root.style.aspectRatio = `${width} / ${height}`;
  }

  /** Replace all boxes: {box, label, hue, unsure}. None can stand on a photo whose size is not known yet. */
  show(boxes) {
    const placed = this.size ? boxes : [];
    this.layer.classList.remove("dimmed");
    this.layer.replaceChildren(...placed.map((item, number) => this.#drawn(item, number)));
  }

  /** Light up the boxes with these numbers; none brings all back. */
  light(numbers) {
    const parts = [...this.layer.children];
    parts.forEach((part, number) => part.classList.toggle("lit", numbers.includes(number)));
    this.layer.classList.toggle("dimmed", numbers.length > 0);
  }

  #forget() {
    this.#asking.abort();
    this.#coming = this.file = this.size = null;
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.root.style.aspectRatio = "";
    this.show([]);
  }

  #fingers(draw) {
    this.root.classList.toggle("drawing", draw);
    this.button.setAttribute("aria-pressed", draw);
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
    const finger = event.pointerType === "touch" && !this.root.classList.contains("drawing");
    if (!this.#drawable || !this.size || event.button !== 0 || finger) return;
    event.preventDefault();
    const start = this.#pixel(event);
    const from = [event.clientX, event.clientY];
    const part = element("div", { className: "box fresh lit" });
    part.style.setProperty("--hue", hue(1));
    const move = (now) => {
      this.dragging = this.size && Math.hypot(now.clientX - from[0], now.clientY - from[1]) >= LEAST;
      if (!this.dragging) return;
      if (!part.isConnected) this.layer.append(part);
      this.#place(part, corners(start, this.#pixel(now)));
    };
    const end = (now) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      part.remove();
      const drawn = this.dragging && this.size && now.type === "pointerup";
      this.dragging = false;
      if (!drawn) return;
      const box = corners(start, this.#pixel(now));
      if (box[2] > box[0] && box[3] > box[1]) this.dispatchEvent(new CustomEvent("draw", { detail: box }));
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  #pixel(event) {
    const frame = this.layer.getBoundingClientRect();
    const share = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
    return share.map((value, axis) => Math.round(Math.min(1, Math.max(0, value)) * this.size[axis]));
  }
}

function corners([x, y], [u, v]) {
  return [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
}
