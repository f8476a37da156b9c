// The API of this server, with its token where it has one. Everything goes to the page's own address.

const fromHash = new URLSearchParams(location.hash.slice(1)).get("token");
if (fromHash) {
  sessionStorage.setItem("token", fromHash);
  history.replaceState(null, "", location.pathname);
}

export async function get(path) {
  return answer(path, () => ({ method: "GET" }));
}

/** POST fields as a multipart form; those that are null or "" are left out. */
export async function post(path, fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined || value === "") continue;
    if (value instanceof Blob) body.append(name, value, value.name || "photo");
    else body.append(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return answer(path, () => ({ method: "POST", body }));
}

async function answer(path, request) {
  for (;;) {
    const token = sessionStorage.getItem("token");
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...request(), headers, cache: "no-store" });
    } catch {
      throw new Error("The server does not answer. Is it still running?");
    }
    if (response.ok) return response.json();
    if (response.status === 401) {
      await askToken();
      continue;
    }
    const again = response.headers.get("retry-after");
    const reason = await response.json().then((value) => value.error, () => `the server answered ${response.status}`);
    throw new Error(again ? `Busy: ${reason}` : reason);
  }
}

let asking = null;

function askToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("token-dialog");
    const field = document.getElementById("token");
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("token", field.value.trim());
      field.value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
