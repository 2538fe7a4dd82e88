// Draws what state.json says of a run. All text of a run reaches the page as text, never as markup.
"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const live = content === null;
const POLL = 2000, REST = 15000, WIDE = 480, HIGH = 220, LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 24;
const ENDED = ["done", "failed", "stopped", "killed"];
let state = null, lost = false, chosen = null;  // chosen: the step that the reader looks at; null follows the newest

const at = (id) => document.getElementById(id);
function element(name, attributes = {}, text = null) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}
function shape(name, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}
const count = (value) => Math.round(value).toLocaleString("en");
function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(1).replace("e+", "e");
  return size >= 100 ? count(value) : String(Number(value.toPrecision(3)));
}
function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

function ticks(low, high, log) {
  if (log) {
    const found = [];
    for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
      for (const digit of high - low > 2.5 ? [1] : [1, 2, 5]) {
        const place = power + Math.log10(digit);
        if (place >= low - 1e-9 && place <= high + 1e-9) found.push(place);
      }
    }
    return found;
  }
  const rough = (high - low) / 4, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * unit).find((n) => n >= rough * 0.999);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(n * step + 0);  // + 0: no -0
  return found;
}
function smooth(values) {
  const share = 2 / (1 + Math.max(1, values.length / 25));
  let mean = null;
  return values.map((value) => value === null ? mean : (mean = mean === null ? value : mean + share * (value - mean)));
}

// series: {name, values, smoothed}; steps: the x of every value.
function chart(box, steps, series, options = {}) {
  const seen = series.filter((one) => one.values.some((value) => value !== null && (!options.log || value > 0)));
  if (!seen.length) {
    box.replaceChildren(element("p", { class: "empty" }, options.empty || "Nothing yet."));
    return;
  }
  const scaled = (value) => value === null || (options.log && value <= 0) ? null : options.log ? Math.log10(value) : value;
  const all = seen.flatMap((one) => one.values.map(scaled)).filter((value) => value !== null);
  let low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
  if (!options.log && low >= 0 && low < high / 2 || options.zero) low = Math.min(low, 0);
  if (high - low < 1e-12) { const pad = Math.abs(high) * 0.1 || 1; low -= pad; high += pad; }
  const last = Math.max(options.end || 0, steps[steps.length - 1]), first = 0;
  const x = (step) => LEFT + (WIDE - LEFT - RIGHT) * (step - first) / Math.max(1, last - first);
  const y = (value) => TOP + (HIGH - TOP - BOTTOM) * (1 - (value - low) / (high - low));
  const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${options.title}: ${seen.map((one) => `${one.name} ${number(one.values[one.values.length - 1])}`).join(", ")}` });
  for (const tick of ticks(low, high, options.log)) {
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(shape("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, number(Number((options.log ? 10 ** tick : tick).toPrecision(6)))));
  }
  for (const tick of ticks(first, Math.max(1, last), false)) {
    if (Number.isInteger(tick)) svg.append(shape("text", { x: x(tick), y: HIGH - 6, "text-anchor": "middle" }, count(tick)));
  }
  svg.append(shape("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: HIGH - BOTTOM, y2: HIGH - BOTTOM }));
  const path = (values) => {
    let made = "", up = true;
    values.forEach((raw, i) => {
      const value = scaled(raw);
      if (value === null) { up = true; return; }
      made += `${up ? "M" : "L"}${x(steps[i]).toFixed(1)} ${y(value).toFixed(1)}`;
      up = false;
    });
    return made;
  };
  const style = (i) => `line c${i % 8} d${Math.floor(i / 8) % 3}`;
  seen.forEach((one, i) => {
    if (one.smoothed && steps.length > 30) {
      svg.append(shape("path", { class: `${style(i)} faint`, d: path(one.values) }));
      svg.append(shape("path", { class: style(i), d: path(smooth(one.values)) }));
    } else {
      svg.append(shape("path", { class: style(i), d: path(one.values) }));
    }
    if (options.dots) one.values.forEach((value, n) => scaled(value) !== null && svg.append(shape("circle", { class: `dot c${i % 8}`, cx: x(steps[n]), cy: y(scaled(value)), r: 2.6 })));
  });
  const mark = shape("line", { class: "mark", y1: TOP, y2: HIGH - BOTTOM, visibility: "hidden" });
  svg.append(mark);
  const legend = element("ul", { class: "legend" });
  const where = element("li");
  const shown = seen.map((one, i) => {
    const row = element("li"), line = shape("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }), value = element("b");
    line.append(shape("path", { class: style(i), d: "M0 4L22 4" }));
    row.append(line, `${one.name} `, value);
    legend.append(row);
    return value;
  });
  legend.prepend(where);
  const tell = (n) => {
    where.textContent = `step ${count(steps[n])}`;
    seen.forEach((one, i) => { shown[i].textContent = number(one.values[n]); });
  };
  tell(steps.length - 1);
  svg.addEventListener("pointermove", (event) => {
    const area = svg.getBoundingClientRect(), step = first + ((event.clientX - area.left) * WIDE / area.width - LEFT) / (WIDE - LEFT - RIGHT) * Math.max(1, last - first);
    let nearest = 0;
    steps.forEach((other, n) => { if (Math.abs(other - step) < Math.abs(steps[nearest] - step)) nearest = n; });
    mark.setAttribute("x1", x(steps[nearest]));
    mark.setAttribute("x2", x(steps[nearest]));
    mark.setAttribute("visibility", "visible");
    tell(nearest);
  });
  svg.addEventListener("pointerleave", () => { mark.setAttribute("visibility", "hidden"); tell(steps.length - 1); });
  box.replaceChildren(svg, legend);
}

function headline() {
  const of = state.total ? ` of ${count(state.total)}` : "", step = `step ${count(state.step)}${of}`;
  const share = state.total ? `, ${Math.floor(100 * Math.min(1, state.step / state.total))} %` : "";
  const left = state.seconds_left ? `, about ${duration(state.seconds_left)} left` : "";
  switch (state.state) {
    case "waiting": return "Waiting for the run to begin";
    case "planned": return "Preparing: data, plan, native config";
    case "training": return state.step ? `Training: ${step}${share}${left}` : "Training begins: no step is logged yet";
    case "scoring": return `Trained: ${step}; now predicting and scoring`;
    case "done": return `Done: ${step}`;
    case "stopped": return `Stopped at ${step}`;
    case "failed": return state.step ? `Failed at ${step}` : "Failed before the first step";
    case "killed": return `Ended without a word at ${step}`;
    default: return `${state.state}: ${step}`;
  }
}
function put(node, text) {  // a status that says the same again would be read out again
  if (node.textContent !== text) node.textContent = text;
}
function head() {
  document.body.className = state.state;
  document.title = `${headline()} · ${state.name}`;
  put(at("name"), state.name);
  put(at("headline"), headline());
  const bar = at("progress"), share = state.total ? Math.min(100, 100 * state.step / state.total) : 0;
  bar.hidden = !state.total || !state.step;
  bar.setAttribute("aria-valuenow", Math.floor(share));
  bar.firstElementChild.style.width = `${share}%`;
  const facts = [];
  if (state.epoch) facts.push(`epoch ${count(state.epoch)}${state.epochs ? ` of ${count(state.epochs)}` : ""}`);
  if (state.best) facts.push(`best ${state.best.metric} ${(100 * state.best.value).toFixed(1)} at step ${count(state.best.step)}`);
  if (state.seconds_per_step) facts.push(`${number(state.seconds_per_step)} s a step`);
  if (state.memory_mb) facts.push(`${count(state.memory_mb)} MB`);
  if (state.seconds) facts.push(`${duration(state.seconds)} so far`);
  facts.push(...state.facts);
  if (live && state.silent > 20 && !ENDED.includes(state.state) && state.state !== "waiting") facts.push(`last word ${duration(state.silent)} ago`);
  const line = at("facts");
  if (line.textContent !== facts.join("")) line.replaceChildren(...facts.map((fact) => element("span", {}, fact)));
  let note = "";
  if (lost) note = "The server of this page does not answer: what follows is the last that it said. Start `cvtune watch` again.";
  else if (state.state === "failed") note = state.error || "The run left no message; worker.log in the run directory may say more.";
  else if (state.state === "killed") note = "The process of this run is gone. `cvtune train SPEC --resume` goes on from the last checkpoint.";
  at("note").hidden = !note;
  put(at("note"), note);
  at("foot").replaceChildren(live ? "Written by cvtune watch; AP is COCO's, times 100. " : `As of ${state.written}; written by cvtune watch --once. AP is COCO's, times 100. `);
  if (state.report) at("foot").append(element("a", { href: "report.html" }, "The run's report"));
}
function curves() {
  const { step, loss, lr, memory_mb, losses } = state.curves, parts = Object.entries(losses);
  at("curves").hidden = !step.length && !state.evals.length;
  if (at("curves").hidden) return;
  const end = state.step, one = (name, values) => ({ name, values, smoothed: true });
  const series = [one("total", loss), ...(parts.length > 1 ? parts.map(([name, values]) => one(name, values)) : [])];
  chart(at("losses"), step, series, { title: "Losses", log: at("log").checked, end });
  chart(at("rates"), step, [{ name: "lr", values: lr }], { title: "Learning rate", end, zero: true });
  chart(at("memory"), step, [{ name: "peak", values: memory_mb }], { title: "Memory in MB", end, zero: true });
  const kinds = ["bbox", "segm"].filter((kind) => state.evals.some((record) => `${kind}/AP` in record.scores));
  const names = kinds.flatMap((kind) => [`${kind}/AP`, `${kind}/AP50`, ...(kinds.length > 1 ? [] : [`${kind}/AP75`])]);
  const value = (record, name) => name in record.scores && record.scores[name] >= 0 ? 100 * record.scores[name] : null;
  const scores = names.map((name) => ({ name, values: state.evals.map((record) => value(record, name)) }));
  chart(at("scores"), state.evals.map((record) => record.step), scores, { title: "Validation AP", end, zero: true, dots: state.evals.length <= 60, empty: "No evaluation yet." });
}
function samples() {
  const { images, steps } = state.samples, slider = at("slider");
  at("samples").hidden = !steps.length;
  if (!steps.length) return;
  let index = chosen === null ? steps.length - 1 : steps.findIndex((row) => row.step >= chosen);
  if (index < 0) index = steps.length - 1;
  slider.max = steps.length - 1;
  slider.value = index;
  at("before").disabled = index === 0;
  at("after").disabled = index === steps.length - 1;
  const row = steps[index], record = state.evals.find((other) => other.step === row.step);
  const ap = record ? Object.entries(record.scores).filter(([name, value]) => name.endsWith("/AP") && value >= 0).map(([name, value]) => `, ${name} ${(100 * value).toFixed(1)}`).join("") : "";
  const text = `step ${count(row.step)}${record && record.epoch ? `, epoch ${count(record.epoch)}` : ""}${ap}`;
  put(at("which"), text);
  slider.setAttribute("aria-valuetext", text);
  const key = `${row.step}/${row.files.join()}`;
  if (at("pictures").dataset.key === key) return;
  at("pictures").dataset.key = key;
  at("pictures").replaceChildren(...row.files.map((file) => {
    const about = images[file - 1] || { name: `image ${file}`, objects: null };
    const figure = element("figure", { class: "pair" }), caption = element("figcaption");
    figure.append(element("img", {
      src: live ? `samples/${row.step}/${file}.jpg` : content.pictures[`${row.step}/${file}`],
      alt: `${about.name}: ground truth left, predictions after step ${row.step} right`,
    }));
    caption.append(element("span", { class: "file" }, about.name));
    if (about.objects !== null) caption.append(element("span", { class: "tally" }, `${count(about.objects)} ${about.objects === 1 ? "object" : "objects"}`));
    figure.append(caption);
    return figure;
  }));
}
function show() { head(); curves(); samples(); }
function choose(index) {
  const steps = state.samples.steps, kept = Math.max(0, Math.min(steps.length - 1, index));
  chosen = kept === steps.length - 1 ? null : steps[kept].step;
  samples();
}
at("slider").addEventListener("input", () => choose(Number(at("slider").value)));
at("before").addEventListener("click", () => choose(Number(at("slider").value) - 1));
at("after").addEventListener("click", () => choose(Number(at("slider").value) + 1));
at("log").addEventListener("change", curves);

async function poll() {
  if (!document.hidden) {
    try {
      const answer = await fetch("state.json", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      state = await answer.json();
      lost = false;
      show();
    } catch (error) {
      lost = true;
      if (state) head(); else put(at("headline"), "The server of this page does not answer");
      if (!(error instanceof TypeError)) console.error(error);
    }
  }
  setTimeout(poll, state && ENDED.includes(state.state) ? REST : POLL);
}
if (live) {
  poll();
  document.addEventListener("visibilitychange", () => { if (!document.hidden && state) show(); });
} else {
  state = content.state;
  show();
}
