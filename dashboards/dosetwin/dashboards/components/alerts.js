// Alerts by the priorities of IEC 60601-1-8: shape, stars and word beside the colour; acknowledged one by one.
class Page {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    for (const name of ["priority", "kind", "seen"]) this.find(`.f-${name}`).addEventListener("change", () => this.lists());
  }

  take(content) {
    this.data = content;
    keyed(this.find(".f-kind"), ["", ...content.kinds], (each) => each || "all", (each) => { const o = element("option"); o.value = each; return o; },
      (o, each) => text(o, each ? each.replaceAll("_", " ") : "all"));
    const c = content.counts;
    text(this.shell.find(".context"), `${content.open_total} open, ${content.over_total} over`);
    this.shell.hush(`Open alerts: ${c.high} high, ${c.medium} medium, ${c.low} low`);
    this.lists();
  }

  tick(eventNow) { this.now = eventNow; if (this.data) this.ages(); }

  wanted(each) {
    const priority = this.find(".f-priority").value, kind = this.find(".f-kind").value, seen = this.find(".f-seen").value;
    return (!priority || each.priority === priority) && (!kind || each.kind === kind) && (!seen || (seen === "yes") === each.seen);
  }

  lists() {
    if (!this.data) return;
    const open = this.data.open.filter((each) => this.wanted(each)), over = this.data.over.filter((each) => this.wanted(each));
    show(this.find(".no-open"), !open.length); show(this.find(".open-table"), Boolean(open.length));
    show(this.find(".no-over"), !over.length); show(this.find(".over-table"), Boolean(over.length));
    this.fill(".open-rows", open, true);
    this.fill(".over-rows", over, false);
    this.ages();
  }

  fill(where, list, open) {
    rows(this.find(where), list, (each) => each.id, (each) => [null, null, null, null, open ? each.state : each.over, open ? null : each.state],
      (line, each, fresh) => {
        if (fresh) this.build(line, each, open);
        const p = PRIORITIES[each.priority];
        chip(line.children[0].firstChild, each.priority, `${p.mark} ${p.stars} ${each.priority}`);
        text(line.children[1].children[0], each.title);
        text(line.children[1].children[1], each.message);
        text(line.children[1].children[2], [each.evidence && `evidence: ${each.evidence}`, each.source && `from ${each.source}`].filter(Boolean).join("; "));
        if (!open) { text(line.children[3], each.raised); return; }
        const button = line.children[5].firstChild, waits = each.pending || each.seen;
        show(button, !each.seen);
        text(button, each.pending ? "Sent" : "Acknowledge");
        if (button.disabled !== waits) button.disabled = waits;
        attribute(line, "class", each.seen ? "seen" : "");
      });
  }

  build(line, each, open) {
    line.children[0].appendChild(element("span", "chip"));
    line.children[1].append(element("b"), element("p"), element("p", "small soft"));
    if (each.short === "platform") line.children[2].textContent = "platform";
    else {
      const patient = element("button", "open", each.short);
      patient.type = "button";
      patient.addEventListener("click", () => this.shell.tell("open", each.patient));
      line.children[2].append(patient, element("p", "small soft", each.ward));
    }
    if (!open) return;
    line.children[3].append(element("span", "", each.raised), element("p", "small soft age-of"));
    const button = element("button", "do", "Acknowledge");
    button.type = "button";
    attribute(button, "aria-label", `Acknowledge ${each.title} of ${each.short}`);
    button.addEventListener("click", () => this.acknowledge(line.__item));
    line.children[5].appendChild(button);
  }

  ages() {
    for (const line of this.find(".open-rows").children) if (line.__item && line.querySelector(".age-of")) text(line.querySelector(".age-of"), ago(this.now - line.__item.raised_s));
  }

  acknowledge(each) {
    this.shell.ask({
      title: "Acknowledge this alert?", confirm: "I have seen it",
      facts: [["Alert", `${PRIORITIES[each.priority].stars} ${each.priority}: ${each.title}`], ["Patient", each.patient], ["Ward", each.ward || "no ward"],
        ["What", each.message], ["Raised", `${each.raised}, ${ago(this.now - each.raised_s)}`], ["Means", "silent for a while for this alert alone; something worse is raised at once"]],
      act: { kind: "acknowledge", subject: each.id },
    });
  }
}
export default function (component) { return run(component, Page); }
