/* SPDX-License-Identifier: MIT */
"use strict";
/* Draws the picture in #data. Times are ns since its start. "Place" is a coordinate on the axis with pauses folded:
   where nothing is folded, one unit of place is one ns. */
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const text = (index) => data.strings[index];
const escaped = (s) => String(s).replace(/[&<>"]/g, (c) => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})[c]);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const AXIS = 42, GROUP = 24, ROW = {level: 32, spans: 30, points: 24}, ROWHEIGHT = 24, CHAR = 7;
const TONE_OF = {"kernel": "program", "user space": "user", "guest": "user", "device": "pin", "bench": "stimulus", "controller": "handling"};
const FOLDED = 0.35; // the width of a folded pause, relative to the shortest pause that is folded
const SHORTEST = 40; // ns over the whole width

/* The first index for which test holds; test must also hold for all later indices. */
function first(array, test) {
  let low = 0, high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (test(array[middle])) high = middle; else low = middle + 1;
  }
  return low;
}

function duration(ns) {
  const size = Math.abs(ns);
  const [unit, name] = size < 999.5 ? [1, "ns"] : size < 999.5e3 ? [1e3, "µs"] : size < 999.5e6 ? [1e6, "ms"] : [1e9, "s"];
  return `${Number((ns / unit).toPrecision(3))} ${name}`;
}

/* A time since the start, to the ns, in a unit that fits the whole picture. */
const [UNIT, UNIT_NAME, DIGITS] = data.length < 1e7 ? [1e3, "µs", 3] : data.length < 1e10 ? [1e6, "ms", 6] : [1e9, "s", 9];
function moment(ns) {
  const [whole, part] = (ns / UNIT).toFixed(DIGITS).split(".");
  return `${whole.replace(/\B(?=(\d{3})+$)/g, " ")}.${part.replace(/(\d{3})(?=\d)/g, "$1 ")} ${UNIT_NAME}`;
}

/* The axis */

const moments = (() => {
  const all = new Set([0, data.length]);
  for (const [time] of data.events) all.add(time);
  for (const track of data.tracks) for (const span of track.spans) { all.add(span[0]); all.add(span[1]); }
  return [...all].sort((a, b) => a - b);
})();

function makeAxis(fold) {
  const folds = [], bursts = [{from: 0, to: data.length}];
  let saved = 0;
  for (let i = 1; i < moments.length; i++) {
    const from = moments[i - 1], to = moments[i], length = to - from;
    if (length > fold) {
      folds.push({from, to, at: from - saved, end: from - saved + fold * FOLDED});
      saved += length - fold * FOLDED;
    }
    if (length > Math.min(fold, data.fold)) {
      bursts[bursts.length - 1].to = from;
      bursts.push({from: to, to: data.length});
    }
  }
  const before = (test) => folds[first(folds, test) - 1];
  return {
    folds, bursts, length: Math.max(data.length - saved, 1),
    place(time) {
      const f = before((f) => f.from > time);
      if (!f) return time;
      return time < f.to ? f.at + (time - f.from) / (f.to - f.from) * (f.end - f.at) : f.end + time - f.to;
    },
    time(place) {
      const f = before((f) => f.at > place);
      if (!f) return place;
      return place < f.end ? f.from + (place - f.at) / (f.end - f.at) * (f.to - f.from) : f.to + place - f.end;
    },
    burst(time) { return bursts[Math.max(first(bursts, (b) => b.from > time) - 1, 0)]; },
  };
}

let axis = makeAxis(data.fold);
let view = {left: 0, width: axis.length}; // places
let selected = null;                      // index of an event
let plotWidth = 1000;

const x = (time) => (axis.place(time) - view.left) / view.width * plotWidth;
const timeAt = (px) => axis.time(view.left + px / plotWidth * view.width);

function look(left, width) {
  const margin = 0.04 * Math.max(width, 1);
  width = clamp(width, SHORTEST, Math.max(axis.length * 1.08, SHORTEST));
  view = {width, left: clamp(left, -margin, Math.max(axis.length + margin - width, -margin))};
  refresh();
}
const zoom = (factor, px = plotWidth / 2) => {
  const at = view.left + px / plotWidth * view.width;
  const width = clamp(view.width * factor, SHORTEST, axis.length * 1.08);
  look(at - px / plotWidth * width, width);
};
const centre = (time) => look(axis.place(time) - view.width / 2, view.width);
const showAll = () => look(-0.04 * axis.length, axis.length * 1.08);
const showBetween = (from, to) => {
  const a = axis.place(from), b = axis.place(to), width = Math.max(b - a, 400);
  look(a - 0.06 * width, width * 1.12);
};

/* Layout of the rows */

const rows = [];
let height = AXIS;
for (let i = 0, group = null; i < data.tracks.length; i++) {
  const track = data.tracks[i];
  if (track.group !== group) {
    rows.push({group: track.group, top: height, height: GROUP});
    height += GROUP;
    group = track.group;
  }
  rows.push({track, top: height, height: ROW[track.shape]});
  height += ROW[track.shape];
}
$("labels").innerHTML = `<div style="height:${AXIS}px"></div>` + rows.map((row) => row.track
  ? `<div class="${row.track.tone}" style="height:${row.height}px" title="${escaped(row.track.name)}"><i class="swatch" style="background:var(--tone)"></i><span class="name">${escaped(row.track.name)}</span></div>`
  : `<div class="group" style="height:${row.height}px">${escaped(row.group)}</div>`).join("");
for (const id of ["drawing", "cursor"]) $(id).setAttribute("height", height);

/* Drawing */

/* Visible spans of a track in px; spans that are too close to tell apart become one, with count > 1. */
function clusters(spans, at, width, apart) {
  const found = [];
  for (let i = first(spans, (s) => at(s[1]) >= -60); i < spans.length; i++) {
    const [from, to] = spans[i], a = at(from), b = at(to), last = found[found.length - 1];
    if (a > width + 60) break;
    if (last && a - last.b < apart && (b - a < 3 || last.count > 1) && last.b - last.a < Math.max(3, last.count * 3)) {
      last.b = Math.max(last.b, b);
      last.count++;
    } else found.push({a, b, count: 1, span: spans[i]});
  }
  return found;
}

function drawLevel({track, top, height}) {
  const high = top + 7, low = top + height - 6, base = [], over = [];
  let path = `M-5 ${low}`;
  for (const {a, b, count, span} of clusters(track.spans, x, plotWidth, 1.2)) {
    const from = clamp(a, -5, plotWidth + 5), to = clamp(Math.max(b, a + 1), -5, plotWidth + 5);
    base.push(`<rect class="${count > 1 ? "dense" : "fill"}" x="${from}" y="${high}" width="${to - from}" height="${low - high}"/>`);
    path += `L${from} ${low}V${high}H${to}V${low}`;
    const label = text(span[2]), left = Math.max(from, 0), right = Math.min(to, plotWidth);
    if (count === 1 && right - left > label.length * CHAR + 10)
      over.push(`<text class="inside" x="${(left + right) / 2}" y="${low - 5}" text-anchor="middle">${escaped(label)}</text>`);
  }
  return `<g class="${track.tone}">${base.join("")}<path class="wave" d="${path}H${plotWidth + 5}"/>${over.join("")}</g>`;
}

function drawSpans({track, top, height}) {
  const found = clusters(track.spans, x, plotWidth, 1.5), out = [];
  found.forEach(({a, b, count, span}, i) => {
    const from = clamp(a, -20, plotWidth + 20), to = clamp(Math.max(b, a + 3), -20, plotWidth + 20);
    const muted = span[4] || count > 1 ? " muted" : "";
    out.push(`<rect class="box${muted}" x="${from}" y="${top + 6}" width="${Math.max(to - from, 3)}" height="${height - 12}" rx="3"/>`);
    const label = count > 1 ? `${count}×` : text(span[2]), needs = label.length * CHAR + 8;
    const left = Math.max(from, 0), right = Math.min(to, plotWidth), next = i + 1 < found.length ? found[i + 1].a : plotWidth;
    if (right - left > needs)
      out.push(`<text class="${muted ? "bold" : "on"}" x="${(left + right) / 2}" y="${top + height / 2 + 4}" text-anchor="middle">${escaped(label)}</text>`);
    else if (next - to > needs && to > 0)
      out.push(`<text class="inside" x="${to + 4}" y="${top + height / 2 + 4}">${escaped(label)}</text>`);
  });
  return `<g class="${track.tone}">${out.join("")}</g>`;
}

function drawPoints({track, top, height}) {
  const found = clusters(track.spans, x, plotWidth, 7), out = [];
  found.forEach(({a, b, count, span}, i) => {
    const at = (a + b) / 2, label = count > 1 ? `${count}×` : text(span[2]);
    out.push(`<path class="flag" d="M${at - 5} ${top + 6}h10l-5 ${height - 10}z"/>`);
    if ((i + 1 < found.length ? found[i + 1].a - 5 : plotWidth) - b > label.length * CHAR + 14)
      out.push(`<text class="inside" x="${at + 8}" y="${top + height / 2 + 4}">${escaped(label)}</text>`);
  });
  return `<g class="${track.tone}">${out.join("")}</g>`;
}

const DRAW = {level: drawLevel, spans: drawSpans, points: drawPoints};

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= least);
}

/* Upper row: when each burst began. Lower row: the lengths of folded pauses, and the times since a burst's beginning. */
function drawAxis() {
  const out = [], grid = [], fromTime = timeAt(0), toTime = timeAt(plotWidth);
  const pxPerNs = plotWidth / view.width, step = Math.max(niceStep(95 / pxPerNs), 1);
  const named = [];
  for (let i = first(axis.folds, (f) => f.to > fromTime); i < axis.folds.length && axis.folds[i].from < toTime; i++) {
    const fold = axis.folds[i], a = x(fold.from), b = x(fold.to), pause = duration(fold.to - fold.from);
    const roomy = b - a > (pause.length + 4) * CHAR, label = roomy ? `⋯ ${pause} ⋯` : pause;
    const middle = (a + b) / 2, half = label.length * CHAR / 2;
    if (b - a > 4) grid.push(`<rect class="fold" x="${a}" y="34" width="${b - a}" height="${height - 34}"/>`);
    if (b - a < 2 * half - 6 || middle + half > plotWidth) continue;
    out.push(`<text class="soft" x="${middle}" y="31" text-anchor="middle">${label}</text>`);
    named.push([middle - half, middle + half]);
  }
  let free = 0, taken = -1;
  for (let i = Math.max(first(axis.bursts, (b) => b.from > fromTime) - 1, 0); i < axis.bursts.length; i++) {
    const burst = axis.bursts[i], start = x(burst.from), end = x(burst.to), label = moment(burst.from);
    if (burst.from > toTime) break;
    const at = Math.max(start, 2), needs = label.length * CHAR + 16;
    if (start >= 0 && end - start > 6) grid.push(`<path class="burst" d="M${start} 16V${height}"/>`);
    if (at >= free && at + needs < plotWidth + 16 && (end - at > needs || start >= 0)) {
      out.push(`<text class="bold" x="${at + (start >= 0 ? 0 : 2)}" y="13">${start < 0 ? "◂ " : ""}${label}</text>`);
      free = at + needs;
    }
    for (let n = Math.max(Math.ceil((fromTime - burst.from) / step), 0); burst.from + n * step <= Math.min(burst.to, toTime); n++) {
      const tick = x(burst.from + n * step), name = n ? `+${duration(n * step)}` : "0";
      const ends = tick + name.length * CHAR + 4;
      if (end - start > 6) grid.push(`<path class="grid" d="M${tick} 30V${height}"/>`);
      if (end - start > 30 && tick > taken && ends < plotWidth && !(named[first(named, ([, to]) => to > tick)]?.[0] < ends)) {
        out.push(`<text class="soft" x="${tick + 3}" y="31">${name}</text>`);
        taken = ends;
      }
    }
  }
  return [grid.join(""), out.join("")];
}

function draw() {
  plotWidth = Math.max($("plot").clientWidth, 100);
  const [grid, names] = drawAxis();
  const bands = rows.map((row) => row.track
    ? `<path class="rowline" d="M0 ${row.top + row.height - 0.5}H${plotWidth}"/>`
    : `<rect class="groupband" y="${row.top}" width="${plotWidth}" height="${row.height}"/>`).join("");
  const tracks = rows.filter((row) => row.track).map((row) => DRAW[row.track.shape](row)).join("");
  const found = findings.map((at) => `<path class="findings" d="M${x(at)} 34V${height}"/>`).join("");
  $("drawing").innerHTML = `<defs><pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
    <path class="hatchline" d="M0 0V8" opacity=".55"/></pattern></defs>${bands}${grid}${tracks}${found}${names}`;
  $("scale").textContent = `${duration(view.width)} shown`;
  drawMap();
  drawCursor();
}

function drawMap() {
  const width = $("map").clientWidth, at = (time) => axis.place(time) / axis.length * width;
  const line = data.tracks.find((track) => track.tone === "line");
  const bars = (line ? clusters(line.spans, at, width, 1) : []).map(({a, b}) =>
    `<rect class="dense" x="${a}" y="6" width="${Math.max(b - a, 1)}" height="14"/>`).join("");
  const bad = findings.map((t) => `<path class="findings" d="M${at(t)} 0V26"/>`).join("");
  const left = clamp(view.left / axis.length * width, 0, width - 3), right = (view.left + view.width) / axis.length * width;
  $("map").innerHTML = `<g class="line">${bars}</g>${bad}
    <rect class="window" x="${left + 0.5}" y="0.5" width="${clamp(right - left, 4, width - left) - 1}" height="25" rx="3"/>`;
}

let pending = false;
function refresh() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; draw(); });
}

/* Pointer: hover, select, move */

let pointer = null; // px in the plot

function nearest(time) {
  const after = first(data.events, (event) => event[0] >= time);
  const closer = after > 0 && (after === data.events.length || time - data.events[after - 1][0] < data.events[after][0] - time);
  return closer ? after - 1 : after;
}

function stateAt(track, time, reach) {
  const i = first(track.spans, (span) => span[1] >= time - reach);
  const span = track.spans[i];
  const inside = span && span[0] <= time + reach;
  if (track.shape === "level") return span && span[0] <= time && time < span[1] ? `high (${text(span[2])})` : "low";
  if (!inside) return null;
  const label = text(span[2]), detail = text(span[3]);
  return label && detail ? label + (detail.includes("\n") ? "\n" : ", ") + detail : label + detail;
}

function drawCursor() {
  const marks = [];
  if (selected !== null) {
    const at = x(data.events[selected][0]);
    marks.push(`<path class="selected" d="M${at} 16V${height}"/>`);
  }
  const tip = $("tip");
  tip.hidden = pointer === null;
  if (pointer !== null) {
    let time = timeAt(pointer.x);
    const close = nearest(time), event = data.events[close];
    const snapped = event && Math.abs(x(event[0]) - pointer.x) < 6;
    if (snapped) time = event[0];
    const at = x(time), burst = axis.burst(time), reach = 3 / plotWidth * view.width;
    marks.push(`<path class="hover" d="M${at} 16V${height}"/>`);
    const states = rows.filter((row) => row.track).map(({track}) => [track, stateAt(track, time, reach)]);
    const lines = states.filter(([, state]) => state !== null).map(([track, state]) => {
      const name = track.group.startsWith("line") ? track.name : `${track.group.split(":")[0]} ${track.name}`;
      const level = track.tone === "mask" ? state.replace(/^high/, "yes").replace(/^low/, "no") : state;
      return `<dt>${escaped(name)}</dt><dd>${escaped(level)}</dd>`;
    });
    const since = selected === null ? "" : ` <span class="soft">${duration(time - data.events[selected][0])} from the selected event</span>`;
    const happening = [];
    if (snapped) for (let i = first(data.events, (e) => e[0] >= time); i < data.events.length && data.events[i][0] === time; i++)
      happening.push(`<b>${escaped(text(data.events[i][1]))}</b> ${escaped(text(data.events[i][2]))}`);
    tip.innerHTML = `<b>${moment(time)}</b> <span class="soft">+${duration(Math.max(time - burst.from, 0))} in this burst</span>${since}<dl>${lines.join("")}</dl>`
      + (happening.length ? `<div class="happening">${happening.slice(0, 8).join("<br>")}</div>` : "");
    const beside = at + 16 + tip.offsetWidth < plotWidth ? at + 14 : at - 14 - tip.offsetWidth;
    tip.style.left = `${Math.max(beside, 0)}px`;
    tip.style.top = `${clamp(pointer.y + 14, 36, Math.max(height - tip.offsetHeight - 4, 36))}px`;
  }
  $("cursor").innerHTML = marks.join("");
}

const plot = $("plot");
let drag = null;
plot.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  drag = {x: event.clientX, left: view.left, moved: false};
  plot.setPointerCapture(event.pointerId);
});
plot.addEventListener("pointermove", (event) => {
  const box = plot.getBoundingClientRect();
  pointer = {x: event.clientX - box.left, y: event.clientY - box.top};
  if (drag) {
    const by = event.clientX - drag.x;
    drag.moved ||= Math.abs(by) > 3;
    if (drag.moved) {
      plot.classList.add("dragging");
      pointer = null;
      look(drag.left - by / plotWidth * view.width, view.width);
    }
  }
  if (!pending) drawCursor();
});
plot.addEventListener("pointerup", () => {
  if (drag && !drag.moved && pointer && data.events.length) select(nearest(timeAt(pointer.x)), {move: false});
  drag = null;
  plot.classList.remove("dragging");
});
plot.addEventListener("pointerleave", () => { pointer = null; drawCursor(); });
plot.addEventListener("wheel", (event) => {
  event.preventDefault();
  const px = event.clientX - plot.getBoundingClientRect().left;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
    look(view.left + (event.deltaX || event.deltaY) / plotWidth * view.width, view.width);
  else zoom(Math.exp(clamp(event.deltaY, -150, 150) / 300), px);
}, {passive: false});

const map = $("map");
const fromMap = (event) => look((event.clientX - map.getBoundingClientRect().left) / map.clientWidth * axis.length - view.width / 2, view.width);
map.addEventListener("pointerdown", (event) => { map.setPointerCapture(event.pointerId); fromMap(event); });
map.addEventListener("pointermove", (event) => { if (event.buttons & 1) fromMap(event); });

/* Events */

let shown = data.events.map((_, index) => index);

function drawList() {
  const list = $("list"), from = Math.max(Math.floor(list.scrollTop / ROWHEIGHT) - 8, 0);
  const to = Math.min(from + Math.ceil(list.clientHeight / ROWHEIGHT) + 16, shown.length), out = [];
  for (let i = from; i < to; i++) {
    const index = shown[i], [time, who, what] = data.events[index];
    const since = i && time > data.events[shown[i - 1]][0] ? `+${duration(time - data.events[shown[i - 1]][0])}` : "";
    out.push(`<div class="row${index === selected ? " chosen" : ""}" data-index="${index}" style="top:${i * ROWHEIGHT}px"><span>${moment(time)}</span><span>${since}</span><span class="who ${TONE_OF[text(who)] || ""}">${escaped(text(who))}</span><span title="${escaped(text(what))}">${escaped(text(what))}</span></div>`);
  }
  $("rows").style.height = `${shown.length * ROWHEIGHT}px`;
  $("rows").innerHTML = out.join("");
  $("count").textContent = shown.length === data.events.length ? `${shown.length}` : `${shown.length} of ${data.events.length}`;
}

function select(index, {move = true} = {}) {
  selected = index;
  if (move) {
    // At a small scale, a single event would not be visible: zoom in.
    if (view.width > 40 * data.fold) look(axis.place(data.events[index][0]) - 2 * data.fold, 4 * data.fold);
    else centre(data.events[index][0]);
  }
  const list = $("list"), row = first(shown, (i) => i >= index) * ROWHEIGHT;
  if (row < list.scrollTop || row > list.scrollTop + list.clientHeight - ROWHEIGHT)
    list.scrollTop = row - list.clientHeight / 2;
  drawList();
  drawCursor();
}

$("list").addEventListener("scroll", drawList);
$("rows").addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (row) select(Number(row.dataset.index));
});
$("list").addEventListener("keydown", (event) => {
  const by = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!by || !shown.length) return;
  event.preventDefault();
  const at = selected === null ? -1 : first(shown, (i) => i >= selected);
  select(shown[clamp(at + by, 0, shown.length - 1)]);
});
$("filter").addEventListener("input", () => {
  const wanted = $("filter").value.toLowerCase();
  const matches = data.strings.map((s) => s.toLowerCase().includes(wanted));
  shown = [];
  data.events.forEach((event, index) => { if (matches[event[1]] || matches[event[2]]) shown.push(index); });
  drawList();
});

/* Tools */

const step = (by) => {
  const middle = axis.time(view.left + view.width / 2), i = axis.bursts.indexOf(axis.burst(middle));
  const burst = axis.bursts[clamp(i + by, 0, axis.bursts.length - 1)];
  showBetween(burst.from, burst.to);
};
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("in").onclick = () => zoom(0.5);
$("out").onclick = () => zoom(2);
$("fit").onclick = showAll;
const keys = {"+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": showAll, n: () => step(1), p: () => step(-1),
  ArrowLeft: () => look(view.left - view.width / 8, view.width), ArrowRight: () => look(view.left + view.width / 8, view.width)};
document.addEventListener("keydown", (event) => {
  if (/INPUT|SELECT/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});

const choices = [...new Set([2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8, data.fold])].sort((a, b) => a - b);
$("fold").innerHTML = choices.map((ns) => `<option value="${ns}"${ns === data.fold ? " selected" : ""}>${duration(ns)}</option>`).join("");
function refold() {
  const from = axis.time(Math.max(view.left, 0)), to = axis.time(Math.min(view.left + view.width, axis.length));
  axis = makeAxis($("folding").checked ? Number($("fold").value) : Infinity);
  showBetween(from, to);
}
$("folding").onchange = refold;
$("fold").onchange = refold;
new ResizeObserver(refresh).observe(plot);

/* Head */

$("title").textContent = data.title;
$("summary").textContent = [`line ${data.gsi}`, `${data.events.length.toLocaleString("en")} events`, `${duration(data.length)} of virtual time`]
  .concat(data.dropped ? [`INCOMPLETE: ${data.dropped} entries dropped`] : []).join("  ·  ");
const lastOf = (finding) => finding.proof.length ? finding.proof[finding.proof.length - 1][0] : null;
const findings = data.verdicts.flatMap((verdict) => verdict.findings.map(lastOf)).filter((at) => at !== null);
$("verdicts").innerHTML = data.verdicts.map((verdict) => {
  const broken = verdict.findings.length;
  const [tone, word] = broken ? ["bad", "broken"] : verdict.checked ? ["good", "holds"] : ["odd", "unproven"];
  const count = broken ? `${broken} of ${verdict.checked} broke it` : verdict.checked ? `${verdict.checked} examined` : "nothing to judge";
  const details = verdict.findings.slice(0, 5).map((finding) => {
    const proof = finding.proof.map(([at, said]) => `\n    ${moment(at)}  ${said}`).concat(finding.calls.map((call) => `\n    ${call}`));
    return `<button class="finding" data-at="${lastOf(finding) ?? ""}">${escaped(finding.what + proof.join(""))}</button>`;
  });
  if (broken > 5) details.push(`<p class="more">and ${broken - 5} more</p>`);
  return `<article class="${tone}"><div class="verdict"><span class="badge ${tone}">${word}</span><span>${escaped(verdict.rule)} <span class="note">${escaped([count, verdict.note].filter(Boolean).join("; "))}</span></span></div>${details.join("")}</article>`;
}).join("");
$("verdicts").addEventListener("click", (event) => {
  const finding = event.target.closest(".finding");
  if (finding && finding.dataset.at !== "") select(nearest(Number(finding.dataset.at)));
});

/* The first view shows the first finding or, if there is none, the first interrupts. */
{
  const line = data.tracks.find((track) => track.tone === "line");
  drawList();
  if (findings.length) {
    view.width = Math.min(6 * data.fold, axis.length);
    select(nearest(findings[0]));
    centre(findings[0]);
  } else if (line && line.spans.length > 3) {
    const from = line.spans[0][0], last = axis.burst(line.spans[2][0]);
    showBetween(from, Math.max(last.to, line.spans[2][1]));
  } else showAll();
}
})();
