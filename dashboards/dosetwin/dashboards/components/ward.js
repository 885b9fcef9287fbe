// The ward: every patient a tile in one canvas, most urgent first; only visible tiles are drawn.
const COLUMN_TYPES = {
  value: "f4", value_at_s: "f8", trend: "i1", time_to_event_s: "f4", attainment: "f4", mode: "u1", therapy: "u1", ward: "u1",
  target_low: "f4", target_high: "f4", stale_after_s: "f4", high: "u2", medium: "u2", low: "u2", waiting: "u2",
};
const SIZES = { card: [224, 122], tile: [164, 74], dense: [112, 44] };
const GAP = 8;
const TREND = { "-2": "↓↓", "-1": "↓", 0: "→", 1: "↑", 2: "↑↑", "-3": "" };
const TREND_WORDS = { "-2": "falling fast", "-1": "falling", 0: "steady", 1: "rising", 2: "rising fast", "-3": "" };
const STATUSES = [
  ["high", "▲ ***", "Alarm"], ["medium", "◆ **", "Warning"], ["low", "● *", "Notice"],
  ["stale", "▨", "Old value"], ["out", "△", "Out of target"], ["in", "✓", "In target"], ["watch", "○", "Watched only"],
  ["wait", "…", "No value yet"],
];
const STATUS_INDEX = Object.fromEntries(STATUSES.map(([name], index) => [name, index]));

class Page {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.n = 0;
    this.filter = { status: "", ward: "", therapy: "", mode: "" };
    this.active = null;
    this.list = this.find(".ward-list");
    this.canvas = this.find(".ward-canvas");
    this.space = this.find(".ward-space");
    this.list.addEventListener("scroll", () => this.draw(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("focus", () => { if (this.active === null && this.shown.length) this.choose(0); this.draw(); });
    this.list.addEventListener("blur", () => this.draw());
    this.canvas.addEventListener("click", (event) => { const at = this.at(event); if (at >= 0) { this.choose(at); this.open(); } });
    this.canvas.addEventListener("mousemove", (event) => { this.canvas.style.cursor = this.at(event) >= 0 ? "pointer" : "default"; });
    for (const name of ["ward", "therapy", "mode"])
      this.find(`.f-${name}`).addEventListener("change", (event) => { this.filter[name] = event.target.value; this.arrange(); });
    this.find(".f-size").addEventListener("change", () => this.arrange());
    keyed(this.find(".bars"), STATUSES, ([name]) => name, ([name]) => {
      const button = element("button", `count ${name}`);
      button.type = "button";
      button.append(element("span", "count-mark"), element("span", "count-n"), element("span", "count-word"));
      button.addEventListener("click", () => { this.filter.status = this.filter.status === name ? "" : name; this.arrange(); });
      return button;
    }, (node, [name, mark, word]) => { text(node.children[0], mark); text(node.children[2], word); });
    this.shown = [];
  }

  take(whole) {
    this.ids = whole.ids; this.n = whole.ids.length;
    this.therapies = whole.therapies; this.wards = whole.wards; this.modes = whole.modes; this.points = whole.spark_points;
    for (const [name, type] of Object.entries(COLUMN_TYPES)) this[name] = numbers(whole.columns[name], type);
    this.spark = fromBase64(whole.spark);
    this.order = numbers(whole.order, "u2");
    this.options("ward", this.wards); this.options("therapy", this.therapies.map((each) => each.title)); this.options("mode", this.modes);
  }

  change(delta) {
    const rows = numbers(delta.rows, "u2"), counts = fromBase64(delta.new), points = fromBase64(delta.points), p = this.points;
    for (const [name, type] of Object.entries(COLUMN_TYPES)) {
      const values = numbers(delta.columns[name], type), column = this[name];
      for (let index = 0; index < rows.length; index += 1) column[rows[index]] = values[index];
    }
    let from = 0;
    for (let index = 0; index < rows.length; index += 1) {
      const count = counts[index], start = rows[index] * p;
      if (!count) continue;
      this.spark.copyWithin(start, start + count, start + p);
      this.spark.set(points.subarray(from, from + count), start + p - count);
      from += count;
    }
    if (delta.order) this.order = numbers(delta.order, "u2");
  }

  options(name, names) {
    const select = this.find(`.f-${name}`);
    keyed(select, [{ value: "", label: "all" }, ...names.map((label, index) => ({ value: String(index), label }))],
      (each) => each.value, (each) => { const o = element("option"); o.value = each.value; return o; }, (o, each) => text(o, each.label));
    for (const stray of [...select.children]) if (stray.__key === undefined) stray.remove();
  }

  status(row) {
    if (this.high[row]) return "high";
    if (this.medium[row]) return "medium";
    if (this.low[row]) return "low";
    if (isNaN(this.value_at_s[row])) return "wait";
    if (this.eventNow - this.value_at_s[row] > this.stale_after_s[row]) return "stale";
    if (!isNaN(this.target_low[row])) return this.value[row] < this.target_low[row] || this.value[row] > this.target_high[row] ? "out" : "in";
    if (isNaN(this.attainment[row])) return "watch";
    return this.attainment[row] < 0.5 ? "out" : "in"; // the target is no value but an exposure: its chance decides
  }

  side(row) { return isNaN(this.target_low[row]) ? "unlikely" : this.value[row] < this.target_low[row] ? "low" : "high"; }

  tick(eventNow) {
    this.eventNow = eventNow;
    if (!this.n && !this.order) return;
    this.arrange();
  }

  arrange() {
    if (!this.order) return;
    const f = this.filter, counts = new Array(STATUSES.length).fill(0), statuses = this.statuses || (this.statuses = []);
    this.shown = [];
    for (const row of this.order) {
      const status = this.status(row);
      statuses[row] = status;
      if ((f.ward !== "" && this.ward[row] !== +f.ward) || (f.therapy !== "" && this.therapy[row] !== +f.therapy)
        || (f.mode !== "" && this.mode[row] !== +f.mode)) continue;
      counts[STATUS_INDEX[status]] += 1;
      if (!f.status || f.status === status) this.shown.push(row);
    }
    for (const button of this.find(".bars").children) {
      const count = counts[STATUS_INDEX[button.__key]];
      text(button.children[1], String(count));
      attribute(button, "aria-pressed", String(f.status === button.__key));
      attribute(button, "data-empty", String(count === 0));
    }
    text(this.find(".f-shown"), this.shown.length === this.n ? `${this.n} patients` : `${this.shown.length} of ${this.n} patients`);
    text(this.shell.find(".context"), this.n ? "most urgent first; the order stands still for 10 s" : "nobody is enrolled yet");
    const words = STATUSES.map(([, , word], index) => (counts[index] ? `${counts[index]} ${word}` : "")).filter(Boolean).join(", ");
    if (words !== this.lastWords) { this.lastWords = words; this.shell.hush(`Ward: ${words}`); }
    this.layout();
    this.draw();
    this.table();
  }

  layout() {
    const width = this.list.clientWidth, count = this.shown.length;
    this.size = this.find(".f-size").value || (count <= 48 ? "card" : count <= 240 ? "tile" : "dense");
    const [least, h] = SIZES[this.size];
    this.across = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    this.w = Math.floor((width - GAP * (this.across - 1)) / this.across);
    this.h = h;
    const full = Math.ceil(count / this.across) * (h + GAP) + 4, view = Math.max(h + GAP, Math.min(full, Math.round(window.innerHeight * 0.64)));
    if (this.fullHeight !== full) { this.fullHeight = full; this.space.style.height = `${full}px`; }
    if (this.viewHeight !== view) { this.viewHeight = view; this.list.style.height = `${view}px`; }
  }

  at(event) {
    const x = event.offsetX, y = event.offsetY + this.list.scrollTop;
    const column = Math.floor(x / (this.w + GAP)), line = Math.floor(y / (this.h + GAP)), index = line * this.across + column;
    return column < this.across && x - column * (this.w + GAP) <= this.w && index < this.shown.length ? index : -1;
  }

  choose(index) {
    this.active = this.shown[index];
    const y = Math.floor(index / this.across) * (this.h + GAP);
    if (y < this.list.scrollTop) this.list.scrollTop = y;
    else if (y + this.h + GAP > this.list.scrollTop + this.viewHeight) this.list.scrollTop = y + this.h + GAP - this.viewHeight;
    attribute(this.list, "aria-activedescendant", "ward-active");
    const option = this.find("#ward-active");
    attribute(option, "aria-posinset", String(index + 1)); attribute(option, "aria-setsize", String(this.shown.length));
    text(option, this.describe(this.active));
    this.draw();
  }

  key(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.across, ArrowUp: -this.across, Home: -1e9, End: 1e9,
      PageDown: this.across * 5, PageUp: -this.across * 5 };
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.open(); return; }
    if (!(event.key in steps) || !this.shown.length) return;
    event.preventDefault();
    const now = Math.max(0, this.shown.indexOf(this.active));
    this.choose(Math.min(this.shown.length - 1, Math.max(0, now + steps[event.key])));
  }

  open() { if (this.active !== null && this.active !== undefined) this.shell.tell("open", this.ids[this.active]); }

  valueWords(row) {
    const t = this.therapies[this.therapy[row]], v = this.value[row];
    return isNaN(v) ? "no value yet" : `${v.toFixed(t.decimals)} ${t.unit}`;
  }
  eventWords(row) { const s = this.time_to_event_s[row]; return isNaN(s) ? "" : s < 60 ? "now" : `in ${duration(s)}`; }
  ageWords(row) { return isNaN(this.value_at_s[row]) ? "never" : ago(this.eventNow - this.value_at_s[row]); }
  describe(row) {
    const [, , word] = STATUSES[STATUS_INDEX[this.status(row)]], event = this.eventWords(row);
    return [this.ids[row].slice(0, 8), word, this.valueWords(row), TREND_WORDS[this.trend[row]], this.ageWords(row),
      event && `event likely ${event}`, `${this.modes[this.mode[row]]} mode`, this.therapies[this.therapy[row]].title,
      this.wards[this.ward[row]]].filter(Boolean).join(", ");
  }

  table() {
    rows(this.find(".top-rows"), this.shown.slice(0, 20), (row) => this.ids[row], (row) => [
      null, STATUSES[STATUS_INDEX[this.status(row)]].slice(1).join(" "), this.valueWords(row), TREND_WORDS[this.trend[row]],
      this.ageWords(row), this.eventWords(row) || "not in sight",
      [["high", this.high], ["medium", this.medium], ["low", this.low]].map(([name, c]) => (c[row] ? `${c[row]} ${name}` : "")).filter(Boolean).join(", ") || "none",
      this.modes[this.mode[row]], this.therapies[this.therapy[row]].title, this.wards[this.ward[row]],
    ], (line, row, fresh) => {
      if (!fresh) return;
      const button = element("button", "open", this.ids[row].slice(0, 8));
      button.type = "button";
      button.title = this.ids[row];
      button.addEventListener("click", () => this.shell.tell("open", line.__key));
      line.children[0].appendChild(button);
    });
  }

  draw() {
    if (!this.shell || !this.order || !this.w) return;
    if (this.list.clientWidth !== this.laidWidth) { this.laidWidth = this.list.clientWidth; this.layout(); }
    const c = this.shell.colours, g = fitCanvas(this.canvas, this.list.clientWidth, this.viewHeight), top = this.list.scrollTop;
    g.clearRect(0, 0, this.list.clientWidth, this.viewHeight);
    const first = Math.max(0, Math.floor(top / (this.h + GAP))) * this.across;
    const last = Math.min(this.shown.length, Math.ceil((top + this.viewHeight) / (this.h + GAP)) * this.across);
    for (let index = first; index < last; index += 1) {
      const x = (index % this.across) * (this.w + GAP), y = Math.floor(index / this.across) * (this.h + GAP) - top;
      this.tile(g, c, this.shown[index], x, y);
    }
  }

  tile(g, c, row, x, y) {
    const { w, h, size } = this, status = this.statuses[row], [, , word] = STATUSES[STATUS_INDEX[status]];
    const code = { high: 3, medium: 2, low: 1 }[status] || 0, colour = { 3: c.high, 2: c.medium, 1: c.low }[code];
    const old = !isNaN(this.value_at_s[row]) && this.eventNow - this.value_at_s[row] > this.stale_after_s[row];
    const therapy = this.therapies[this.therapy[row]], pad = size === "dense" ? 7 : 11;
    box(g, x + 0.75, y + 0.75, w - 1.5, h - 1.5, 9);
    g.fillStyle = c.panel; g.fill();
    if (old || status === "wait") hatch(g, x + 1, y + 1, w - 2, h - 2, c.hatch, 9);
    box(g, x + 0.75, y + 0.75, w - 1.5, h - 1.5, 9);
    g.lineWidth = code ? 2.5 : 1; g.strokeStyle = code === 3 ? c.high : code ? c.edge : c.line; g.stroke();
    if (code) { g.save(); box(g, x + 1, y + 1, w - 2, h - 2, 8); g.clip(); g.fillStyle = colour; g.fillRect(x + 1, y + 1, size === "dense" ? 5 : w, size === "dense" ? h : 23); g.restore(); }
    const name = this.ids[row].slice(0, 8), value = isNaN(this.value[row]) ? "–" : this.value[row].toFixed(therapy.decimals);
    g.textBaseline = "alphabetic";
    if (size === "dense") {
      const shift = code ? 5 : 0;
      g.font = `500 10px ${c.font}`; g.fillStyle = c.soft; g.fillText(`${name.slice(2)} · ${therapy.unit}`, x + pad + shift, y + 15);
      g.font = `650 16px ${c.font}`; g.fillStyle = old ? c.soft : c.ink; g.fillText(value, x + pad + shift, y + 34);
      if (code) priorityMark(g, code, x + w - 12, y + 12, 6, colour, c.edge);
      else if (status === "out") { g.font = `600 11px ${c.font}`; g.fillStyle = c.ink; g.textAlign = "right"; g.fillText({ low: "▽", high: "△", unlikely: "△" }[this.side(row)], x + w - 6, y + 15); g.textAlign = "left"; }
      this.sparkline(g, c, row, x + 48 + shift, y + 19, w - 56 - shift, 18, old);
      this.focus(g, c, row, x, y);
      return;
    }
    const head = code === 3 ? c.highInk : code === 2 ? c.mediumInk : code === 1 ? c.lowInk : c.soft;
    g.font = `600 12px ${c.font}`; g.fillStyle = code ? head : c.ink; g.fillText(name, x + pad, y + 16);
    g.font = `${code ? 650 : 500} 12px ${c.font}`; g.textAlign = "right"; g.fillStyle = head;
    const label = status === "out" ? { low: "▽ below target", high: "△ above target", unlikely: "△ target unlikely" }[this.side(row)]
      : status === "in" ? (isNaN(this.target_low[row]) ? "✓ target likely" : "✓ in target") : code ? `${"*".repeat(code)} ${word}` : word;
    g.fillText(label, x + w - pad, y + 16);
    if (code) { const wide = g.measureText(label).width; priorityMark(g, code, x + w - pad - wide - 10, y + 11.5, 5, head); }
    g.textAlign = "left";
    const big = size === "card" ? 27 : 20, base = y + (size === "card" ? 52 : 44);
    g.font = `650 ${big}px ${c.font}`; g.fillStyle = old ? c.soft : c.ink; g.fillText(value, x + pad, base);
    let at = x + pad + g.measureText(value).width + 5;
    g.font = `500 12px ${c.font}`; g.fillStyle = c.soft; g.fillText(therapy.unit, at, base);
    at += g.measureText(therapy.unit).width + 7;
    if (!old && this.trend[row] !== -3) { g.font = `650 ${size === "card" ? 17 : 14}px ${c.font}`; g.fillStyle = c.ink; g.fillText(TREND[this.trend[row]], at, base); }
    const event = this.eventWords(row);
    if (event) { g.textAlign = "right"; g.font = `650 12px ${c.font}`; g.fillStyle = c.ink; g.fillText(size === "card" ? `event ${event}` : event, x + w - pad, base); g.textAlign = "left"; }
    if (size === "card") {
      this.sparkline(g, c, row, x + pad, y + 61, w - 2 * pad, 36, old);
      g.font = `500 11px ${c.font}`; g.fillStyle = c.soft;
      g.fillText(this.ageWords(row), x + pad, y + h - 8);
      g.textAlign = "right";
      const tail = this.waiting[row] ? `${this.waiting[row]} to approve` : this.modes[this.mode[row]];
      g.fillText(`${therapy.title.length < 18 ? therapy.title : therapy.id} · ${tail}`, x + w - pad, y + h - 8);
      g.textAlign = "left";
    } else this.sparkline(g, c, row, x + pad, y + 50, w - 2 * pad, 17, old);
    this.focus(g, c, row, x, y);
  }

  focus(g, c, row, x, y) {
    if (row !== this.active || this.list.getRootNode().activeElement !== this.list) return;
    box(g, x + 1.5, y + 1.5, this.w - 3, this.h - 3, 9); g.strokeStyle = c.accent; g.lineWidth = 3.5; g.stroke();
  }

  sparkline(g, c, row, x, y, w, h, old) {
    const therapy = this.therapies[this.therapy[row]], scale = (v) => y + h - ((v - therapy.low) / (therapy.high - therapy.low)) * h;
    const low = this.target_low[row], high = this.target_high[row];
    if (!isNaN(low)) { const a = Math.max(y, scale(high)), b = Math.min(y + h, scale(low)); g.globalAlpha = 0.16; g.fillStyle = c.calm; g.fillRect(x, a, w, b - a); g.globalAlpha = 1; }
    const start = row * this.points;
    g.beginPath();
    let open = false, lastX = 0, lastY = 0;
    for (let index = 0; index < this.points; index += 1) {
      const byte = this.spark[start + index];
      if (byte === 255) { open = false; continue; }
      lastX = x + (index / (this.points - 1)) * w; lastY = y + h - (byte / 254) * h;
      if (open) g.lineTo(lastX, lastY); else g.moveTo(lastX, lastY);
      open = true;
    }
    g.strokeStyle = old ? c.faint : c.band; g.lineWidth = 1.6; g.lineJoin = "round"; g.stroke();
    if (open) { g.beginPath(); g.arc(lastX, lastY, 2.4, 0, 7); g.fillStyle = old ? c.faint : c.band; g.fill(); }
  }
}
export default function (component) { return run(component, Page); }
