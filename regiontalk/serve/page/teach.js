// Teaching: the photo of which the model is least sure, words and boxes from the keyboard, and training in the background.

import { get, post } from "./api.js";
import { $, complain, during, element, hue, percent, submits } from "./dom.js";
import { Stage } from "./stage.js";

const STEP = 0.02; // of the longer side that a key moves a box
const WAIT = 3000; // milliseconds between two looks at the training

const stage = new Stage($("stage"), $("draw"));
let question = null;
let rows = []; // {box, input} of the boxes that are shown

/** Ask for the next photo and show it. */
async function next() {
  const asked = await get("/v1/teach/next");
  told(asked);
  question = asked.name === null ? null : asked;
  rows = [];
  $("named").replaceChildren();
  $("sentence").value = "";
  for (const id of ["sentence", "save", "skip", "add"]) $(id).disabled = question === null;
  if (question === null) {
    stage.clear();
    return "All photos are answered.";
  }
  await stage.load(jpeg(asked.picture, asked.name));
  stage.measured(asked.width, asked.height);
  stage.drawable = true;
  $("sentence").value = asked.caption?.text ?? "";
  asked.regions.forEach((region) => add(region.box, region.text, region.confidence));
  show();
  $("sentence").focus();
  $("sentence").select();
  return `${asked.name}: the model is ${percent(asked.caption?.confidence ?? 0)} sure of its sentence.`;
}

function jpeg(text, name) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new File([bytes], name, { type: "image/jpeg" });
}

/** A line for a box; the words of the model stand in it. */
function add(box, words = "", confidence = null) {
  const number = rows.length + 1;
  const input = element("input", { type: "text", maxLength: 1000, autocomplete: "off", value: words ?? "" });
  input.setAttribute("aria-label", `Words on box ${number}`);
  const mark = element("b", { className: "number", textContent: number });
  mark.style.setProperty("--hue", hue(number - 1));
  const row = { box, input };
  const line = element("div", { className: "row" }, mark, input);
  if (confidence !== null) line.append(element("span", { className: "hint", textContent: `${percent(confidence)} sure` }));
  input.addEventListener("focus", () => {
    input.select();
    stage.light([rows.indexOf(row)]);
  });
  input.addEventListener("blur", () => stage.light([]));
  rows.push(row);
  $("named").append(line);
  return row;
}

function show() {
  stage.show(rows.map(({ box }, number) => ({ box, label: String(number + 1), hue: hue(number) })));
  const lit = rows.findIndex(({ input }) => input === document.activeElement);
  if (lit >= 0) stage.light([lit]);
}

function addBox(box) {
  const row = add(box);
  show();
  row.input.focus();
}

/** A new box in the middle of the photo. */
function newBox() {
  const { width, height } = question;
  addBox([width / 3, height / 3, (2 * width) / 3, (2 * height) / 3].map(Math.round));
}

/** Move the corner of a box, or the whole box, inside the photo. */
function moved([x1, y1, x2, y2], x, y, resize) {
  const { width, height } = question;
  if (resize) return [x1, y1, clamp(x2 + x, x1 + 2, width), clamp(y2 + y, y1 + 2, height)];
  const [right, down] = [clamp(x, -x1, width - x2), clamp(y, -y1, height - y2)];
  return [x1 + right, y1 + down, x2 + right, y2 + down];
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Save what the fields say, or that there is nothing to say, and go on. */
async function answer(skip) {
  if (question === null) return "";
  const words = rows.map(({ box, input }) => ({ box, phrase: input.value.trim() })).filter(({ phrase }) => phrase);
  const sentence = $("sentence").value.trim();
  const fields = { name: question.name, captions: sentence && !skip ? [sentence] : [], boxes: skip ? [] : words };
  told(await post("/v1/teach/answer", fields));
  return next();
}

/** What the server says of its answers and its training. */
function told({ answered, left, training }) {
  $("progress").textContent = `Answered: ${answered}. Left: ${left}.`;
  if (training === null) return;
  const states = { running: "trains", done: "has ended", failed: "failed" };
  $("training").textContent = `Round ${training.round} ${states[training.state]}: ${training.line}`;
  const figures = Object.entries(training.gain);
  $("gain").hidden = figures.length === 0;
  const head = element("tr", {}, ...["On photos held out", "before", "after"].map((text) => cell("th", text)));
  const body = figures.map(([name, values]) => element("tr", {}, cell("th", name), ...values.map(number)));
  $("gain").replaceChildren(head, ...body);
}

const cell = (kind, text) => element(kind, { textContent: text });
const number = (value) => cell("td", value === null ? "-" : (100 * value).toFixed(1));

let watching = false;

async function watch() {
  if (watching) return;
  watching = true;
  try {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, WAIT));
      const state = await get("/v1/teach/state");
      told(state);
      if (state.training?.state !== "running") return;
    }
  } catch (error) {
    complain(error.message);
  } finally {
    watching = false;
  }
}

async function train() {
  told(await post("/v1/teach/train", {}));
  watch();
  return "Training has begun; go on answering meanwhile.";
}

const save = (skip) => during($("save"), "Saving ...", () => answer(skip));
submits($("answer-form"), () => save(false));
$("skip").addEventListener("click", () => save(true));
$("add").addEventListener("click", newBox);
$("train").addEventListener("click", () => during($("train"), "", train));
stage.addEventListener("draw", (event) => addBox(event.detail));
stage.addEventListener("pick", (event) => rows[event.detail].input.focus());

addEventListener("keydown", (event) => {
  const fields = [$("sentence"), ...rows.map(({ input }) => input)];
  const at = fields.indexOf(document.activeElement);
  if (event.key === "Enter" && at >= 0 && at < fields.length - 1 && !event.ctrlKey) {
    event.preventDefault();
    fields[at + 1].focus();
    return;
  }
  if (!event.altKey || event.ctrlKey) return;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const commands = {
    KeyN: () => question && newBox(),
    KeyS: () => save(true),
    KeyT: () => $("train").click(),
  };
  const row = rows[at - 1];
  if (row && arrows[event.key]) {
    const step = Math.max(1, Math.round(STEP * Math.max(question.width, question.height)));
    const [x, y] = arrows[event.key].map((direction) => direction * step);
    row.box = moved(row.box, x, y, event.shiftKey);
    show();
  } else if (commands[event.code]) {
    commands[event.code]();
  } else {
    return;
  }
  event.preventDefault();
});

await during($("save"), "The model looks at your photos ...", next);
document.documentElement.dataset.ready = "";
