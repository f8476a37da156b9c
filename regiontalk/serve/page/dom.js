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

export function say(text) {
  $("status").textContent = text;
}

export function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

/** Run work with its button disabled; what goes wrong is shown. The last run of a button wins. */
export async function during(button, waiting, work) {
  complain("");
  say(waiting);
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    say((await work()) ?? "");
  } catch (error) {
    say("");
    complain(error.message);
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

export function download(name, value) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
