for (const svg of document.querySelectorAll("svg[data-chart]")) {
  // { x, left, right, low, high, top, bottom, ylow, yhigh, lines: [[name, style, [[x, y], ...]], ...] }
  const chart = JSON.parse(svg.dataset.chart), box = svg.viewBox.baseVal;
  const make = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const xs = [...new Set(chart.lines.flatMap(([, , points]) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const px = (x) => chart.left + (x - chart.low) / (chart.high - chart.low) * (chart.right - chart.left);
  const py = (y) => chart.bottom - (y - chart.ylow) / (chart.yhigh - chart.ylow) * (chart.bottom - chart.top);
  const short = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
  const rule = make("line", { class: "mark rule", y1: chart.top, y2: chart.bottom, visibility: "hidden" });
  const marks = make("g", {});
  svg.append(rule, marks);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  svg.parentNode.append(tip);
  let current = -1;
  const nearest = (points, x) => points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
  const hide = () => { tip.hidden = true; rule.setAttribute("visibility", "hidden"); marks.replaceChildren(); current = -1; };
  const show = (index) => {
    current = Math.max(0, Math.min(xs.length - 1, index));
    const x = xs[current];
    rule.setAttribute("x1", px(x)); rule.setAttribute("x2", px(x)); rule.setAttribute("visibility", "visible");
    marks.replaceChildren();
    const head = document.createElement("b");
    head.textContent = `${chart.x} ${short(x)}`;
    tip.replaceChildren(head);
    for (const [name, style, points] of chart.lines) {
      const [nearX, y] = nearest(points, x);
      // A line that ends before this place has no value here.
      if (x < points[0][0] || x > points[points.length - 1][0]) continue;
      marks.append(make("circle", { class: `dot ${style}`, cx: px(nearX), cy: py(y), r: 3.2 }));
      const line = document.createElement("span"), label = document.createElement("bdi");
      label.textContent = name;
      line.append(label, ` ${short(y)}`);
      tip.append(line);
    }
    tip.hidden = false;
    const share = px(x) / box.width;
    tip.style.left = share > 0.5 ? "auto" : `${100 * share + 2}%`;
    tip.style.right = share > 0.5 ? `${100 * (1 - share) + 2}%` : "auto";
  };
  const move = (event) => {
    const frame = svg.getBoundingClientRect();
    const x = chart.low + ((event.clientX - frame.left) / frame.width * box.width - chart.left) / (chart.right - chart.left) * (chart.high - chart.low);
    show(xs.indexOf(xs.reduce((best, value) => (Math.abs(value - x) < Math.abs(best - x) ? value : best))));
  };
  svg.tabIndex = 0;
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerdown", move);
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: xs.length - 1 }[event.key];
    if (event.key === "Escape") hide();
    if (turn === undefined) return;
    event.preventDefault();
    show(turn);
  });
}
