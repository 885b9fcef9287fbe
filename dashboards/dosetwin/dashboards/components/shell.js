// The shell of every page: freshness in words, hold, alerts tally, notices, the dialog for what people do.
class Shell {
  constructor(root, page) {
    this.root = root;
    this.page = page;
    this.held = false;
    this.received = 0;
    this.header = null;
    this.digest = null;
    this.theme = "";
    this.find = (selector) => root.querySelector(selector);
    this.find(".hold").addEventListener("click", () => this.hold(!this.held));
    this.dialog = this.find("dialog.ask");
    this.find(".ask-cancel").addEventListener("click", () => this.dialog.close());
    this.find(".ask-confirm").addEventListener("click", () => this.confirm());
    this.find("#ask-reason").addEventListener("input", () => this.ready());
    this.find("#ask-select").addEventListener("change", () => this.ready());
    keyed(this.find(".tally"), ["high", "medium", "low"], (each) => each, () => element("span", "chip none"), () => {});
    document.documentElement.lang = "en";
    this.timer = setInterval(() => this.tick(), 1000);
    this.resized = new ResizeObserver(() => this.page.draw && this.page.draw());
    this.resized.observe(root);
  }

  close() { clearInterval(this.timer); this.resized.disconnect(); if (this.page.close) this.page.close(); }

  now() { return this.header.event_s + this.sinceMessage() * this.header.speed; }
  sinceMessage() { return (performance.now() - this.received) / 1000; }

  receive(component) {
    this.component = component;
    this.dress();
    const bytes = component.data;
    if (!bytes || bytes === this.last) { this.tick(); return; }
    this.last = bytes;
    const message = JSON.parse(new TextDecoder().decode(bytes));
    this.received = performance.now();
    this.header = message.header;
    this.notices(message.notices);
    if (message.content) { this.digest = message.digest; this.offer("take", message.content); }
    else if (message.base === this.digest) {
      this.digest = message.digest;
      if (message.delta) this.offer("change", message.delta);
    } else this.tell("resync", this.digest || "nothing");
    this.tick();
  }

  // Data reach the page at once, or when the hold ends; changes wait in order.
  offer(how, content) {
    if (!this.held) { this.page[how](content); return; }
    if (how === "take") this.waiting = [];
    if (this.waiting.length < 60) this.waiting.push([how, content]);
    else this.overflowed = true;
  }

  hold(yes) {
    this.held = yes;
    this.heldAt = performance.now();
    if (yes) { this.waiting = []; this.heldEvent = this.now(); this.heldHigh = this.header.alerts.high; }
    else if (this.overflowed) { this.overflowed = false; this.tell("resync", "held long"); }
    else { for (const [how, content] of this.waiting) this.page[how](content); this.waiting = []; }
    attribute(this.find(".hold"), "aria-pressed", String(yes));
    this.tick();
  }

  tell(name, value) { this.component.setTriggerValue(name, value); }

  dress() {
    const [r, g, b] = (getComputedStyle(this.root.parentElement).getPropertyValue("--st-background-color") || "#fff")
      .trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3").match(/[0-9a-f]{2}/gi)?.map((each) => parseInt(each, 16)) || [255, 255, 255];
    const theme = 0.3 * r + 0.59 * g + 0.11 * b < 110 ? "dark" : "light";
    if (theme !== this.theme) {
      this.theme = theme;
      attribute(this.root, "data-theme", theme);
      this.colours = colours(this.root);
      this.coloursChanged = true;
    }
  }

  trouble() {
    const h = this.header, since = this.sinceMessage(), limit = h.stale_after_s;
    if (since > limit) return `No news from the dashboard's server for ${duration(since)}`;
    if (h.connection === "connecting") return h.heard_age_s > limit || h.error ? `Not connected: ${h.error || "the broker does not answer"}` : "";
    const going = since < 4 ? since : 0; // a server that fell silent is to be named first, not the broker behind it
    if (h.heard_age_s + going > limit) return `The broker has not answered for ${duration(h.heard_age_s + going)}; reconnecting`;
    if (h.behind_s > limit) return `This view is ${duration(h.behind_s)} behind the devices; catching up`;
    if (h.reading_age_s !== null && h.reading_age_s + going > h.silent_after_s)
      return `No reading from any device for ${duration(h.reading_age_s + going)}`;
    return "";
  }

  tick() {
    const h = this.header;
    if (!h) return;
    const since = this.sinceMessage(), trouble = this.trouble();
    const wait = h.connection === "connecting" || h.connection === "catching up";
    attribute(this.root, "data-state", trouble ? "trouble" : wait ? "wait" : "live");
    show(this.find(".trouble"), Boolean(trouble));
    text(this.find(".trouble"), trouble ? `${trouble}. What is shown below is old.` : "");
    const parts = [{ connecting: "Connecting to the broker", "catching up": "Reading what the topics hold", live: "Live", reconnecting: "Reconnecting to the broker" }[h.connection]];
    parts.push(h.reading_age_s === null ? "no reading yet" : `newest reading ${ago(h.reading_age_s + since)}`);
    parts.push(wait ? "" : h.behind_s > 2 ? `behind by ${duration(h.behind_s)}` : "up to date");
    if (h.reconnections) parts.push(`reconnected ${h.reconnections === 1 ? "once" : `${h.reconnections} times`}`);
    if (h.not_shown) parts.push(`${h.not_shown} patients not shown`);
    if (this.held) {
      const extra = h.alerts.high - this.heldHigh;
      parts.unshift(`HELD for ${duration((performance.now() - this.heldAt) / 1000)}${extra > 0 ? `, ${extra} new alarm${extra > 1 ? "s" : ""}` : ""}`);
    }
    text(this.find(".age"), parts.filter(Boolean).join(" · "));
    text(this.find(".clock"), `${clockWords(this.now())} UTC${h.speed === 1 ? "" : `, ${+h.speed.toPrecision(3)}× life`}`);
    for (const node of this.find(".tally").children) {
      const kind = node.__key, count = h.alerts[kind], each = PRIORITIES[kind];
      chip(node, count ? kind : "none", `${each.mark} ${each.stars} ${count} ${{ high: "high", medium: "medium", low: "low" }[kind]}`);
    }
    if (this.page.tick) this.page.tick(this.held ? this.heldEvent : this.now());
  }

  notices(list) {
    keyed(this.find(".said"), list, (each) => each.id, (each) => element("div", each.ok ? "notice" : "notice bad"), (node, each) => text(node, each.text));
  }

  hush(words) {
    if (performance.now() - (this.hushed || -1e9) < 10000) return;
    this.hushed = performance.now();
    text(this.find(".hush"), words);
  }

  // Ask a person to confirm: facts as seen now stay frozen in the dialog; `act` is what is sent.
  ask({ title, facts, confirm, act, needsReason, choices }) {
    this.asking = { act, needsReason, choices };
    text(this.find("#ask-title"), title);
    const list = this.find(".ask-facts");
    list.replaceChildren(...facts.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
    this.find("#ask-reason").value = "";
    text(this.find(".ask-label"), needsReason ? "Reason (needed)" : "Reason (if there is something to say)");
    show(this.find(".ask-choice"), Boolean(choices));
    if (choices) this.find("#ask-select").replaceChildren(...choices.map((each) => { const o = element("option", "", each); o.value = each; return o; }));
    text(this.find(".ask-who"), `Signed and kept for ${this.header.person}, ${this.header.role}.`);
    text(this.find(".ask-confirm"), confirm);
    this.ready();
    this.dialog.showModal();
    (needsReason ? this.find("#ask-reason") : this.find(".ask-cancel")).focus();
  }

  ready() {
    const lacking = this.asking.needsReason && !this.find("#ask-reason").value.trim();
    this.find(".ask-confirm").disabled = lacking;
  }

  confirm() {
    const { act, choices } = this.asking;
    const nonce = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
    this.tell("act", { ...act, nonce, reason: this.find("#ask-reason").value.trim(), ...(choices ? { mode: this.find("#ask-select").value } : {}) });
    this.dialog.close();
  }
}

const SHELLS = new WeakMap();
function run(component, Page) {
  const root = component.parentElement.querySelector(".dt");
  let shell = SHELLS.get(root);
  if (!shell) {
    const page = new Page(root);
    shell = new Shell(root, page);
    page.shell = shell;
    SHELLS.set(root, shell);
  }
  shell.receive(component);
  return () => { shell.close(); SHELLS.delete(root); };
}
