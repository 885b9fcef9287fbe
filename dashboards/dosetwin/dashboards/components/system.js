// The system: flow through the topics, lag, latency, shards, dead letters.
class Page {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
  }

  take(content) {
    this.data = content;
    keyed(this.find(".cards"), content.flows, (each) => each.topic, (each) => {
      const node = element("section", "panel card");
      attribute(node, "aria-label", each.title);
      node.append(element("h2", "", each.title), element("p", "rate"), element("canvas"));
      attribute(node.lastChild, "aria-hidden", "true");
      return node;
    }, (node, each) => { node.__item = each; text(node.querySelector(".rate"), `${each.per_second} a second`); });
    const group = content.group, numeric = (line, from, to) => { for (let i = from; i <= to; i += 1) line.children[i].className = "num"; };
    show(this.find(".no-shards"), !content.shards.length); show(this.find(".shard-table"), Boolean(content.shards.length));
    rows(this.find(".shard-rows"), content.shards, (each) => each.name, (each) => [each.name, each.twins, each.partitions, each.rate, each.lag, each.restarts,
      each.memory, each.behind ? "▲ behind: takes readings, decides later" : "✓ up"], (line, each, fresh) => { if (fresh) numeric(line, 1, 6); });
    text(this.find(".group"), group.members === null ? "The shards' consumer group does not answer." : `Consumer group: ${group.state || "unknown"}, ${group.members} members; ${group.lag_total === null ? "nothing committed yet" : `${group.lag_total} records behind (${group.lag.map(([topic, n]) => `${topic} ${n}`).join(", ")})`}.`);
    rows(this.find(".lat-rows"), content.latency, ([name]) => name, (each) => each, (line, each, fresh) => { if (fresh) numeric(line, 1, 2); });
    rows(this.find(".topic-rows"), content.topics, ([name]) => name, (each) => each, (line, each, fresh) => { if (fresh) { numeric(line, 1, 2); numeric(line, 4, 4); } });
    const dead = content.dead_letters;
    text(this.find(".dead-sum"), dead.total ? `${dead.total} in all: ${dead.by_reason.map(([reason, n]) => `${reason} ${n}`).join(", ")}.` : "None: every record was understood.");
    show(this.find(".dead-table"), Boolean(dead.newest.length));
    rows(this.find(".dead-rows"), dead.newest, (each) => each.join("|"), (each) => each, (line, each, fresh) => { if (fresh) line.children[4].className = "mono"; });
    text(this.shell.find(".context"), `${content.reader.patients} patients; this view is ${content.reader.lag} records behind the topics`);
    this.draw();
  }

  draw() {
    if (!this.data || !this.shell) return;
    const c = this.shell.colours;
    for (const node of this.find(".cards").children) {
      const canvas = node.lastChild, list = node.__item.history, w = node.clientWidth - 34, h = 62, g = fitCanvas(canvas, w, h);
      g.clearRect(0, 0, w, h);
      const high = Math.max(1, ...list.map((p) => p[1])) * 1.1, end = list.length ? list[list.length - 1][0] : 0, x = (t) => w - ((end - t) / 600) * w;
      g.strokeStyle = c.line; g.beginPath(); g.moveTo(0, h - 0.5); g.lineTo(w, h - 0.5); g.stroke();
      g.beginPath();
      list.forEach(([t, v], i) => (i ? g.lineTo(x(t), h - (v / high) * (h - 6)) : g.moveTo(x(t), h - (v / high) * (h - 6))));
      g.strokeStyle = c.band; g.lineWidth = 1.8; g.stroke();
      g.font = `500 11px ${c.font}`; g.fillStyle = c.soft; g.fillText("10 min", 0, 11);
    }
  }
}
export default function (component) { return run(component, Page); }
