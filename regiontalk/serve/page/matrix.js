// What stands behind an alignment: every word on every region as a table, and the photo as the model looks at it.

import { element } from "./dom.js";

const DIM = 0.8; // darkness where the model does not look
const NEAR = 0.06; // the matrix has its boxes to a tenth of a pixel, its scores to four digits
const CLOSE = 1e-3;

/** Every match with its row and its column of the matrix, the number of its region. Words may have no match. */
export function joined({ matches, matrix }) {
  const { words, boxes, scores } = matrix;
  let next = 0;
  return matches.map(({ phrase, box, score }) => {
    const columns = [...boxes.keys()].filter((column) =>
      boxes[column].every((value, side) => Math.abs(value - box[side]) <= NEAR),
    );
    for (let row = next; row < words.length; row += 1) {
      const number = columns.find((column) => Math.abs(scores[row][column] - score) <= CLOSE);
      if (words[row] !== phrase || number === undefined) continue;
      next = row + 1;
      return { text: phrase, number, box, score, row };
    }
    return { text: phrase, number: columns[0] ?? 0, box, score, row: null };
  });
}

/** A table's parts: rows are words, columns regions, 0 the whole photo; the deeper the colour, the better the match.
 *  point(box, number, words) is called where one is pointed at, point() after it. */
export function table({ words, boxes, scores }, joins, point) {
  const [low, high] = [Math.min(...scores.flat()), Math.max(...scores.flat())];
  const head = element("tr", {}, element("th", { scope: "col", textContent: "word" }));
  boxes.forEach((box, column) => head.append(heading(box, column, point)));
  const rows = words.map((word, row) => {
    const best = joins.find((join) => join.row === row)?.number;
    const line = element("tr", {}, element("th", { scope: "row", textContent: word }));
    scores[row].forEach((score, column) => {
      const share = (score - low) / (high - low || 1);
      const cell = element("td", { textContent: score.toFixed(3) });
      if (column === best) {
        cell.className = "best";
        cell.append(element("span", { className: "quiet", textContent: " joined" }));
      }
      cell.style.background = `color-mix(in srgb, var(--accent) ${Math.round(35 * share)}%, var(--card))`;
      cell.addEventListener("pointerenter", () => point(boxes[column], column, word));
      cell.addEventListener("pointerleave", () => point());
      line.append(cell);
    });
    return line;
  });
  const title = element("caption", { className: "quiet", textContent: "Scores of every word on every region" });
  return [title, element("thead", {}, head), element("tbody", {}, ...rows)];
}

function heading(box, column, point) {
  const button = element("button", { type: "button", textContent: column || "photo" });
  button.setAttribute("aria-label", column ? `${column}, box ${box.map(Math.round).join(", ")}` : "photo");
  for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, () => point(box, column, ""));
  for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, () => point());
  return element("th", { scope: "col" }, button);
}

/** The photo once a word, bright where the model looked. */
export function looks({ words, boxes, scores }, stage) {
  const [width, height] = stage.size;
  return words.map((word, row) => {
    const canvas = element("canvas", { width: 240, height: Math.max(1, Math.round((240 * height) / width)) });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Where the model looks at “${word}”`);
    const brush = canvas.getContext("2d");
    const light = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    const most = Math.max(...scores[row]) || 1;
    boxes.forEach(([x1, y1, x2, y2], place) => {
      light.fillStyle = `rgb(0 0 0 / ${DIM * (1 - scores[row][place] / most)})`;
      const [x, y] = [(x1 / width) * canvas.width, (y1 / height) * canvas.height];
      light.clearRect(x, y, ((x2 - x1) / width) * canvas.width + 1, ((y2 - y1) / height) * canvas.height + 1);
      light.fillRect(x, y, ((x2 - x1) / width) * canvas.width + 1, ((y2 - y1) / height) * canvas.height + 1);
    });
    if (!stage.image.hidden) brush.drawImage(stage.image, 0, 0, canvas.width, canvas.height);
    brush.filter = "blur(8px)";
    brush.drawImage(light.canvas, 0, 0);
    return element("figure", {}, canvas, element("figcaption", { textContent: word }));
  });
}
