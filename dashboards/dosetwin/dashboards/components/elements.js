// Small means to change a page without tearing anything down: set only what differs, keep nodes by their key.
const text = (node, words) => { if (node.textContent !== words) node.textContent = words; };
const attribute = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
const show = (node, yes) => { if (node.hidden === yes) node.hidden = !yes; };

function element(tag, name = "", words = "") {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (words) node.textContent = words;
  return node;
}

// Children of `parent` become one a key, in the items' order; existing nodes stay and are updated.
function keyed(parent, items, key, make, update) {
  const known = parent.__known || (parent.__known = new Map());
  const wanted = new Set(items.map(key));
  for (const [each, node] of known) if (!wanted.has(each)) { node.remove(); known.delete(each); }
  let place = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    let node = known.get(name);
    if (!node) { node = make(item); node.__key = name; known.set(name, node); }
    update(node, item);
    if (node === place) place = place.nextSibling; else parent.insertBefore(node, place);
  }
}

// A table's rows by key; `cells(item)` gives the words of each cell.
function rows(body, items, key, cells, finish) {
  keyed(body, items, key, (item) => {
    const row = element("tr");
    cells(item).forEach(() => row.appendChild(element("td")));
    if (finish) finish(row, item, true);
    return row;
  }, (row, item) => {
    cells(item).forEach((words, index) => { if (words !== null) text(row.children[index], words); });
    row.__item = item;
    if (finish) finish(row, item, false);
  });
}

function duration(seconds) {
  if (seconds === null || !isFinite(seconds)) return "unknown";
  const s = Math.abs(seconds);
  if (s < 59.5) return `${Math.round(s)} s`;
  if (s < 3570) return `${Math.round(s / 60)} min`;
  if (s < 172800) {
    const minutes = Math.round(s / 60), hours = Math.floor(minutes / 60), rest = minutes % 60;
    return rest && hours < 10 ? `${hours} h ${rest} min` : `${hours} h`;
  }
  return `${Math.round(s / 86400)} d`;
}
const ago = (s) => (s === null || !isFinite(s) ? "never" : s <= -1.5 ? `in ${duration(s)}` : s < 1.5 ? "just now" : `${duration(s)} ago`);
const clockWords = (s) => new Date(s * 1000).toISOString().slice(11, 19);
const shortClock = (s) => new Date(s * 1000).toISOString().slice(11, 16);
const PRIORITIES = {
  high: { mark: "▲", stars: "***", word: "Alarm" },
  medium: { mark: "◆", stars: "**", word: "Warning" },
  low: { mark: "●", stars: "*", word: "Notice" },
};
function chip(node, priority, words) {
  attribute(node, "class", `chip ${priority}`);
  text(node, words);
}
