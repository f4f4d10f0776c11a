// Header, notices, mixture, classes and buttons.

import { colorOf, plain } from "./colors.js";
import { number } from "./timeline.js";

const $ = (id) => document.getElementById(id);

function element(kind, text = "", properties = {}) {
  return Object.assign(document.createElement(kind), { textContent: text }, properties);
}

export function showNotices(notices) {
  const shown = notices.map(({ level, text, hint }) => {
    const notice = element("div", "", { className: `notice ${level}` });
    notice.append(element("strong", text));
    if (hint) notice.append(element("span", hint));
    return notice;
  });
  if ($("notices").textContent !== shown.map((each) => each.textContent).join("")) $("notices").replaceChildren(...shown);
  const level = ["error", "warning"].find((each) => notices.some((notice) => notice.level === each)) ?? "good";
  $("light").dataset.level = level;
  $("state").textContent = "";
}

export function showFigures({ fps, latency_ms, latency_p95_ms, received, dropped, failed }) {
  const share = received ? `${Math.round(100 * dropped / received)} %` : "–";
  const pairs = [
    ["frame rate", fps === undefined ? null : `${fps.toFixed(1)} /s`, "images segmented per second"],
    ["latency", latency_ms === undefined ? null : `${latency_ms.toFixed(0)} ms`, `95 % within ${latency_p95_ms?.toFixed(0)} ms`],
    ["dropped", dropped === undefined ? null : `${dropped} (${share})`, "images replaced by newer ones before their turn"],
    ["failed", failed ? `${failed}` : null, "images that could not be segmented"],
  ].filter(([, value]) => value !== null);
  $("figures").replaceChildren(...pairs.map(([name, value, title]) => {
    const pair = element("div", "", { title });
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
}

/** Offers the cameras of a node with several. */
export function showCameras(names, shown) {
  const choice = $("cameras");
  choice.hidden = names.length < 2;
  const listed = [...choice.options].map((each) => each.value);
  if (listed.join() !== names.join()) choice.replaceChildren(...names.map((name) => element("option", name, { value: name })));
  if (document.activeElement !== choice) choice.value = shown;
}

export function showDomain(domain) {
  const adapters = domain?.adapters ?? [];
  const bars = adapters.map(([name, weight, distance]) => {
    const bar = element("li", "", { title: `distance ${number(distance)}` });
    const track = element("span", "", { className: "track" }), part = element("i");
    part.style.width = `${100 * weight}%`;
    part.style.background = colorOf(name);
    track.append(part);
    bar.append(element("span", plain(name)), element("span", `${(100 * weight).toFixed(0)} %`), track);
    return bar;
  });
  $("mixture").replaceChildren(...(bars.length ? bars : [element("li", domain ? "base model, no adapter" : "not known yet")]));
  const pairs = domain ? [
    ["support", number(domain.support)],
    ["distance", `${number(domain.distance)} of ${number(domain.upper)}`],
    ["swaps", `${domain.swaps}`],
  ] : [];
  $("domain").replaceChildren(...pairs.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

export function showActions(actions, isFrozen) {
  for (const button of $("actions").children) button.disabled = !actions.includes(button.dataset.do);
  $("actions").hidden = !actions.length;
  $("freeze").setAttribute("aria-pressed", String(isFrozen));
  $("freeze").textContent = isFrozen ? "Unfreeze" : "Freeze";
}

export function showAnswer({ do: action, done, text }) {
  if (done && ["play", "pause", "seek", "step", "speed"].includes(action)) return;
  $("answer").textContent = text;
  $("answer").classList.toggle("refused", !done);
}

/** Lists the classes; `choose` is called with the id of the class to show alone, or with null for all. */
export function listClasses(classes, choose) {
  let only = null;
  $("classes").replaceChildren(...classes.map(([id, name, color]) => {
    const item = element("li"), button = element("button", "", { title: "Show this class alone" }), patch = element("i");
    button.dataset.id = id;
    button.setAttribute("aria-pressed", "false");
    patch.style.background = `rgb(${color.join()})`;
    button.append(patch, element("span", name.split(",")[0]), element("span", "", { className: "quiet share" }));
    button.onclick = () => {
      only = only === id ? null : id;
      for (const each of $("classes").querySelectorAll("button")) each.setAttribute("aria-pressed", String(Number(each.dataset.id) === only));
      choose(only);
    };
    item.append(button);
    return item;
  }));
}

export function showShares(shares) {
  for (const button of $("classes").querySelectorAll("button")) {
    const share = shares[button.dataset.id] ?? 0;
    button.querySelector(".share").textContent = share >= 0.0005 ? `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %` : "–";
    button.classList.toggle("absent", share < 0.0005);
  }
}
