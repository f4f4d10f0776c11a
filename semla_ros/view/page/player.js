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
    $("position").addEventListener("input", () => { this.isHeld = true; act("seek", Number($("position").value)); });
    $("position").addEventListener("change", () => { this.isHeld = false; });
    $("speed").addEventListener("change", () => act("speed", Number($("speed").value)));
    addEventListener("keydown", (event) => this.key(event));
  }

  toggle() {
    if (this.state) this.act(this.state.playing ? "pause" : "play");
  }

  show(state) {
    this.state = state ?? null;
    $("player").hidden = !state;
    if (!state) return;
    $("play").textContent = state.playing ? "❚❚" : "▶";
    $("position").max = Math.max(1, state.length);
    if (!this.isHeld) $("position").value = state.position;
    $("clock").textContent = `${clock(state.position)} / ${clock(state.length)}${state.complete ? "" : " …"}`;
    if (document.activeElement !== $("speed")) $("speed").value = state.speed;
  }

  key(event) {
    const busy = event.key === " " ? ["INPUT", "SELECT", "BUTTON"] : ["INPUT", "SELECT"];  // they have keys of their own
    if (!this.state || busy.includes(event.target.tagName)) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === " ") this.toggle();
    else if (step) this.act("step", step);
    else return;
    event.preventDefault();
  }
}
