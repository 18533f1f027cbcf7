"use strict";
// The page of the explorer: commands go out by POST, frames come in as server-sent events, plots are drawn on canvas.
const $ = (id) => document.getElementById(id);
const COLOURS = { light: ["#0072b2", "#d55e00", "#009e73", "#b5478a", "#8a6d00", "#3d8fc4", "#444c57", "#7a3db8"],
  dark: ["#56b4e9", "#e69f00", "#3fc79a", "#e08bbf", "#f0e442", "#ff8a4c", "#c3ccd8", "#b79cff"] };
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const SLIDERS = 40;
let about = null, frame = null, samples = [], ghost = null, dirty = true, noted = "";

// -- commands ---------------------------------------------------------------------------------------------------------

function say(text) { $("message").textContent = text; $("message").hidden = !text; }

async function send(command) {
  try {
    const answer = await fetch("do", { method: "POST", body: JSON.stringify(command) });
    const said = answer.headers.get("content-type") === "application/json" ? await answer.json() : {};
    say(answer.ok ? "" : said.message || await answer.text());
    return answer.ok;
  } catch { say("The server has ended; start dynlib explore again."); return false; }
}

const number = (text) => text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
const until = () => $("until").value.trim() === "" ? null : number($("until").value);
const shown = (v) => Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(3) : String(+v.toPrecision(6));

$("run").onclick = () => send(frame && frame.running ? { what: "pause" } : { what: "run", until: until() });
$("snapshot").onclick = async () => {
  const name = $("name").value.trim() || freshName();
  if (await send({ what: "snapshot", name })) $("name").value = "";
};
$("branch").onclick = () => send({ what: "branch" });
$("reset").onclick = () => send({ what: "reset" });
$("speed").onchange = () => send({ what: "speed", value: number($("speed").value) });
$("window").oninput = () => { dirty = true; };
for (const id of ["script", "file"]) $(id).onclick = async (event) => {
  event.preventDefault();
  const answer = await fetch($(id).getAttribute("href"));
  if (!answer.ok) { say((await answer.json()).message); return; }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = $(id).getAttribute("href");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
$("theme").onclick = () => setTheme(theme() === "dark" ? "light" : "dark");
const theme = () => document.documentElement.dataset.theme;
function setTheme(name) { document.documentElement.dataset.theme = name; dirty = true; if (about) legend(); }
document.addEventListener("keydown", (event) => {
  if (event.key === " " && !["INPUT", "BUTTON", "SELECT", "A"].includes(event.target.tagName)) {
    event.preventDefault();
    $("run").click();
  }
});

function freshName() {
  const taken = new Set(frame.tree.map((each) => each.name));
  for (let k = 1; ; k++) if (!taken.has(`snapshot ${k}`)) return `snapshot ${k}`;
}

// -- parameters -------------------------------------------------------------------------------------------------------

const sliders = {};

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function addSlider(name, value) {
  const [low, high] = value === 0 ? [-1, 1] : value > 0 ? [0, 2 * value] : [2 * value, 0];
  const range = element("input", { type: "range", step: "any", ariaLabel: name });
  const entry = element("input", { type: "text", inputMode: "decimal", className: "value", ariaLabel: `value of ${name}` });
  const from = element("input", { type: "text", className: "bound low", value: shown(low), ariaLabel: `least ${name}` });
  const to = element("input", { type: "text", className: "bound", value: shown(high), ariaLabel: `greatest ${name}` });
  const slider = sliders[name] = { range, entry, busy: false, next: null, value };
  const bound = () => {
    const [a, b] = [Number(from.value), Number(to.value)];
    if (!(a < b)) { say(`The range of ${name} needs two numbers, the lesser first.`); return; }
    range.min = a; range.max = b; range.value = slider.value;
  };
  const set = async (wanted) => { // one command at a time; the last wish counts
    slider.next = wanted;
    if (slider.busy) return;
    slider.busy = true;
    while (slider.next !== null) {
      const now = slider.next;
      slider.next = null;
      if (!await send({ what: "set", values: { [name]: now } })) { entry.value = shown(slider.value); range.value = slider.value; }
    }
    slider.busy = false;
  };
  range.oninput = () => { entry.value = shown(Number(range.value)); set(Number(range.value)); };
  entry.onchange = () => set(number(entry.value));
  from.onchange = to.onchange = bound;
  range.min = low; range.max = high; range.value = value;
  entry.value = shown(value);
  $("parameters").append(element("div", { className: "parameter" }, element("b", { textContent: name, title: name }), entry,
    from, range, to));
}

function showParameters() {
  for (const [name, value] of Object.entries(frame.values)) {
    const slider = sliders[name];
    if (!slider || value === slider.value) continue;
    slider.value = value;
    if (slider.busy) continue; // a further wish is under way
    slider.range.value = value;
    if (document.activeElement !== slider.entry) slider.entry.value = shown(value);
  }
}

// -- tree -------------------------------------------------------------------------------------------------------------

let treeText = "";

function showTree() {
  const text = JSON.stringify([frame.tree, frame.here]);
  if (text === treeText) return;
  treeText = text;
  const lists = frame.tree.map(() => element("ul", {}));
  const top = element("ul", {});
  frame.tree.forEach((each, k) => {
    const button = element("button", { disabled: !each.kept, title: each.kept ? "go to this snapshot" : "the present" },
      element("span", { textContent: each.name }), " ", element("small", { textContent: each.kept ? `t = ${shown(each.t)}` : "" }));
    if (each.how.length) button.append(element("br", {}), element("small", { textContent: each.how.join("; ") }));
    if (each.name === frame.here) button.className = "here";
    button.onclick = () => send({ what: "goto", name: each.name });
    const item = element("li", {}, button, lists[k]);
    (each.parent === null ? top : lists[each.parent]).append(item);
  });
  for (const list of lists) if (!list.children.length) list.remove();
  $("tree").replaceChildren(top);
  if (!frame.tree.length) $("tree").append(element("small", { textContent: "The first run begins the tree." }));
}

// -- choice of variables ----------------------------------------------------------------------------------------------

let series = [];
const colour = (name) => COLOURS[theme()][about.columns.indexOf(name) % 8];
const dash = (name) => DASHES[Math.floor(about.columns.indexOf(name) / 8) % 4];

function watch() {
  const names = [...new Set([...series, ...["across", "up"].map((id) => $(id).value).filter((n) => n !== "t")])];
  dirty = true;
  if (names.some((name) => !frame.watched.includes(name))) send({ what: "watch", names });
}

function legend() {
  $("variables").replaceChildren(...about.columns.slice(0, 64).map((name) => {
    const box = element("input", { type: "checkbox", checked: series.includes(name) });
    const swatch = element("span", { className: "swatch" });
    if (box.checked) swatch.style.background = colour(name);
    box.onchange = () => {
      series = about.columns.filter((n) => n === name ? box.checked : series.includes(n));
      legend();
      watch();
    };
    return element("label", {}, box, swatch, name);
  }));
}

// -- plots ------------------------------------------------------------------------------------------------------------

function ticks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high && found.length < 50; k++) found.push(k * step);
  return found.map((v) => [v, Math.abs(step) >= 1e5 || step < 1e-4 ? v.toExponential(2) : String(+v.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))))]);
}

function limits(list) {
  let low = Infinity, high = -Infinity;
  for (const values of list) for (const v of values) if (v !== null) { if (v < low) low = v; if (v > high) high = v; }
  if (low > high) return [0, 1];
  const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

function axes(canvas, xs, ys, xName, yName) {
  const scale = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = Math.round(box.width * scale); canvas.height = Math.round(box.height * scale);
  const g = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(name).trim();
  g.scale(scale, scale);
  g.font = "12px system-ui, sans-serif";
  const yTicks = ticks(...ys, Math.max(2, box.height / 45)), xTicks = ticks(...xs, Math.max(2, box.width / 95));
  const left = Math.max(...yTicks.map(([, text]) => g.measureText(text).width), 10) + 26, bottom = 36, right = 10, top = 6;
  const w = box.width - left - right, h = box.height - top - bottom;
  const X = (v) => left + (v - xs[0]) / (xs[1] - xs[0]) * w, Y = (v) => top + h - (v - ys[0]) / (ys[1] - ys[0]) * h;
  g.strokeStyle = ink("--grid"); g.fillStyle = ink("--quiet"); g.lineWidth = 1;
  g.textAlign = "right"; g.textBaseline = "middle";
  for (const [v, text] of yTicks) { g.beginPath(); g.moveTo(left, Y(v)); g.lineTo(left + w, Y(v)); g.stroke(); g.fillText(text, left - 6, Y(v)); }
  g.textAlign = "center"; g.textBaseline = "top";
  for (const [v, text] of xTicks) { g.beginPath(); g.moveTo(X(v), top); g.lineTo(X(v), top + h); g.stroke(); g.fillText(text, X(v), top + h + 5); }
  g.fillStyle = ink("--text");
  g.fillText(xName, left + w / 2, top + h + 20);
  g.save(); g.translate(9, top + h / 2); g.rotate(-Math.PI / 2); g.textBaseline = "middle"; g.fillText(yName, 0, 0); g.restore();
  g.strokeStyle = ink("--line"); g.strokeRect(left, top, w, h);
  g.beginPath(); g.rect(left, top, w, h); g.clip();
  g.lineJoin = "round";
  return { g, X, Y };
}

function curve({ g, X, Y }, xs, ys, paint, width, pattern, dots) {
  g.strokeStyle = g.fillStyle = paint; g.lineWidth = width; g.setLineDash(pattern);
  g.beginPath();
  let pen = false;
  for (let k = 0; k < xs.length; k++) {
    if (xs[k] === null || ys[k] === null) { pen = false; continue; }
    const x = X(xs[k]), y = Y(ys[k]);
    if (dots) { g.fillRect(x - 0.9, y - 0.9, 1.8, 1.8); continue; }
    if (pen) g.lineTo(x, y); else g.moveTo(x, y);
    pen = true;
  }
  if (!dots) g.stroke();
  g.setLineDash([]);
}

const column = (data, watched, name) => name === "t" ? data[0] || [] : data[watched.indexOf(name) + 1] || [];

function since(data) { // the part of some samples that lies in the window of time
  const span = Number($("window").value);
  if (!(span > 0) || !data.length) return data;
  const from = frame.t - span, k = data[0].findIndex((t) => t >= from);
  return data.map((values) => k < 0 ? [] : values.slice(Math.max(0, k - 1)));
}

function draw() {
  requestAnimationFrame(draw);
  if (!dirty || !frame || !about) return;
  dirty = false;
  const now = since(samples), old = ghost && ghost.samples, map = about.kind === "map", watched = frame.watched;
  const there = series.filter((name) => watched.includes(name));
  const faint = getComputedStyle(document.documentElement).getPropertyValue("--ghost").trim();
  const span = Number($("window").value);
  let xs = limits([now[0] || [], ...(old && !(span > 0) ? [old[0]] : [])]);
  if (span > 0) xs = [frame.t - span, frame.t];
  const both = (name) => [column(now, watched, name), ...(old ? [column(old, ghost.watched, name)] : [])];
  const a = axes($("series"), xs, limits(there.flatMap(both)), "t", "");
  for (const name of there) if (old) curve(a, old[0], column(old, ghost.watched, name), faint, 1.5, dash(name), map);
  for (const name of there) curve(a, now[0] || [], column(now, watched, name), colour(name), 1.6, dash(name), map);
  const [x, y] = [$("across").value, $("up").value];
  const p = axes($("phase"), limits(both(x)), limits(both(y)), x, y);
  if (old) curve(p, column(old, ghost.watched, x), column(old, ghost.watched, y), faint, 1.3, [], map);
  const [px, py] = [column(now, watched, x), column(now, watched, y)];
  curve(p, px, py, COLOURS[theme()][0], 1.4, [], map);
  const last = px.length - 1;
  if (last >= 0 && px[last] !== null && py[last] !== null) {
    p.g.fillStyle = COLOURS[theme()][1];
    p.g.beginPath(); p.g.arc(p.X(px[last]), p.Y(py[last]), 4.5, 0, 7); p.g.fill();
  }
}

// -- frames -----------------------------------------------------------------------------------------------------------

const KEPT = 60000; // samples of the picture; of more, every other one is let go

function take(next) {
  const changed = frame && JSON.stringify(frame.watched) !== JSON.stringify(next.watched);
  if (next.whole && frame && next.epoch !== frame.epoch) {
    if (!changed && samples.length && samples[0].length > 1) ghost = { samples, watched: frame.watched };
    samples = [];
  }
  for (const block of next.samples)
    samples = samples.length ? samples.map((values, k) => values.concat(block[k])) : block;
  if (samples.length && samples[0].length > KEPT)
    samples = samples.map((values) => values.filter((_, k) => k % 2 === 0 || k === values.length - 1));
  const first = frame === null;
  frame = next;
  dirty = true;
  if (first) begin();
  $("run").textContent = frame.running ? "Pause" : "Run";
  $("clock").textContent = `t = ${shown(frame.t)} · step ${frame.step}`;
  if (document.activeElement !== $("speed")) $("speed").value = shown(frame.speed);
  if (frame.note !== noted) { noted = frame.note; say(noted); }
  showParameters();
  showTree();
}

function begin() {
  for (const name of about.parameters.slice(0, SLIDERS)) addSlider(name, frame.values[name]);
  if (about.parameters.length > SLIDERS)
    $("parameters").append(element("small", { textContent: `and ${about.parameters.length - SLIDERS} more` }));
  const names = about.columns.slice(0, 256);
  for (const id of ["across", "up"]) {
    $(id).append(...["t", ...names].map((name) => element("option", { value: name, textContent: name })));
    $(id).onchange = watch;
  }
  $("across").value = names.length > 1 ? names[0] : "t";
  $("up").value = names[Math.min(1, names.length - 1)];
  series = frame.watched.filter((name) => names.includes(name));
  legend();
}

async function start() {
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  about = await (await fetch("about")).json();
  document.title = `${about.model} · dynlib`;
  $("model").textContent = about.model;
  $("stepper").textContent = about.stepper;
  const events = new EventSource("stream");
  events.onmessage = (event) => take(JSON.parse(event.data));
  events.onerror = () => say("The server has ended; start dynlib explore again.");
  new ResizeObserver(() => { dirty = true; }).observe($("series"));
  requestAnimationFrame(draw);
}
start();
