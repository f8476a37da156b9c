// Narrate: an alt text to copy, edit, hear and accept. Voices of this machine only: others would send the text away.
// Every photo keeps its own text: what somebody typed or accepted is replaced by nobody but them.

import { post } from "./api.js";
import { $, download, during, element, hue, say, submits } from "./dom.js";

export class Narrate {
  constructor(stage) {
    this.stage = stage;
    this.entries = []; // {file, text, typed, accepted, saved, result, asked} of every photo of this visit
    this.entry = null; // of the photo that is shown
    submits($("narrate-form"), () => this.run());
    $("alt").addEventListener("input", () => this.#write($("alt").value, true));
    $("copy").addEventListener("click", () => this.#copy());
    $("speak").addEventListener("click", () => this.#speak());
    $("accept").addEventListener("click", () => this.#accept());
    $("take").addEventListener("click", () => this.#take());
    $("export").addEventListener("click", () => this.#export());
    globalThis.speechSynthesis?.addEventListener("voiceschanged", () => this.#ready());
    addEventListener("beforeunload", (event) => this.entries.some(unsaved) && event.preventDefault());
    this.#ready();
  }

  photo() {
    const file = this.stage.file;
    const words = this.entry ? "" : $("alt").value; // typed before there was a photo
    this.entry = this.entries.find((entry) => isSame(entry.file, file)) ?? null;
    if (!this.entry) this.entries.push((this.entry = { file, text: "", typed: false, accepted: null }));
    this.entry.file = file;
    if (words && !this.entry.text) this.#write(words, true);
    $("alt").value = this.entry.text;
    this.#offer("");
    this.#ready();
  }

  enter() {
    this.active = true;
    this.#show();
    if (this.entry && !this.entry.asked) this.run();
  }

  leave() {
    this.active = false;
    globalThis.speechSynthesis?.cancel();
  }

  async run() {
    const { stage, entry } = this;
    const { file, signal } = stage;
    if (!file) return $("file").focus();
    entry.asked = true;
    const fields = { photo: file, limit: $("limit").value, neutral: $("neutral").checked };
    await during($("narrate-form").querySelector(".main"), "Writing …", async () => {
      entry.result = await post("/v1/narrate", fields, signal);
      this.#show();
      return this.#answered(entry.result.alt_text);
    }, signal);
    if (signal.aborted) entry.asked = Boolean(entry.result);
  }

  /** The model's text becomes the text where nobody has written one; otherwise it is offered. */
  #answered(text) {
    const own = this.entry.typed && this.entry.text.trim() && this.entry.text !== text;
    this.#offer(own ? text : "");
    if (!own) this.#write(text, false);
    if (!text) return "The model is not sure enough to say anything; write your own.";
    this.stage.call(text);
    return own ? "Your text is kept; the model's stands below it." : "Alt text written.";
  }

  #write(text, typed) {
    if ($("alt").value !== text) $("alt").value = text;
    if (this.entry) Object.assign(this.entry, { text, typed });
    this.#ready();
  }

  #offer(text) {
    $("offer").hidden = !text;
    $("offered").textContent = text;
  }

  #take() {
    this.#write($("offered").textContent, false);
    this.#offer("");
    $("alt").focus();
  }

  #show() {
    if (!this.active) return;
    const result = this.entry?.result;
    if (result) this.stage.measured(result.width, result.height);
    const regions = result?.regions.filter((region) => region.text) ?? [];
    this.stage.show(regions.map((region, number) => ({ box: region.box, hue: hue(number) })));
  }

  #ready() {
    const text = $("alt").value.trim();
    const voice = localVoice();
    $("count").textContent = text ? `${text.length} characters` : "";
    $("copy").disabled = !text;
    $("accept").disabled = !text || !this.entry;
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
    Object.assign(this.entry, { accepted: this.entry.text.trim(), saved: false, typed: true });
    this.#list();
    say("Accepted.");
  }

  #list() {
    const accepted = this.entries.filter((entry) => entry.accepted !== null);
    $("accepted").replaceChildren(...accepted.map((entry) => this.#line(entry)));
    $("accepted-title").hidden = $("export").hidden = accepted.length === 0;
  }

  #line(entry) {
    const { name } = entry.file;
    const edit = element("button", { type: "button", textContent: "Edit", ariaLabel: `Edit the text of ${name}` });
    const remove = element("button", { type: "button", textContent: "×", ariaLabel: `Remove the text of ${name}` });
    edit.addEventListener("click", () => (this.stage.load(entry.file), $("alt").focus()));
    remove.addEventListener("click", () => {
      Object.assign(entry, { accepted: null, typed: false }); // taken back: not to be asked about at the end
      this.#list();
      $("alt").focus();
    });
    return element("li", {}, element("span", { textContent: `${name}: ${entry.accepted}` }), edit, remove);
  }

  /** What `regiontalk export --texts` reads: the hash tells photos of one name apart. */
  async #export() {
    const accepted = this.entries.filter((entry) => entry.accepted !== null);
    const texts = accepted.map(async (entry) => (
      { photo: entry.file.name, sha256: await hash(entry.file), alt: entry.accepted }
    ));
    download("alt-texts.json", await Promise.all(texts));
    accepted.forEach((entry) => (entry.saved = true));
    say(`${accepted.length} saved in alt-texts.json.`);
  }
}

/** Whether leaving the page would lose words that somebody wrote. */
function unsaved({ text, typed, accepted, saved }) {
  return accepted === null ? typed && Boolean(text.trim()) : !saved || text.trim() !== accepted;
}

/** One file that was chosen twice is one photo; names alone are not: every pasted picture is called image.png. */
function isSame(one, other) {
  return one === other || ["name", "size", "lastModified"].every((key) => one[key] === other[key]);
}

/** SHA-256 of a file; null where browsers have none (http to another machine), and for a copy that is no file. */
async function hash(file) {
  try {
    if (file.reduced) return null;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  } catch {
    return null;
  }
}

function localVoice() {
  const voices = globalThis.speechSynthesis?.getVoices().filter((voice) => voice.localService) ?? [];
  return voices.find((voice) => voice.lang.startsWith("en")) ?? voices[0] ?? null;
}
