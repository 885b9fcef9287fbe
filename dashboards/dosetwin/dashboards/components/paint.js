// What every canvas shares: sharp pixels, the theme's colours, hatching.
function fitCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w; canvas.height = h;
    canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

function colours(root) {
  const style = getComputedStyle(root), found = {};
  for (const name of ["bg", "panel", "ink", "soft", "faint", "line", "accent", "band", "warm", "heart", "plum", "high",
    "high-ink", "medium", "medium-ink", "low", "low-ink", "calm", "hatch", "edge"]) {
    found[name.replace("-ink", "Ink")] = style.getPropertyValue(`--${name}`).trim();
  }
  found.font = style.fontFamily;
  return found;
}

function hatch(context, x, y, w, h, colour, gap = 7) {
  context.save();
  context.beginPath(); context.rect(x, y, w, h); context.clip();
  context.strokeStyle = colour; context.lineWidth = 2.5; context.beginPath();
  for (let start = x - h; start < x + w; start += gap) { context.moveTo(start, y + h); context.lineTo(start + h, y); }
  context.stroke(); context.restore();
}

function box(context, x, y, w, h, r) {
  context.beginPath(); context.roundRect(x, y, w, h, r);
}

function priorityMark(context, priority, x, y, size, fill, edge) {
  context.beginPath();
  if (priority === 3) { context.moveTo(x, y - size); context.lineTo(x + size, y + size * 0.8); context.lineTo(x - size, y + size * 0.8); context.closePath(); }
  else if (priority === 2) { context.moveTo(x, y - size); context.lineTo(x + size, y); context.lineTo(x, y + size); context.lineTo(x - size, y); context.closePath(); }
  else context.arc(x, y, size * 0.85, 0, 7);
  context.fillStyle = fill; context.fill();
  if (edge) { context.strokeStyle = edge; context.lineWidth = 1; context.stroke(); }
}

const fromBase64 = (words) => {
  const binary = atob(words), bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) bytes[index] = binary.charCodeAt(index);
  return bytes;
};
const TYPES = { f4: Float32Array, f8: Float64Array, i1: Int8Array, u1: Uint8Array, u2: Uint16Array };
const numbers = (words, type) => new TYPES[type](fromBase64(words).buffer);
