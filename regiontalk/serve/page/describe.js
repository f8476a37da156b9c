// Describe: captions on the regions that the model finds and on boxes of the user's own, lit up either way.

import { post } from "./api.js";
import { $, download, during, element, hedged, hue, percent, submits } from "./dom.js";

export class Describe {
  constructor(stage) {
    this.stage = stage;
    this.result = null;
    this.own = [];
    this.asked = null; // the photo that was asked about last
    submits($("describe-form"), () => this.run());
    submits($("box-form"), () => this.caption(this.#typed()));
    $("threshold").addEventListener("input", () => this.show());
    $("save").addEventListener("click", () => download("regions.json", this.#all()));
    stage.addEventListener("draw", (event) => this.active && this.caption(event.detail));
    for (const [kind, on] of [["enter", true], ["leave", false], ["pick", true]]) {
      stage.addEventListener(kind, (event) => this.active && this.#point(event.detail, on, kind === "pick"));
    }
  }

  photo() {
    this.result = null;
    this.own = [];
    this.asked = null;
    this.show();
  }

  enter() {
    this.active = this.stage.drawable = true;
    this.show();
    if (this.stage.file && this.stage.file !== this.asked) this.run();
  }

  leave() {
    this.active = this.stage.drawable = false;
  }

  run() {
    const { file, signal } = this.stage;
    if (!file) return $("file").focus();
    this.asked = file;
    const fields = { photo: file, regions: $("regions").value, beams: $("beams").value, threshold: 0 };
    return during($("describe-form").querySelector(".main"), "Looking …", async () => {
      const result = await post("/v1/caption", fields, signal);
      this.result = result;
      this.stage.measured(result.width, result.height);
      this.show();
      const named = result.regions.filter((region) => this.#words(region)).length;
      return `${this.#whole()}. ${result.regions.length} regions, ${named} with words.`;
    }, signal);
  }

  caption(box) {
    const { file, signal } = this.stage;
    if (!file) return $("file").focus();
    ["x1", "y1", "x2", "y2"].forEach((name, place) => ($(name).value = box[place]));
    const fields = { photo: file, boxes: [box], beams: $("beams").value, threshold: 0 };
    return during($("box-form").querySelector("button"), "Looking …", async () => {
      const answer = await post("/v1/caption", fields, signal);
      this.stage.measured(answer.width, answer.height);
      this.own.unshift(answer.regions[0]);
      this.show();
      return `Your box: ${this.#words(answer.regions[0]) ?? "not sure"}.`;
    }, signal);
  }

  /** List and boxes, your own first; what is less confident than the slider says has no words. */
  show() {
    $("threshold-shown").textContent = percent($("threshold").value);
    $("save").disabled = !this.result;
    const regions = this.#regions();
    $("whole").textContent = this.result ? this.#whole() : "";
    if (this.result) this.stage.call(this.#words(this.result.caption) && hedged(this.result.caption));
    $("captions").replaceChildren(...regions.map((region, number) => this.#line(region, number)));
    if (!this.active) return;
    this.stage.show(
      regions.map((region, number) => (
        { box: region.box, label: String(number + 1), hue: hue(number), unsure: !this.#words(region) }
      )),
    );
  }

  #regions() {
    return [...this.own, ...(this.result?.regions ?? [])];
  }

  #whole() {
    const { caption } = this.result;
    const sure = caption.sure && this.#words(caption) !== null;
    return `${hedged({ ...caption, sure }) || "nothing"} (${percent(caption.confidence)} sure)`;
  }

  #words(region) {
    return region.confidence >= Number($("threshold").value) ? region.text : null;
  }

  #line(region, number) {
    const words = this.#words(region);
    const button = element(
      "button",
      { type: "button", className: words ? "" : "unsure" },
      element("span", { className: "number", textContent: number + 1 }),
      element("span", { className: "text", textContent: words ?? "not sure" }),
      element("span", { className: "sure", textContent: percent(region.confidence) }),
    );
    button.style.setProperty("--hue", hue(number));
    const line = element("li", {}, button);
    for (const [kind, on] of [["pointerenter", true], ["pointerleave", false], ["focus", true], ["blur", false]]) {
      button.addEventListener(kind, () => this.stage.light(on ? [number] : []));
    }
    if (number < this.own.length) {
      const remove = element("button", { type: "button", textContent: "×", ariaLabel: `Remove box ${number + 1}` });
      remove.addEventListener("click", () => {
        this.own.splice(number, 1);
        this.show();
        $("box-form").querySelector("button").focus();
      });
      line.append(remove);
    }
    return line;
  }

  #point(number, on, pick) {
    const button = $("captions").children[number]?.firstChild;
    this.stage.light(on ? [number] : []);
    [...$("captions").children].forEach((line) => line.firstChild.classList.remove("lit"));
    button?.classList.toggle("lit", on);
    if (pick) button?.focus();
  }

  #typed() {
    return ["x1", "y1", "x2", "y2"].map((name) => Number($(name).value));
  }

  /** What is seen, as a document of docs/json.md. */
  #all() {
    return { ...this.result, regions: this.#regions().map((region) => ({ ...region, text: this.#words(region) })) };
  }
}
