// The page: tabs, the shared photo, and what the server says of itself.

import { Align } from "./align.js";
import { door, get } from "./api.js";
import { listen } from "./choose.js";
import { Describe } from "./describe.js";
import { $, complain, say } from "./dom.js";
import { Find } from "./find.js";
import { Narrate } from "./narrate.js";
import { Stage } from "./stage.js";

const stage = new Stage($("stage"), $("draw"));
const parts = {
  describe: new Describe(stage),
  align: new Align(stage),
  find: new Find(new Stage($("example-stage"), $("example-draw")), (file) => {
    choose(tabs[0]);
    tabs[0].focus();
    stage.load(file);
  }),
  narrate: new Narrate(stage),
};
const tabs = [...$("tabs").children];
let current = parts.describe;
let mostBytes = Infinity;

function choose(tab) {
  const name = tab.getAttribute("aria-controls");
  closeCamera();
  current.leave();
  current = parts[name];
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  $("photo").hidden = name === "find";
  $("parts").classList.toggle("wide", name === "find");
  complain("");
  current.enter();
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = { Home: tabs[0], End: tabs.at(-1) }[event.key] ?? (step && tabs.at((place + step) % tabs.length));
    if (!next) return;
    event.preventDefault();
    next.focus();
    choose(next);
  });
});

stage.addEventListener("photo", () => {
  say("");
  Object.values(parts).forEach((part) => part.photo());
  current.enter();
});
const closeCamera = listen(
  (file) => (current === parts.find ? current.take(file) : stage.load(file)),
  () => mostBytes,
);
const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
$("whither").textContent = here ? "It stays on this machine." : `It is sent to ${location.host} and nowhere else.`;
current.enter();

let told = null;

/** What the server says of its model, library and limits, once. */
function introduce() {
  told ??= get("/v1/models").then(({ models, library, limits }) => {
    const [model] = models;
    mostBytes = limits.upload_bytes;
    $("model").textContent = `Model ${model.name}, ${model.words} words.`;
    $("threshold").value = model.confidence_threshold;
    parts.find.library(library);
    parts.describe.show();
  }).catch((error) => {
    told = null;
    complain(error.message);
  });
  return told;
}

door.addEventListener("known", introduce);
await introduce();
document.documentElement.dataset.ready = "true"; // the page answers from here on
