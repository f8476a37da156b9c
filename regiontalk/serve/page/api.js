// The API of this server, with its token where it has one. Everything goes to the page's own address.

const LETTERS = /^[\x21-\x7e]+$/; // what a header can carry

/** Dispatches "known" when a server that asks for its token has been given the right one. */
export const door = new EventTarget();

export async function get(path) {
  return answer(path, { method: "GET" });
}

/** POST fields as a multipart form; those that are null or "" are left out. A signal calls it off. */
export async function post(path, fields, signal = null) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined || value === "") continue;
    if (value instanceof Blob) body.append(name, value, value.name || "photo");
    else body.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return answer(path, { method: "POST", body, signal });
}

async function answer(path, request) {
  for (let asked = false; ; asked = true) {
    const token = sessionStorage.getItem("token");
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...request, headers, cache: "no-store" });
    } catch (error) {
      request.signal?.throwIfAborted();
      throw new Error("The server does not answer. Is it still running?", { cause: error });
    }
    if (response.status === 401) {
      if (token === sessionStorage.getItem("token")) await askToken(token !== null); // else another request has asked
      continue;
    }
    const value = await response.json().catch(() => ({}));
    request.signal?.throwIfAborted();
    if (asked) door.dispatchEvent(new Event("known"));
    if (response.ok) return value;
    const reason = value.error ?? `the server answered ${response.status}`;
    throw new Error(response.headers.get("retry-after") ? `Busy: ${reason}` : reason);
  }
}

let asking = null;

/** Ask for the token, once for all requests that wait for it; without one they fail. */
function askToken(wrong) {
  sessionStorage.removeItem("token");
  asking ??= new Promise((resolve, reject) => {
    const [dialog, field, hint] = ["token-dialog", "token", "token-hint"].map((id) => document.getElementById(id));
    hint.textContent = wrong ? "That was not this server's token." : "";
    dialog.returnValue = "";
    dialog.querySelector("form").onsubmit = (event) => {
      field.value = field.value.trim();
      if (LETTERS.test(field.value)) return;
      event.preventDefault();
      hint.textContent = "A token has only letters, digits and signs of ASCII, and no space.";
    };
    dialog.onclose = () => {
      if (dialog.returnValue) sessionStorage.setItem("token", field.value);
      field.value = "";
      asking = null;
      if (dialog.returnValue) resolve();
      else reject(new Error("This server answers only who has its token. Try again to be asked for it."));
    };
    dialog.showModal();
  });
  return asking;
}
