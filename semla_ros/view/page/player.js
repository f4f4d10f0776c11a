// Play, pause, position and speed of a recording.

import { clock } from "./timeline.js";

const $ = (id) => document.getElementById(id);

export class PlayerBar {
  /** `act` is called with an action and its value. */
  constructor(act) {
    this.act = act;
    this.isHeld = false;
    this.state = null;
    $("play").onclick = () => this.toggle();
    $("position").addEventListener("input", () => { this.isHeld = true; act("seek", this.chosen()); });
    $("position").addEventListener("change", () => { this.isHeld = false; });
    $("speed").addEventListener("change", () => act("speed", Number($("speed").value)));
    addEventListener("keydown", (event) => this.key(event));
  }

  chosen() {
    return Number($("position").value) / 1000 * (this.state?.length ?? 0);
  }

  toggle() {
    if (this.state) this.act(this.state.playing ? "pause" : "play");
  }

  show(state) {
    this.state = state ?? null;
    $("player").hidden = !state;
    if (!state) return;
    $("play").textContent = state.playing ? "❚❚" : "▶";
    if (!this.isHeld) $("position").value = state.length ? 1000 * state.position / state.length : 0;
    $("clock").textContent = `${clock(state.position)} / ${clock(state.length)}${state.complete ? "" : " …"}`;
    if (document.activeElement !== $("speed")) $("speed").value = state.speed;
  }

  key(event) {
    if (!this.state || ["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName)) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === " ") this.toggle();
    else if (step) this.act("step", step);
    else return;
    event.preventDefault();
  }
}
