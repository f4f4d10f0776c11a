// The page of `semla view`: puts what the WebSocket brings into its places.

import { connect } from "./connection.js";
import {
  listClasses, showActions, showAnswer, showCameras, showDomain, showFigures, showNotices, showShares,
} from "./panels.js";
import { PlayerBar } from "./player.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const LOST = {
  level: "error",
  text: "The connection to 'semla view' is lost.",
  hint: "It has ended, or the network is gone. Start it again: this page reconnects by itself.",
};

history.replaceState(null, "", location.pathname);  // the token in the address is kept as a cookie
const stage = new Stage();
const player = new PlayerBar((action, value) => act(action, value));
const timeline = new Timeline($("plot"), $("key"), (time) => {
  if (player.state && timeline.cursor !== null) act("seek", player.state.position + time - timeline.cursor);
});
let classes = "", camera = null;

const act = connect({
  link(isOpen) {
    if (!isOpen) showNotices([LOST]);
  },
  scene(scene) {
    stage.show(scene);
    showShares(scene.shares);
    if (player.state) {
      timeline.cursor = scene.time;
      timeline.plan();
    }
  },
  status(status) {
    $("title").textContent = status.title;
    document.title = `${status.title} · semla view`;
    showNotices(status.notices);
    showFigures(status.figures);
    showDomain(status.domain);
    showActions(status.actions, status.domain?.frozen ?? false);
    player.show(status.player);
    showCameras(status.cameras ?? [], status.camera);
    if (camera !== null && camera !== status.camera) stage.clear();
    camera = status.camera ?? null;
    const listed = JSON.stringify(status.classes);
    if (listed !== classes) {
      classes = listed;
      stage.only = null;
      listClasses(status.classes, (only) => { stage.only = only; stage.draw(); });
      stage.setClasses(status.classes);
      if (stage.scene) showShares(stage.scene.shares);
    }
  },
  samples: (samples, restart) => timeline.add(samples, restart),
  answer: showAnswer,
});

for (const button of $("actions").children) {
  button.onclick = () => act(button.dataset.do, button.id === "freeze" ? button.getAttribute("aria-pressed") !== "true" : null);
}

$("cameras").addEventListener("change", () => act("camera", $("cameras").value));

function choice(group, chosen) {
  for (const button of $(group).children) {
    button.onclick = () => {
      for (const each of $(group).children) each.setAttribute("aria-pressed", String(each === button));
      chosen(button.dataset);
    };
  }
}

choice("modes", ({ mode }) => stage.setMode(mode));
choice("spans", ({ span }) => { timeline.span = Number(span); timeline.plan(); });
$("opacity").addEventListener("input", () => {
  stage.opacity = Number($("opacity").value) / 100;
  $("opacity_value").textContent = `${$("opacity").value} %`;
  stage.draw();
});
