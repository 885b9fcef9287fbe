// One patient: stacked lanes on one time axis with a linked cursor, and the decision with its reason.
const MARGIN = { left: 128, right: 18, top: 26, bottom: 24 };
const HEIGHTS = { quantity: 118, dosage: 96, amount: 70, vitals: 104, combined: 128 };
const LANE_GAP = 12;
const PASTS = { dense: [2, 6, 12, 24], sparse: [12, 24, 48, 96] };

class Page {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.canvas = this.find(".chart-canvas");
    this.box = this.find(".chart-focus");
    this.cursor = null;
    this.box.addEventListener("mousemove", (event) => { this.cursor = this.timeAt(event.offsetX); this.draw(); });
    this.box.addEventListener("mouseleave", () => { this.cursor = null; this.draw(); });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.find(".f-past").addEventListener("change", () => this.draw());
    this.find(".f-patient").addEventListener("change", (event) => this.shell.tell("open", event.target.value));
    this.find(".change-mode").addEventListener("click", () => this.changeMode());
  }

  take(content) {
    this.data = content.patient;
    const select = this.find(".f-patient");
    keyed(select, content.choices, ([id]) => id, ([id]) => { const o = element("option"); o.value = id; return o; }, (o, [, words]) => text(o, words));
    if (!this.data && !content.asked && content.suggested && !this.went) { this.went = true; this.shell.tell("open", content.suggested); }
    show(this.find(".nobody"), !this.data);
    for (const node of this.root.querySelectorAll(".grid, section")) show(node, Boolean(this.data));
    if (!this.data) return;
    const d = this.data;
    if (select.value !== d.id) select.value = d.id;
    const hours = PASTS[d.past_s > 90000 ? "sparse" : "dense"];
    keyed(this.find(".f-past"), hours, String, (each) => { const o = element("option", "", each < 48 ? `${each} h` : `${each / 24} d`); o.value = String(each); return o; }, () => {});
    if (this.pastOf !== d.id) { this.pastOf = d.id; this.find(".f-past").value = String(this.fitting(d, hours)); this.cursor = null; }
    this.about(d);
    this.decision(d.decision);
    rows(this.find(".t-rows"), d.table, (each) => each.join("|"), (each) => each);
    keyed(this.find(".c-rows"), d.open_commands, (each) => each.id, () => element("li"), (node, each) => text(node, `${each.at} ${each.stage}: ${each.order}`));
    keyed(this.find(".p-facts"), [...d.devices, ...d.covariates], String, () => element("li"), (node, each) => text(node, each));
  }

  // The least span that shows all there is, and the second one where there is more.
  fitting(d, hours) {
    const times = d.lanes.flatMap((lane) => (lane.points || []).slice(0, 1).map((row) => row[0]));
    const newest = d.now_card.at_s, span = newest === null || !times.length ? 0 : (newest - Math.min(...times)) / 3600;
    return span <= hours[0] ? hours[0] : hours[1];
  }

  about(d) {
    const mode = this.find(".mode");
    attribute(mode, "class", `mode ${d.mode}`);
    text(mode, `${d.mode} mode`);
    text(this.find(".who-ward"), d.ward);
    text(this.find(".who-therapy"), d.therapy);
    text(this.shell.find(".context"), `${d.id} · enrolment version ${d.version}`);
    text(this.find(".now-title"), d.now_card.quantity);
    text(this.find(".v"), d.now_card.value);
    text(this.find(".u"), d.now_card.unit);
  }

  tick(eventNow) {
    this.now = eventNow;
    if (!this.data) return;
    const card = this.data.now_card, age = card.at_s === null ? null : eventNow - card.at_s, old = age !== null && age > card.stale_after_s;
    attribute(this.find(".big"), "data-old", String(old));
    text(this.find(".place"), card.at_s === null ? card.place : `${old ? "Old value, " : ""}${card.place}, measured ${ago(age)}`);
    const facts = [["Target", card.target || "none for this value"],
      ["Target attained (forecast)", card.attainment === null ? "–" : `${Math.round(100 * card.attainment)} %`],
      ["Event likely", card.time_to_event_s === null ? "not in sight" : card.time_to_event_s < 60 ? "now" : `in ${duration(card.time_to_event_s)}`],
      ...(this.data.decision.risks || []).map(([name, value]) => [`Risk: ${name}`, value])];
    this.facts(this.find(".now-facts"), facts);
    this.draw();
  }

  facts(list, pairs) {
    keyed(list, pairs.flatMap(([name, value]) => [{ key: `${name}/t`, tag: "dt", words: name }, { key: `${name}/d`, tag: "dd", words: value }]),
      (each) => each.key, (each) => element(each.tag), (node, each) => text(node, each.words));
  }

  decision(d) {
    show(this.find(".d-none"), Boolean(d.none)); text(this.find(".d-none"), d.none || "");
    show(this.find(".d-some"), !d.none);
    text(this.find(".d-model"), d.model ? `Model ${d.model}, from ${d.source}` : "");
    this.facts(this.find(".d-estimates"), (d.estimates || []).map(([name, value, span]) => [name, `${value} (${span})`]));
    if (d.none) { rows(this.find(".d-candidates"), [], String, () => []); return; }
    text(this.find(".outcome"), d.outcome_words);
    text(this.find(".reason"), d.reason);
    text(this.find(".d-orders"), `Chosen: ${d.chosen}. ${d.orders[0].toUpperCase()}${d.orders.slice(1)}.`);
    show(this.find(".d-change"), Boolean(d.would_change)); text(this.find(".d-change"), `What would change it: ${d.would_change}`);
    keyed(this.find(".d-cuts"), d.refusals, (each) => each.limit, () => element("p", "cut small"), (node, each) =>
      text(node, `Supervisor ${each.effect}: ${each.limit}, found ${each.value}, bound ${each.bound}. ${each.reason}${each.source ? ` (${each.source})` : ""}`));
    this.facts(this.find(".d-evidence"), d.evidence);
    rows(this.find(".d-candidates"), d.candidates, (each) => each.name, (each) => [each.name, each.orders, each.utility, each.attainment, each.risks,
      each.chosen ? "✓ chosen" : each.feasible ? "possible" : "✕ too risky"], (line, each) => {
      attribute(line, "class", each.chosen ? "chosen" : each.feasible ? "" : "infeasible");
      line.children[2].className = line.children[3].className = "num";
    });
  }

  changeMode() {
    const d = this.data;
    if (!d) return;
    this.shell.ask({
      title: "Change the mode of a patient", confirm: "Change the mode", needsReason: true,
      choices: ["shadow", "advisory", "autonomous"].filter((each) => each !== d.mode),
      facts: [["Patient", d.id], ["Ward", d.ward], ["Therapy", d.therapy], ["Mode now", d.mode], ["Enrolment version", String(d.version)]],
      act: { kind: "mode", subject: d.id, seen_version: d.version },
    });
  }

  key(event) {
    const step = (this.t1 - this.t0) / 120, moves = { ArrowLeft: -step, ArrowRight: step, PageUp: -10 * step, PageDown: 10 * step };
    if (event.key in moves) this.cursor = Math.min(this.t1, Math.max(this.t0, (this.cursor === null ? this.now : this.cursor) + moves[event.key]));
    else if (event.key === "Home") this.cursor = this.t0;
    else if (event.key === "End") this.cursor = this.now;
    else if (event.key === "Escape") this.cursor = null;
    else return;
    event.preventDefault();
    this.draw();
  }

  timeAt(x) { return this.t0 + ((x - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right)) * (this.t1 - this.t0); }
  x(t) { return MARGIN.left + ((t - this.t0) / (this.t1 - this.t0)) * (this.width - MARGIN.left - MARGIN.right); }

  draw() {
    if (!this.shell || !this.data || !this.now) return;
    const c = this.shell.colours, lanes = this.data.lanes;
    this.width = this.box.clientWidth;
    if (!this.width) return;
    this.t0 = this.now - 3600 * +this.find(".f-past").value;
    this.t1 = this.now + Math.min(this.data.future_s, (this.now - this.t0) * 0.6);
    let y = MARGIN.top + 22;
    for (const lane of lanes) { lane.y = y; lane.h = HEIGHTS[lane.kind] + (lane === lanes[0] ? 40 : 0); y += lane.h + LANE_GAP; }
    const height = y + MARGIN.bottom;
    const g = this.g = fitCanvas(this.canvas, this.width, height);
    g.clearRect(0, 0, this.width, height);
    this.axis(g, c, height);
    for (const lane of lanes) this.lane(g, c, lane);
    this.marks(g, c);
    this.nowLine(g, c, height);
    this.readout(g, c, height);
  }

  axis(g, c, height) {
    const span = this.t1 - this.t0, step = [900, 1800, 3600, 7200, 14400, 21600, 43200, 86400].find((each) => span / each <= 9) || 86400;
    g.font = `500 11px ${c.font}`; g.textAlign = "center"; g.fillStyle = c.soft; g.strokeStyle = c.line; g.lineWidth = 1;
    for (let t = Math.ceil(this.t0 / step) * step; t <= this.t1; t += step) {
      const x = Math.round(this.x(t)) + 0.5;
      g.globalAlpha = 0.7; g.beginPath(); g.moveTo(x, MARGIN.top + 16); g.lineTo(x, height - MARGIN.bottom); g.stroke(); g.globalAlpha = 1;
      g.fillText(step >= 86400 || (step >= 21600 && t % 86400 === 0) ? new Date(t * 1000).toISOString().slice(5, 10) : shortClock(t), x, height - 8);
    }
    g.textAlign = "left";
  }

  lane(g, c, lane) {
    const right = this.width - MARGIN.right;
    g.fillStyle = c.ink; g.font = `650 12px ${c.font}`;
    this.wrap(g, lane.title, 0, lane.y + 12, MARGIN.left - 40);
    g.font = `500 11px ${c.font}`; g.fillStyle = c.soft; g.fillText(lane.unit, 0, this.afterTitle + 1);
    g.strokeStyle = c.line; g.lineWidth = 1; g.strokeRect(MARGIN.left + 0.5, lane.y + 0.5, right - MARGIN.left, lane.h);
    g.save(); g.beginPath(); g.rect(MARGIN.left, lane.y, right - MARGIN.left, lane.h); g.clip();
    const ticks = this[lane.kind](g, c, lane);
    g.restore();
    g.font = `500 11px ${c.font}`; g.fillStyle = c.soft; g.textAlign = "right";
    for (const [y, words] of ticks || []) g.fillText(words, MARGIN.left - 6, y + 4);
    g.textAlign = "left";
  }

  wrap(g, words, x, y, width) {
    let line = "";
    const out = [];
    for (const word of words.split(" ")) {
      if (g.measureText(`${line} ${word}`).width > width && line) { out.push(line); line = word; } else line = line ? `${line} ${word}` : word;
    }
    out.push(line);
    out.forEach((each, index) => g.fillText(each, x, y + index * 14));
    this.afterTitle = y + out.length * 14;
  }

  scale(lane, values) {
    let [low, high] = lane.span;
    for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
    const pad = (high - low) * 0.06;
    low -= low === 0 ? 0 : pad; high += pad;
    const y = (v) => lane.y + lane.h - ((v - low) / (high - low)) * lane.h;
    return { low, high, y };
  }

  // An axis that fits what is seen, but never less than half the quantity's usual span.
  fitted(lane, values) {
    const [a, b] = lane.span, seen = values.filter((v) => isFinite(v));
    if (!seen.length) return this.scale(lane, []);
    const low = Math.min(...seen), high = Math.max(...seen), least = (b - a) / 2, middle = (low + high) / 2;
    let from = Math.min(low, middle - least / 2), to = Math.max(high, middle + least / 2);
    if (a >= 0 && from < 0) { to -= from; from = 0; to = Math.max(to, high); }
    return this.scale({ ...lane, span: [from, to] }, []);
  }

  visible(list) { return list.filter((row) => row[0] >= this.t0 - 3600 && row[0] <= this.t1); }

  quantity(g, c, lane) {
    const points = this.visible(lane.points), posterior = this.visible(lane.posterior), band = lane.band, colour = lane === this.data.lanes[0] ? c.band : c.warm;
    const values = [...points.map((p) => p[1]), ...posterior.flatMap((p) => [p[1], p[3]])];
    if (band) { const n = Math.ceil((this.t1 - band.start) / band.step) + 1; values.push(...band.values[0].slice(0, n), ...band.values[band.values.length - 1].slice(0, n)); }
    if (lane.strip) values.push(...lane.strip);
    const s = this.fitted(lane, values);
    if (lane.strip) {
      const a = s.y(lane.strip[1]), b = s.y(lane.strip[0]);
      g.globalAlpha = 0.13; g.fillStyle = c.calm; g.fillRect(MARGIN.left, a, this.width, b - a); g.globalAlpha = 1;
      g.strokeStyle = c.calm; g.lineWidth = 1; g.globalAlpha = 0.75;
      for (const y of [a, b]) { g.beginPath(); g.moveTo(MARGIN.left, y); g.lineTo(this.width, y); g.stroke(); }
      g.globalAlpha = 1;
    }
    if (posterior.length > 1) {
      g.beginPath();
      posterior.forEach((p, i) => (i ? g.lineTo(this.x(p[0]), s.y(p[3])) : g.moveTo(this.x(p[0]), s.y(p[3]))));
      for (let i = posterior.length - 1; i >= 0; i -= 1) g.lineTo(this.x(posterior[i][0]), s.y(posterior[i][1]));
      g.closePath(); g.globalAlpha = 0.2; g.fillStyle = colour; g.fill(); g.globalAlpha = 1;
      this.line(g, posterior.map((p) => [p[0], p[2]]), s, colour, 1.6);
    }
    if (band) this.fan(g, c, band, s, colour);
    g.lineWidth = 1.6;
    for (const [t, v, flag] of points) this.point(g, c, this.x(t), s.y(v), flag);
    return this.ticks(s, lane);
  }

  fan(g, c, band, s, colour) {
    const q = band.quantiles.length, xs = band.values[0].map((_, i) => this.x(band.start + i * band.step)), end = this.x(this.t1);
    const fade = g.createLinearGradient(this.x(band.start), 0, Math.min(xs[xs.length - 1], end), 0);
    const [r, gr, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    fade.addColorStop(0, `rgba(${r},${gr},${b},.34)`); fade.addColorStop(1, `rgba(${r},${gr},${b},.10)`);
    for (let k = 0; k < Math.floor(q / 2); k += 1) {
      g.beginPath();
      xs.forEach((x, i) => (i ? g.lineTo(x, s.y(band.values[q - 1 - k][i])) : g.moveTo(x, s.y(band.values[q - 1 - k][i]))));
      for (let i = xs.length - 1; i >= 0; i -= 1) g.lineTo(xs[i], s.y(band.values[k][i]));
      g.closePath(); g.fillStyle = fade; g.fill();
    }
    const middle = band.values[Math.floor(q / 2)];
    g.setLineDash([6, 4]);
    this.line(g, middle.map((v, i) => [band.start + i * band.step, v]), s, colour, 2);
    g.setLineDash([]);
  }

  line(g, list, s, colour, width) {
    g.beginPath();
    list.forEach(([t, v], i) => (i ? g.lineTo(this.x(t), s.y(v)) : g.moveTo(this.x(t), s.y(v))));
    g.strokeStyle = colour; g.lineWidth = width; g.lineJoin = "round"; g.stroke();
  }

  point(g, c, x, y, flag) {
    g.strokeStyle = c.ink; g.fillStyle = c.panel; g.beginPath();
    if (flag === 2) { g.moveTo(x - 3.5, y - 3.5); g.lineTo(x + 3.5, y + 3.5); g.moveTo(x + 3.5, y - 3.5); g.lineTo(x - 3.5, y + 3.5); g.stroke(); }
    else if (flag) { const up = flag > 0 ? -1 : 1; g.moveTo(x, y); g.lineTo(x, y + up * 8); g.moveTo(x - 3, y + up * 5); g.lineTo(x, y + up * 8); g.lineTo(x + 3, y + up * 5); g.stroke(); }
    else { g.arc(x, y, 2.5, 0, 7); g.fill(); g.stroke(); }
  }

  ticks(s, lane) {
    const raw = (s.high - s.low) / (lane.h > 90 ? 4.5 : 2.5), power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * power).find((each) => each >= raw) || power * 10;
    const found = [];
    for (let v = Math.ceil(s.low / step) * step; v <= s.high; v += step) { const y = s.y(v); if (y > lane.y + 6 && y < lane.y + lane.h - 2) found.push([y, String(+v.toPrecision(4))]); }
    return found;
  }

  dosage(g, c, lane) {
    const now = this.now, rates = lane.rates, plans = lane.plans.filter((p) => p.kind === "rate" || p.kind === "infusion");
    const asRate = (p) => (p.kind === "rate" ? p.amount : (p.amount / Math.max(p.end - p.t, 1)) * 3600);
    const values = [...rates.map((r) => r[1]), ...lane.blocks.map((b) => b.rate), ...plans.map(asRate)];
    const high = Math.max(0.1, ...values) * 1.25, s = { low: 0, high, y: (v) => lane.y + lane.h - (v / high) * (lane.h - 16) };
    g.fillStyle = c.plum; g.strokeStyle = c.plum; g.lineWidth = 1.8;
    if (rates.length) {
      g.beginPath(); g.moveTo(this.x(rates[0][0]), s.y(0));
      rates.forEach(([t, v], i) => { if (i) g.lineTo(this.x(t), s.y(rates[i - 1][1])); g.lineTo(this.x(t), s.y(v)); });
      g.lineTo(this.x(now), s.y(rates[rates.length - 1][1])); g.lineTo(this.x(now), s.y(0)); g.closePath();
      g.globalAlpha = 0.22; g.fill(); g.globalAlpha = 1; g.stroke();
    }
    for (const b of lane.blocks) { const x = this.x(b.t), w = Math.max(2, this.x(b.end) - x); g.globalAlpha = 0.3; g.fillRect(x, s.y(b.rate), w, s.y(0) - s.y(b.rate)); g.globalAlpha = 1; g.strokeRect(x, s.y(b.rate), w, s.y(0) - s.y(b.rate)); }
    g.setLineDash([4, 3]); g.strokeStyle = c.soft; g.lineWidth = 1.6;
    this.predicted(lane, s).forEach(([a, b, v]) => { g.beginPath(); g.moveTo(this.x(a), s.y(v)); g.lineTo(this.x(b), s.y(v)); g.stroke(); });
    g.setLineDash([]);
    const latest = lane.plans[lane.plans.length - 1];
    if (latest && latest.every) for (let t = latest.t + latest.every; t < this.t1; t += latest.every) { if (t > now) this.stem(g, c, this.x(t), lane, latest.amount, latest.unit, true); }
    for (const stem of lane.stems) this.stem(g, c, this.x(stem.t), lane, stem.amount, "", stem.missed);
    return values.length ? this.ticks(s, lane) : [];
  }

  // Segments [from, until, rate] of what decisions foresaw: each until the next decision, the last into the future.
  predicted(lane) {
    const plans = lane.plans.filter((p) => p.kind === "rate" || p.kind === "infusion");
    return plans.map((p, i) => [p.t, Math.min(p.end, i + 1 < plans.length ? plans[i + 1].t : p.end), p.kind === "rate" ? p.amount : (p.amount / Math.max(p.end - p.t, 1)) * 3600]);
  }

  stem(g, c, x, lane, amount, unit, ghost) {
    const bottom = lane.y + lane.h, top = lane.y + 16;
    g.strokeStyle = ghost ? c.soft : c.ink; g.fillStyle = ghost ? c.panel : c.ink; g.lineWidth = 1.6;
    if (ghost) g.setLineDash([3, 3]);
    g.beginPath(); g.moveTo(x, bottom); g.lineTo(x, top); g.stroke(); g.setLineDash([]);
    g.beginPath(); g.moveTo(x - 5, top - 2); g.lineTo(x + 5, top - 2); g.lineTo(x, top + 6); g.closePath(); g.fill(); g.stroke();
    g.font = `600 11px ${c.font}`; g.fillStyle = ghost ? c.soft : c.ink; g.fillText(`${+amount.toPrecision(3)} ${unit}`.trim(), x + 7, top + 4);
  }

  amount(g, c, lane) {
    const list = this.visible(lane.posterior), s = this.scale({ ...lane, span: [Math.min(0, ...list.map((r) => r[1])), Math.max(0.1, ...list.map((r) => r[3]))] }, []);
    if (list.length > 1) {
      g.beginPath(); list.forEach((p, i) => (i ? g.lineTo(this.x(p[0]), s.y(p[3])) : g.moveTo(this.x(p[0]), s.y(p[3]))));
      for (let i = list.length - 1; i >= 0; i -= 1) g.lineTo(this.x(list[i][0]), s.y(list[i][1]));
      g.closePath(); g.globalAlpha = 0.18; g.fillStyle = c.plum; g.fill(); g.globalAlpha = 1;
      this.line(g, list.map((p) => [p[0], p[2]]), s, c.plum, 1.8);
    }
    return this.ticks(s, lane);
  }

  vitals(g, c, lane) {
    const series = lane.series.map((each) => ({ ...each, seen: this.visible(each.points) })), s = this.fitted(lane, series.flatMap((each) => each.seen.map((p) => p[1])));
    const heart = series.find((each) => each.name === "Heart rate");
    const upper = series.find((each) => each.name.startsWith("Systolic")), lower = series.find((each) => each.name.startsWith("Diastolic"));
    if (upper && lower) {
      const below = new Map(lower.seen.map((p) => [p[0], p[1]]));
      g.strokeStyle = c.ink; g.lineWidth = 1.3;
      for (const [t, v] of upper.seen) if (below.has(t)) { const x = this.x(t), a = s.y(v), b = s.y(below.get(t)); g.beginPath(); g.moveTo(x, a); g.lineTo(x, b); g.moveTo(x - 2.5, a); g.lineTo(x + 2.5, a); g.moveTo(x - 2.5, b); g.lineTo(x + 2.5, b); g.stroke(); }
    }
    if (heart) this.line(g, heart.seen, s, c.heart, 1.8);
    return this.ticks(s, lane);
  }

  combined(g, c, lane) {
    const byKey = Object.fromEntries(this.data.lanes.map((each) => [each.key, each])), [ck, vk, dk] = lane.of;
    const draw = (list, colour, dash) => {
      const seen = this.visible(list);
      if (seen.length < 2) return;
      const values = seen.map((p) => p[1]), low = Math.min(...values), high = Math.max(...values), pad = (high - low || 1) * 0.12;
      g.setLineDash(dash);
      this.line(g, seen, this.scale({ ...lane, span: [low - pad, high + pad] }, []), colour, 2);
      g.setLineDash([]);
    };
    const concentration = byKey[ck];
    if (concentration) {
      draw([...concentration.posterior.map((p) => [p[0], p[2]]), ...this.middle(concentration.band)], c.warm, []);
      lane.legend = [[`${concentration.title}, ${concentration.unit}`, c.warm, "solid"]];
    }
    const heart = byKey[vk] && byKey[vk].series.find((each) => each.name === "Heart rate");
    if (heart) { draw(heart.points, c.heart, [2, 3]); lane.legend.push(["heart rate, /min", c.heart, "dotted"]); }
    const dosage = byKey[dk];
    if (dosage) {
      const steps = this.predicted(dosage).flatMap(([a, b, v]) => [[a, v], [b, v]]);
      const given = dosage.blocks.flatMap((b) => [[b.t, 0], [b.t, b.rate], [b.end, b.rate], [b.end, 0]]);
      draw(steps.length ? steps : given, c.plum, [7, 4]);
      lane.legend.push([`${steps.length ? "predicted" : "given"} dosage, ${dosage.unit.split(",")[0]}`, c.plum, "dashed"]);
    }
    g.font = `600 11px ${c.font}`;
    let x = MARGIN.left + 8;
    for (const [words, colour, how] of lane.legend || []) {
      g.strokeStyle = colour; g.lineWidth = 2.2; g.setLineDash(how === "dotted" ? [2, 3] : how === "dashed" ? [7, 4] : []);
      g.beginPath(); g.moveTo(x, lane.y + 12); g.lineTo(x + 22, lane.y + 12); g.stroke(); g.setLineDash([]);
      g.fillStyle = c.ink; g.fillText(words, x + 27, lane.y + 16); x += g.measureText(words).width + 46;
    }
    return [];
  }

  middle(band) { if (!band) return []; const row = band.values[Math.floor(band.quantiles.length / 2)]; return row.map((v, i) => [band.start + i * band.step, v]); }

  marks(g, c) {
    const y = MARGIN.top + 4;
    g.font = `650 12px ${c.font}`; g.fillStyle = c.ink; g.fillText("Alerts, commands", 0, y + 4);
    for (const mark of this.data.marks) {
      if (mark.t < this.t0) continue;
      const x = this.x(mark.t), alert = mark.kind.startsWith("alert-") ? { high: 3, medium: 2, low: 1 }[mark.kind.slice(6)] : 0;
      if (alert) { g.globalAlpha = 0.5; g.strokeStyle = c[["", "low", "medium", "high"][alert]]; g.lineWidth = 1; g.beginPath(); g.moveTo(x, y); g.lineTo(x, this.data.lanes[this.data.lanes.length - 1].y); g.stroke(); g.globalAlpha = 1; priorityMark(g, alert, x, y, 6, c[["", "low", "medium", "high"][alert]], c.edge); }
      else {
        const stage = mark.kind.slice(8), done = stage === "applied", bad = stage === "refused" || stage === "expired" || stage === "turned down";
        g.strokeStyle = c.ink; g.fillStyle = done ? c.ink : c.panel; g.lineWidth = 1.4;
        if (bad) { g.beginPath(); g.moveTo(x - 4, y - 4); g.lineTo(x + 4, y + 4); g.moveTo(x + 4, y - 4); g.lineTo(x - 4, y + 4); g.stroke(); }
        else { g.fillRect(x - 3.5, y - 3.5, 7, 7); g.strokeRect(x - 3.5, y - 3.5, 7, 7); }
      }
    }
  }

  nowLine(g, c, height) {
    const x = Math.round(this.x(this.now)) + 0.5;
    g.strokeStyle = c.ink; g.lineWidth = 1.5; g.beginPath(); g.moveTo(x, MARGIN.top - 8); g.lineTo(x, height - MARGIN.bottom); g.stroke();
    g.font = `650 12px ${c.font}`; g.fillStyle = c.ink; g.fillText(`now ${clockWords(this.now)}`, x + 5, MARGIN.top - 12);
  }

  nearest(list, t, within) {
    let best = null;
    for (const row of list) if (!best || Math.abs(row[0] - t) < Math.abs(best[0] - t)) best = row;
    return best && Math.abs(best[0] - t) <= within ? best : null;
  }

  said(lane, t) {
    const within = Math.max(900, (this.t1 - this.t0) / 60), f = (v) => String(+v.toPrecision(3));
    if (lane.kind === "quantity") {
      const measured = this.nearest(lane.points, t, within), stood = this.nearest(lane.posterior, t, within);
      let words = measured ? `${f(measured[1])}` : "";
      if (t > this.now && lane.band) {
        const i = Math.round((t - lane.band.start) / lane.band.step), v = lane.band.values;
        if (i < v[0].length) words = `forecast ${f(v[Math.floor(v.length / 2)][Math.max(i, 0)])} (${f(v[0][Math.max(i, 0)])}–${f(v[v.length - 1][Math.max(i, 0)])})`;
      } else if (stood) words += `${words ? ", " : ""}twin ${f(stood[2])} (${f(stood[1])}–${f(stood[3])})`;
      return words && [lane.title, `${words} ${lane.unit}`];
    }
    if (lane.kind === "amount") { const r = this.nearest(lane.posterior, t, within); return r && [lane.title, `${f(r[2])} (${f(r[1])}–${f(r[3])}) ${lane.unit}`]; }
    if (lane.kind === "vitals") {
      const words = lane.series.map((each) => { const r = this.nearest(each.points, t, within); return r ? `${each.name} ${f(r[1])} ${each.unit}` : ""; }).filter(Boolean).join(", ");
      return words && ["Vital signs", words];
    }
    if (lane.kind === "dosage") {
      const rate = lane.rates.filter((r) => r[0] <= t).pop(), block = lane.blocks.find((b) => b.t <= t && t <= b.end), stem = lane.stems.find((each) => Math.abs(each.t - t) < within / 2);
      const plan = this.predicted(lane).find(([a, b]) => a <= t && t <= b), unit = lane.unit.split(",")[0];
      const words = [stem && stem.text, block && `${f(block.rate)} ${unit}`, rate && t <= this.now && `${f(rate[1])} ${unit}`, plan && `predicted ${f(plan[2])} ${unit}`].filter(Boolean).join(", ");
      return words && ["Dosage", words];
    }
    return null;
  }

  readout(g, c, height) {
    const t = this.cursor === null ? this.now : this.cursor;
    if (this.cursor !== null) {
      const x = Math.round(this.x(t)) + 0.5;
      g.strokeStyle = c.accent; g.lineWidth = 1.5; g.beginPath(); g.moveTo(x, MARGIN.top); g.lineTo(x, height - MARGIN.bottom); g.stroke();
    }
    const parts = this.data.lanes.map((lane) => this.said(lane, t)).filter(Boolean);
    const near = this.cursor === null ? null : this.data.marks.filter((m) => Math.abs(m.t - t) < (this.t1 - this.t0) / 120).map((m) => m.text).join("; ");
    const items = [[this.cursor === null ? "Now" : "At", `${clockWords(t)} UTC`], ...parts, ...(near ? [["Marks", near]] : [])];
    keyed(this.find(".readout"), items, ([name]) => name, ([name]) => { const n = element("span"); n.append(element("span", "", ""), element("b")); return n; },
      (node, [name, words]) => { text(node.children[0], `${name} `); text(node.children[1], words); });
    attribute(this.box, "aria-valuenow", String(Math.round(((t - this.t0) / (this.t1 - this.t0)) * 100)));
    attribute(this.box, "aria-valuetext", items.map((each) => each.join(" ")).join(", "));
  }
}
export default function (component) { return run(component, Page); }
