// The page: tabs, the shared photo, and what the server says of itself.

import { Align } from "./align.js";
import { get } from "./api.js";
import { listen } from "./choose.js";
import { Describe } from "./describe.js";
import { $, complain } from "./dom.js";
import { Find } from "./find.js";
import { Narrate } from "./narrate.js";
import { Stage } from "./stage.js";

const stage = new Stage();
const parts = {
  describe: new Describe(stage),
  align: new Align(stage),
  find: new Find(),
  narrate: new Narrate(stage),
};
const tabs = [...$("tabs").children];
let current = parts.describe;
let mostBytes = Infinity;

function choose(tab) {
  const name = tab.getAttribute("aria-controls");
  current.leave();
  current = parts[name];
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  $("photo").hidden = name === "find";
  document.querySelector("main").classList.toggle("wide", name === "find");
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
  Object.values(parts).forEach((part) => part.photo());
  current.enter();
});
listen((file) => {
  if (current === parts.find) choose(tabs[0]);
  stage.load(file);
}, () => mostBytes);
current.enter();

try {
  const { models, library, limits } = await get("/v1/models");
  const [model] = models;
  mostBytes = limits.upload_bytes;
  $("model").textContent = `Model ${model.name}, ${model.words} words.`;
  $("beams").value = Math.min(10, model.beams);
  $("threshold").value = model.confidence_threshold;
  parts.find.library(library);
  parts.describe.show();
} catch (error) {
  complain(error.message);
}
document.documentElement.dataset.ready = "true"; // the page answers from here on
