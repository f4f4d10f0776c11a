// Distance with its thresholds, support, and the mixture over time.

import { colorOf, plain } from "./colors.js";

const LEFT = 44, RIGHT = 12, GAP = 24, TOP = 18, BOTTOM = 20, STRIP = 22;
const MAX_SAMPLES = 20000;

export class Timeline {
  /** `seek` is called with a time when a moment is chosen. */
  constructor(canvas, key, seek) {
    this.canvas = canvas;
    this.key = key;
    this.samples = [];
    this.span = 300;
    this.cursor = null;  // time of the image that is shown; null while the newest one is
    this.pointer = null;
    this.names = "";
    new ResizeObserver(() => this.plan()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; this.plan(); });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.plan(); });
    canvas.addEventListener("click", (event) => seek(this.timeAt(event.offsetX)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plan());
  }

  add(samples, restart) {
    if (restart) this.samples = [];
    this.samples.push(...samples);
    if (this.samples.length > MAX_SAMPLES) this.samples.splice(0, this.samples.length - MAX_SAMPLES);
    this.plan();
  }

  /** Draws at the next repaint of the browser. */
  plan() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => { this.planned = false; this.draw(); });
  }

  range() {
    const first = this.samples[0]?.time ?? 0;
    const last = Math.max(this.samples.at(-1)?.time ?? 1, this.cursor ?? 0);
    const begin = this.span ? Math.max(first, (this.cursor ?? last) - this.span) : first;
    const end = this.span ? Math.min(last, begin + this.span) : last;
    return [begin, Math.max(end, begin + 1)];
  }

  timeAt(x) {
    const [begin, end] = this.range();
    return begin + (x - LEFT) / (this.canvas.clientWidth - LEFT - RIGHT) * (end - begin);
  }

  draw() {
    const { canvas } = this;
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = devicePixelRatio || 1;
    if (!width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.font = "12px system-ui, sans-serif";
    const style = getComputedStyle(document.documentElement);
    const ink = (name) => style.getPropertyValue(`--${name}`).trim();
    const [begin, end] = this.range();
    const x = (time) => LEFT + (time - begin) / (end - begin) * (width - LEFT - RIGHT);
    const shown = this.samples.filter((each, i, all) => each.time <= end && (all[i + 1]?.time ?? end) >= begin);
    const rows = height - TOP - BOTTOM - STRIP - 2 * GAP;
    const upper = { context, x, ink, shown, width, top: TOP, height: rows * 0.62 };
    const lower = { context, x, ink, shown, width, top: TOP + rows * 0.62 + GAP, height: rows * 0.38 };
    const strip = TOP + rows + 2 * GAP;
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width - LEFT - RIGHT, height);
    context.clip();
    this.shade(context, shown, x, end, ink("bad"), TOP, strip - TOP);
    this.weights(context, shown, x, end, strip);
    this.swaps(context, shown, x, ink("ink"), TOP, strip + STRIP);
    context.restore();
    const limits = shown.at(-1) ?? {};
    this.curve(upper, "distance", "Distance", ink("ink"), [[limits.upper, [6, 4]], [limits.lower, [2, 3]]]);
    this.curve(lower, "support", "Support", ink("accent"), []);
    this.times(context, x, begin, end, height, ink("quiet"));
    if (this.cursor !== null) this.mark(context, x(this.cursor), ink("accent"), TOP, strip + STRIP - TOP, 2);
    if (this.pointer !== null) this.point(context, shown, x, ink, strip);
    this.name(shown);
  }

  curve({ context, x, ink, shown, width, top, height }, field, title, color, limits) {
    const values = shown.map((each) => each[field]).filter((each) => each !== null);
    const largest = Math.max(...values, ...limits.map(([limit]) => limit ?? 0), 1e-9) * 1.15;
    const y = (value) => top + height - value / largest * height;
    context.fillStyle = ink("quiet");
    context.textAlign = "left";
    context.fillText(title, LEFT, top - 5);
    context.strokeStyle = ink("line");
    context.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const value = part * largest / 1.15;
      line(context, LEFT, y(value), width - RIGHT, y(value), 1);
      context.fillText(String(Number(value.toPrecision(2))), LEFT - 6, y(value) + 4);
    }
    context.strokeStyle = ink("warn");
    for (const [limit, dash] of limits) {
      context.setLineDash(dash);
      if (limit) line(context, LEFT, y(limit), width - RIGHT, y(limit), 1.3);
    }
    context.setLineDash([]);
    context.strokeStyle = color;
    context.lineWidth = 1.6;
    context.beginPath();
    let isDown = false;
    for (const each of shown) {
      if (each[field] === null) { isDown = false; continue; }
      const at = Math.max(LEFT, Math.min(width - RIGHT, x(each.time)));
      if (isDown) context.lineTo(at, y(each[field]));
      else context.moveTo(at, y(each[field]));
      isDown = true;
    }
    context.stroke();
  }

  /** Shades the time in which images are out of distribution. */
  shade(context, shown, x, end, color, top, height) {
    context.fillStyle = color;
    context.globalAlpha = 0.14;
    let from = null;
    for (const each of [...shown, { time: end, unlike: false }]) {
      if (each.unlike) from ??= x(each.time);
      else if (from !== null) { context.fillRect(from, top, x(each.time) - from, height); from = null; }
    }
    context.globalAlpha = 1;
  }

  weights(context, shown, x, end, top) {
    shown.forEach((each, i) => {
      const from = x(each.time), to = x(shown[i + 1]?.time ?? end);
      let y = top;
      for (const [name, weight] of each.adapters) {
        context.fillStyle = colorOf(name);
        context.fillRect(from, y, to - from + 0.6, weight * STRIP);
        y += weight * STRIP;
      }
    });
  }

  swaps(context, shown, x, color, top, bottom) {
    context.strokeStyle = context.fillStyle = color;
    let before = null;
    for (const each of shown) {
      if (before !== null && each.swaps > before) {
        context.globalAlpha = 0.55;
        line(context, x(each.time), top, x(each.time), bottom, 1);
        context.globalAlpha = 1;
        context.beginPath();
        context.moveTo(x(each.time) - 4, top - 8);
        context.lineTo(x(each.time) + 4, top - 8);
        context.lineTo(x(each.time), top - 1);
        context.fill();
      }
      before = each.swaps;
    }
  }

  times(context, x, begin, end, height, color) {
    const first = this.samples[0]?.time ?? begin;
    const steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
    const step = steps.find((each) => (end - begin) / each <= 8) ?? 7200;
    context.fillStyle = color;
    context.textAlign = "center";
    for (let t = Math.ceil((begin - first) / step) * step; first + t <= end; t += step) {
      context.fillText(clock(t), x(first + t), height - 5);
    }
  }

  mark(context, at, color, top, height, width) {
    context.strokeStyle = color;
    line(context, at, top, at, top + height, width);
  }

  point(context, shown, x, ink, strip) {
    const time = this.timeAt(this.pointer);
    const at = shown.findLast((each) => each.time <= time);
    if (!at) return;
    this.mark(context, this.pointer, ink("quiet"), TOP, strip + STRIP - TOP, 1);
    const main = at.adapters.map(([name, weight]) => `${plain(name)} ${Math.round(100 * weight)} %`).slice(0, 3).join(", ");
    const text = `distance ${number(at.distance)} · support ${number(at.support)}${main ? ` · ${main}` : ""}`;
    const isRight = this.pointer > this.canvas.clientWidth / 2;
    const textWidth = context.measureText(text).width + 12;
    const left = isRight ? this.pointer - textWidth - 6 : this.pointer + 6;
    context.fillStyle = ink("card");
    context.globalAlpha = 0.92;
    context.fillRect(left, TOP + 2, textWidth, 18);
    context.globalAlpha = 1;
    context.fillStyle = ink("ink");
    context.textAlign = "left";
    context.fillText(text, left + 6, TOP + 15);
  }

  /** Writes the key below the plot. */
  name(shown) {
    const names = [...new Set(shown.flatMap((each) => each.adapters.filter(([, w]) => w >= 0.05).map(([name]) => name)))];
    const known = names.join();
    if (known === this.names) return;
    this.names = known;
    this.key.replaceChildren(...names.map((name) => {
      const item = document.createElement("span"), patch = document.createElement("i");
      patch.style.background = colorOf(name);
      item.append(patch, plain(name));
      return item;
    }), "▾ swap   - - upper threshold   ··· lower threshold");
  }
}

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export const number = (value) => value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString();

function line(context, x0, y0, x1, y1, width) {
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
