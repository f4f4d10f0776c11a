// The camera image, the colours of the classes over it, and the confidence.

const RAMP = [[27, 12, 65], [120, 28, 109], [207, 68, 70], [251, 155, 6], [252, 255, 164]];
const $ = (id) => document.getElementById(id);

export class Stage {
  constructor() {
    this.mode = "overlay";
    this.opacity = 0.55;
    this.only = null;  // id of the class that is shown alone
    this.classes = [];
    this.scene = null;
    this.ramp = ramp();
    for (const canvas of [$("segmented"), $("camera")]) {
      canvas.addEventListener("pointermove", (event) => this.point(event));
      canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
    }
  }

  /** Sets the classes: [id, name, [red, green, blue]]. */
  setClasses(classes) {
    this.classes = classes;
    this.draw();
  }

  show(scene) {
    if (this.scene?.image) this.scene.image.close();
    this.scene = scene;
    $("empty").hidden = true;
    this.draw();
  }

  /** Shows nothing until the next image, after another camera was chosen. */
  clear() {
    if (this.scene?.image) this.scene.image.close();
    this.scene = null;
    for (const canvas of [$("segmented"), $("camera")]) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    $("empty").hidden = false;
  }

  setMode(mode) {
    this.mode = mode;
    $("images").dataset.mode = mode;
    $("camera").hidden = mode !== "beside";
    $("ramp").hidden = mode !== "confidence";
    $("opacity_label").hidden = mode === "confidence";
    this.draw();
  }

  draw() {
    if (!this.scene) return;
    const { image, ids, blended } = this.scene;
    $("opacity").disabled = !image || blended;
    if (this.mode === "beside") this.paint($("camera"), image, null, 0);
    if (this.mode === "confidence") this.paint($("segmented"), null, this.ramped(), 1);
    else this.paint($("segmented"), image, blended ? null : this.coloured(ids), image ? this.opacity : 1);
  }

  /** Draws an image, and another one over it. */
  paint(canvas, below, above, opacity) {
    const size = below ?? above ?? this.scene.ids;
    if (canvas.width !== size.width || canvas.height !== size.height) {
      canvas.width = size.width;
      canvas.height = size.height;
    }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (below) context.drawImage(below, 0, 0);
    context.globalAlpha = opacity;
    if (above) context.drawImage(above, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
  }

  coloured(ids) {
    const table = new Uint32Array(65536);  // transparent, as for unlabelled pixels
    for (const [id, , [r, g, b]] of this.classes) {
      if (this.only === null || this.only === id) table[id] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
    }
    return mapped(ids, table);
  }

  ramped() {
    const { confidence, ids } = this.scene;
    return confidence ? mapped(confidence, this.ramp) : this.coloured(ids);
  }

  /** Shows what is under the pointer. */
  point(event) {
    if (!this.scene) return;
    const { ids, confidence, unlabelled } = this.scene;
    const box = event.target.getBoundingClientRect();
    const at = (map) => {
      const x = Math.min(map.width - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * map.width)));
      const y = Math.min(map.height - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * map.height)));
      return map.data[y * map.width + x];
    };
    const id = at(ids);
    const name = id === unlabelled ? "unlabelled" : this.classes.find((each) => each[0] === id)?.[1] ?? `class ${id}`;
    const outer = $("images").getBoundingClientRect();
    $("tip").textContent = confidence ? `${name} · ${(at(confidence) / 255).toFixed(2)}` : name;
    $("tip").style.left = `${event.clientX - outer.left}px`;
    $("tip").style.top = `${event.clientY - outer.top}px`;
    $("tip").hidden = false;
  }
}

/** An image of table[value] for each value. */
function mapped({ width, height, data }, table) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < data.length; i++) words[i] = table[data[i]];
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function ramp() {
  const table = new Uint32Array(256);
  for (let value = 0; value < 256; value++) {
    const place = value / 255 * (RAMP.length - 1);
    const i = Math.min(RAMP.length - 2, Math.floor(place));
    const [r, g, b] = RAMP[i].map((from, c) => Math.round(from + (RAMP[i + 1][c] - from) * (place - i)));
    table[value] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  }
  return table;
}
