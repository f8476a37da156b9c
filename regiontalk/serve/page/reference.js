// The reference of the API, drawn from the server's own openapi.json.

import { $, element } from "./dom.js";

const schema = await (await fetch("../openapi.json")).json();
const sections = Object.entries(schema.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, request]) => section(path, method.toUpperCase(), request)),
);
$("reference").replaceChildren(...sections);
document.documentElement.dataset.ready = "true";

function section(path, method, request) {
  const form = request.requestBody?.content["multipart/form-data"].schema;
  const parts = [
    element("h2", { textContent: `${method} ${path}` }),
    element("p", { textContent: request.description ?? "" }),
  ];
  if (form) {
    parts.push(table(form), element("pre", {}, element("code", { textContent: curl(path, form) })));
  }
  const statuses = Object.entries(request.responses).map(([status, { description }]) => `${status} ${description}`);
  parts.push(element("p", { className: "hint", textContent: `Answers: ${statuses.join("; ")}.` }));
  return element("section", {}, ...parts);
}

function table(form) {
  const head = ["field", "type", "usual", "what"].map((textContent) => element("th", { scope: "col", textContent }));
  const rows = Object.entries(form.properties).map(([name, field]) => {
    const needed = form.required?.includes(name);
    const cells = [kind(field), needed ? "needed" : JSON.stringify(field.default ?? null), field.description ?? ""];
    const texts = cells.map((textContent) => element("td", { textContent }));
    return element("tr", {}, element("th", { scope: "row", textContent: name }), ...texts);
  });
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function kind(field) {
  const plain = field.anyOf?.find((one) => one.type !== "null") ?? field;
  if (plain.format === "binary") return "file";
  const [low, high] = [plain.minimum ?? plain.minLength, plain.maximum ?? plain.maxLength];
  const range = low === undefined && high === undefined ? "" : ` ${low ?? ""}..${high ?? ""}`;
  return (plain.format ?? plain.type ?? "") + range;
}

function curl(path, form) {
  const names = form.required ?? Object.keys(form.properties).slice(0, 1);
  const needed = names.map((name) => (name === "photo" ? "-F photo=@a.jpg" : `-F ${name}='...'`));
  return `curl ${[...needed, location.origin + path].join(" ")}`;
}
