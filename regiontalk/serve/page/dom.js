// Small helpers of every part of the page.

export const $ = (id) => document.getElementById(id);

/** A new element; properties are set, children appended; text is text, never markup. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const HUES = ["#b3261e", "#1f5fc4", "#1b7a3d", "#8a3fb0", "#a14a00", "#00707a", "#ad1a6b", "#4b5a00"];

/** The colour of the number-th box: dark enough for white figures on it. */
export const hue = (number) => HUES[number % HUES.length];

export const percent = (share) => `${Math.round(100 * share)} %`;

/** A photo's sentence as a person should read it: with "perhaps" where the model is not sure; "" where there is none. */
export const hedged = ({ text, sure }) => (text && !sure ? `perhaps: ${text}` : (text ?? ""));

/** The end of a status that tells of words without meaning to the model; "" where it knows all. */
export const strange = (words) => (words?.length ? ` Words that the model does not know: ${words.join(", ")}.` : "");

export function say(text) {
  $("status").textContent = text;
}

export function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

let latest = 0; // works begun: an older one that ends later does not speak over it
const underWay = new WeakMap(); // button -> how many of its works are not done

export const busy = (button) => underWay.get(button) > 0;

/** Run work for a button and show what goes wrong; what is called off by its signal says nothing more.
 *  The button is not `disabled` meanwhile: that would take the focus from it. Forms ask `busy` before they run. */
export async function during(button, waiting, work, signal = null) {
  const turn = (latest += 1);
  complain("");
  say(waiting);
  mark(button, 1);
  try {
    const said = (await work()) ?? "";
    if (!signal?.aborted && turn === latest) say(said);
  } catch (error) {
    if (signal?.aborted) return;
    if (turn === latest) say("");
    complain(error.message);
  } finally {
    mark(button, -1);
  }
}

function mark(button, step) {
  underWay.set(button, (underWay.get(button) ?? 0) + step);
  for (const name of ["aria-busy", "aria-disabled"]) {
    if (busy(button)) button.setAttribute(name, "true");
    else button.removeAttribute(name);
  }
}

/** Have a form run what it is for, unless that is under way. */
export function submits(form, run) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!busy(form.querySelector("button:not([type=button])"))) run();
  });
}

export function download(name, value) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
