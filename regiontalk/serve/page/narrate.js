// Narrate: an alt text to copy, edit, hear and accept. Voices of this machine only: others would send the text away.

import { post } from "./api.js";
import { $, download, during, element, hue, say } from "./dom.js";

export class Narrate {
  constructor(stage) {
    this.stage = stage;
    this.result = null;
    this.accepted = [];
    $("narrate-form").addEventListener("submit", (event) => (event.preventDefault(), this.run()));
    $("alt").addEventListener("input", () => this.#ready());
    $("copy").addEventListener("click", () => this.#copy());
    $("speak").addEventListener("click", () => this.#speak());
    $("accept").addEventListener("click", () => this.#accept());
    $("export").addEventListener("click", () => download("alt-texts.json", this.accepted));
    globalThis.speechSynthesis?.addEventListener("voiceschanged", () => this.#ready());
    this.#ready();
  }

  photo() {
    this.result = null;
    $("alt").value = "";
    this.#ready();
  }

  enter() {
    this.active = true;
    this.#show();
    if (this.stage.file && !this.result) this.run();
  }

  leave() {
    this.active = false;
    globalThis.speechSynthesis?.cancel();
  }

  run() {
    const file = this.stage.file;
    if (!file) return $("file").focus();
    const fields = { photo: file, limit: $("limit").value, neutral: $("neutral").checked };
    return during($("narrate-form").querySelector(".main"), "Writing …", async () => {
      const result = await post("/v1/narrate", fields);
      if (file !== this.stage.file) return;
      this.result = result;
      this.stage.measured(result.width, result.height);
      $("alt").value = result.alt_text;
      this.#ready();
      this.#show();
      return result.alt_text ? "Alt text written." : "The model is not sure enough to say anything; write your own.";
    });
  }

  #show() {
    if (!this.active) return;
    const regions = this.result?.regions.filter((region) => region.text) ?? [];
    this.stage.show(regions.map((region, number) => ({ box: region.box, hue: hue(number) })));
  }

  #ready() {
    const text = $("alt").value.trim();
    const voice = localVoice();
    $("count").textContent = text ? `${text.length} characters` : "";
    $("copy").disabled = $("accept").disabled = !text;
    $("speak").disabled = !text || !voice;
    $("voice").textContent = voice ? "" : "This browser has no voice of this machine, so that nothing can be spoken.";
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText($("alt").value);
      say("Copied.");
    } catch {
      $("alt").select();
      say("Press Ctrl+C to copy the selected text.");
    }
  }

  #speak() {
    const words = new SpeechSynthesisUtterance($("alt").value);
    words.voice = localVoice();
    words.lang = words.voice.lang;
    speechSynthesis.cancel();
    speechSynthesis.speak(words);
  }

  #accept() {
    const photo = this.stage.file?.name || "photo";
    const text = $("alt").value.trim();
    this.accepted = [...this.accepted.filter((one) => one.photo !== photo), { photo, alt: text }];
    const lines = this.accepted.map((one) => element("li", { textContent: `${one.photo}: ${one.alt}` }));
    $("accepted").replaceChildren(...lines);
    $("accepted-title").hidden = $("export").hidden = false;
    say("Accepted.");
  }
}

function localVoice() {
  const voices = globalThis.speechSynthesis?.getVoices().filter((voice) => voice.localService) ?? [];
  return voices.find((voice) => voice.lang.startsWith("en")) ?? voices[0] ?? null;
}
