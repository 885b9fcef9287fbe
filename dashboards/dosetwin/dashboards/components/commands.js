// Commands: proposals that wait for a person, and every order's life line from proposed to applied.
const STAGE_MARK = { waiting: "◷", approved: "✓", "turned down": "✕", issued: "→", delivered: "⇥", applied: "●", refused: "✕", expired: "⌛" };
const FIRST = 8;

class Page {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.find(".f-stage").addEventListener("change", () => this.lines());
    this.find(".more-wait").addEventListener("click", () => { this.all = !this.all; this.waiting(); });
  }

  take(content) {
    this.data = content;
    const select = this.find(".f-stage"), names = ["", ...Object.keys(STAGE_MARK)];
    keyed(select, names, (each) => each || "all", (each) => { const o = element("option"); o.value = each; return o; },
      (o, each) => text(o, each ? `${each} (${content.counts[each] || 0})` : `all (${content.total})`));
    text(this.shell.find(".context"), `${content.waiting_total} waiting, ${content.open} open, ${content.total} kept`);
    this.lines();
  }

  tick(eventNow) {
    this.now = eventNow;
    if (this.data) this.waiting();
  }

  waiting() {
    const every = this.data.waiting.filter((each) => each.expires_s > this.now), list = this.all ? every : every.slice(0, FIRST);
    show(this.find(".more-wait"), every.length > FIRST);
    text(this.find(".more-wait"), this.all ? "Show the first only" : `Show ${every.length - FIRST} more`);
    show(this.find(".no-wait"), !list.length);
    if (every.length !== this.count) { this.count = every.length; this.shell.hush(`${every.length} proposals wait for a person`); }
    keyed(this.find(".wait-rows"), list, (each) => each.id, (each) => this.card(each), (node, each) => {
      node.__item = each;
      text(node.querySelector(".w-value"), each.value ? `${each.value}, measured ${ago(this.now - each.value_at_s)}` : "no value yet");
      text(node.querySelector(".w-time"), `expires in ${duration(each.expires_s - this.now)}`);
      show(node.querySelector(".yes"), !each.overtaken);
      show(node.querySelector(".w-old"), each.overtaken);
      text(node.querySelector(".w-mode"), `${each.mode || "unknown"} mode, enrolment version ${each.enrolment_version ?? "?"}`);
    });
  }

  card(each) {
    const node = element("article", "wait");
    const what = element("div", "w-what");
    const patient = element("button", "open", each.short);
    patient.type = "button";
    patient.addEventListener("click", () => this.shell.tell("open", each.patient));
    const head = element("p", "w-head");
    head.append(patient, element("span", "soft", `${each.ward || "no ward"} · ${each.therapy || ""}`));
    what.append(head, element("p", "w-order", each.orders.join("; ")), element("p", "w-old", "A newer proposal for this patient waits; this one can only be refused."), element("p", "", each.reason),
      element("p", "soft small w-value"), element("p", "soft small w-mode"));
    const side = element("div", "w-side");
    const approve = element("button", "do yes", "Approve"), refuse = element("button", "do", "Refuse");
    approve.type = refuse.type = "button";
    attribute(approve, "aria-label", `Approve ${each.orders.join("; ")} for ${each.short}`);
    attribute(refuse, "aria-label", `Refuse ${each.orders.join("; ")} for ${each.short}`);
    approve.addEventListener("click", () => this.decide(node.__item, "approve"));
    refuse.addEventListener("click", () => this.decide(node.__item, "refuse"));
    side.append(element("p", "w-time"), approve, refuse);
    node.append(what, side);
    return node;
  }

  decide(each, kind) {
    this.shell.ask({
      title: kind === "approve" ? "Approve this dose?" : "Refuse this dose?",
      confirm: kind === "approve" ? "Approve and sign" : "Refuse and sign",
      needsReason: kind === "refuse",
      facts: [["Patient", each.patient], ["Ward", each.ward || "no ward"], ["Dose", each.orders.join("; ")], ["Device", each.device],
        ["Last value", each.value ? `${each.value}, ${ago(this.now - each.value_at_s)}` : "none"], ["Why", each.reason],
        ["Version seen", `enrolment ${each.enrolment_version}, proposed for ${each.version}`], ["Expires", `in ${duration(each.expires_s - this.now)}`]],
      act: { kind, subject: each.id, seen_version: each.enrolment_version },
    });
  }

  lines() {
    const wanted = this.find(".f-stage").value, list = this.data.lines.filter((each) => !wanted || each.stage === wanted);
    text(this.find(".f-count"), `${list.length} of the newest ${this.data.lines.length} shown`);
    rows(this.find(".line-rows"), list, (each) => each.id, (each) => [
      each.started_s ? clockWords(each.started_s) : "–", null, each.order, each.device, null, null,
    ], (line, each, fresh) => {
      if (fresh) {
        const button = element("button", "open", each.short);
        button.type = "button";
        button.addEventListener("click", () => this.shell.tell("open", each.patient));
        line.children[1].appendChild(button);
        line.children[4].appendChild(element("span", "stage"));
        line.children[5].appendChild(element("ol", "steps"));
        line.children[2].className = "order";
      }
      const stage = line.children[4].firstChild;
      text(stage, `${STAGE_MARK[each.stage]} ${each.stage}`);
      attribute(stage, "class", `stage ${each.stage.replace(" ", "-")}`);
      keyed(line.children[5].firstChild, each.steps, (step) => step.what, () => element("li"), (node, step) => {
        text(node, `${step.what} ${step.at}`);
        attribute(node, "title", step.detail);
        attribute(node, "class", ["refused", "expired", "turned down"].includes(step.what) ? "bad" : "");
      });
      const last = each.steps[each.steps.length - 1];
      if (last && each.final && last.detail && ["refused", "expired", "turned down"].includes(last.what)) {
        if (!line.children[4].children[1]) line.children[4].appendChild(element("p", "small soft"));
        text(line.children[4].children[1], last.detail);
      }
    });
  }
}
export default function (component) { return run(component, Page); }
