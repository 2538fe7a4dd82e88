(() => {
  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const page = JSON.parse(document.getElementById("gallery-data").textContent);
  const at = (id) => document.getElementById(id);
  const [RIGHT, IGNORED] = [0, 6];
  const number = (value) => value.toLocaleString("en");
  const share = (part, whole) => (whole ? (100 * part / whole).toFixed(1) : "–");
  const mistakes = [...at("mistakes").querySelectorAll("b")].map((b) => ({ code: Number(b.dataset.k), cell: b, name: b.nextSibling.textContent.trim() }));
  const nameOf = Object.fromEntries(mistakes.map((m) => [m.code, m.name]));
  const cards = [...gallery.querySelectorAll(".card")].map((figure) => ({
    figure,
    reason: figure.dataset.reason,
    objects: [...figure.querySelectorAll("g.o")].map((g) => ({ g, category: g.dataset.c, finder: Number(g.dataset.b), crowd: g.classList.contains("crowd") })),
    found: [...figure.querySelectorAll("g.d")].map((g) => ({ g, category: g.dataset.c, score: Number(g.dataset.s), code: Number(g.dataset.k) })),
    cells: Object.fromEntries([...figure.querySelectorAll("figcaption [data-n]")].map((cell) => [cell.dataset.n, cell])),
    kinds: figure.querySelector(".kinds"),
  }));
  for (const card of cards) {
    for (const d of card.found) {
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = `${d.g.querySelector("text").textContent}: ${d.code === RIGHT ? "right" : d.code === IGNORED ? "in a crowd region" : nameOf[d.code]}`;
      d.g.prepend(title);
    }
  }

  const whole = (step, category) => {
    const tally = { right: 0, false: 0, objects: 0, kinds: {} };
    for (const record of page.classes) {
      if (category !== "" && String(record.index) !== category) continue;
      tally.objects += record.objects;
      for (const [bin, ...codes] of record.bins) {
        if (bin < step) continue;
        codes.forEach((n, code) => {
          if (code === RIGHT) tally.right += n;
          else if (code !== IGNORED) { tally.false += n; tally.kinds[code] = (tally.kinds[code] || 0) + n; }
        });
      }
    }
    tally.missed = tally.objects - tally.right;
    return tally;
  };

  const look = (card, threshold, category, mistake) => {
    const tally = { right: 0, false: 0, missed: 0, objects: 0, kinds: {} };
    for (const o of card.objects) {
      const missed = !o.crowd && o.finder < threshold, mine = category === "" || o.category === category;
      o.g.classList.toggle("missed", missed);
      o.g.classList.toggle("dim", !mine || (mistake !== "" && mistake !== "any" && mistake !== "none" && !(mistake === "missed" && missed)));
      if (!mine || o.crowd) continue;
      tally.objects += 1;
      tally[missed ? "missed" : "right"] += 1;
    }
    for (const d of card.found) {
      const mine = category === "" || d.category === category, wrong = d.code !== RIGHT && d.code !== IGNORED;
      d.g.classList.toggle("off", d.score < threshold);
      d.g.classList.toggle("dim", !mine || (mistake === "any" && !wrong) || mistake === "missed" || (/^\d/.test(mistake) && d.code !== Number(mistake)));
      if (!mine || d.score < threshold || !wrong) continue;
      tally.false += 1;
      tally.kinds[d.code] = (tally.kinds[d.code] || 0) + 1;
    }
    tally.present = category === "" || tally.objects > 0 || tally.false > 0;
    return tally;
  };

  const fill = (row, tally, images) => {
    const total = 2 * tally.right + tally.false + tally.missed;
    const values = { images: number(images), right: number(tally.right), false: number(tally.false), missed: number(tally.missed),
      precision: share(tally.right, tally.right + tally.false), recall: share(tally.right, tally.right + tally.missed), f1: share(2 * tally.right, total) };
    for (const cell of row.querySelectorAll("[data-n]")) cell.textContent = values[cell.dataset.n];
  };

  let timer = 0;
  const update = () => {
    const step = Number(at("threshold").value), threshold = 100 * step;
    const category = at("class-filter").value, mistake = at("mistake-filter").value, reason = at("reason-filter").value;
    at("threshold-value").textContent = (step / 100).toFixed(2);
    at("threshold").setAttribute("aria-valuetext", `scores of ${(step / 100).toFixed(2)} and more`);
    const all = whole(step, category), shown = { right: 0, false: 0, missed: 0 };
    let images = 0;
    for (const card of cards) {
      const tally = look(card, threshold, category, mistake);
      const wrong = tally.false + tally.missed;
      const fits = { "": true, any: wrong > 0, none: wrong === 0, missed: tally.missed > 0 }[mistake] ?? (tally.kinds[mistake] || 0) > 0;
      const visible = tally.present && fits && (reason === "" || card.reason === reason);
      card.figure.hidden = !visible;
      for (const key of ["right", "objects"]) card.cells[key].textContent = number(tally[key]);
      for (const key of ["missed", "false"]) {
        card.cells[key].textContent = `${number(tally[key])} ${key}`;
        card.cells[key].classList.toggle("none", tally[key] === 0);
      }
      card.kinds.textContent = mistakes.filter((m) => tally.kinds[m.code]).map((m) => `${tally.kinds[m.code]} ${m.name}`).join(", ");
      if (!visible) continue;
      images += 1;
      for (const key of ["right", "false", "missed"]) shown[key] += tally[key];
    }
    fill(at("tally-all"), all, page.images);
    fill(at("tally-shown"), shown, images);
    for (const m of mistakes) m.cell.textContent = number(all.kinds[m.code] || 0);
    at("nothing").hidden = images > 0;
    // Said once the reader has stopped moving the slider.
    clearTimeout(timer);
    timer = setTimeout(() => {
      at("said").textContent = `Threshold ${(step / 100).toFixed(2)}: ${all.right} found, ${all.false} false, ${all.missed} missed on the whole split. ${images} of ${cards.length} images shown, with ${shown.right} found, ${shown.false} false, ${shown.missed} missed.`;
    }, 300);
  };

  for (const id of ["threshold", "class-filter", "mistake-filter", "reason-filter"]) at(id).addEventListener("input", update);
  for (const id of ["names", "masks"]) at(id).addEventListener("change", () => gallery.classList.toggle(`no-${id}`, !at(id).checked));
  at("reset").addEventListener("click", () => {
    at("threshold").value = page.step;
    for (const id of ["class-filter", "mistake-filter", "reason-filter"]) at(id).value = "";
    for (const id of ["names", "masks"]) { at(id).checked = true; gallery.classList.remove(`no-${id}`); }
    update();
  });
  for (const card of cards) {
    if (!card.figure.querySelector(".both")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.textContent = "Enlarge";
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `Enlarge ${card.figure.querySelector(".file bdi").textContent}`);
    button.addEventListener("click", () => {
      const large = card.figure.classList.toggle("large");
      button.setAttribute("aria-pressed", String(large));
      button.textContent = large ? "Reduce" : "Enlarge";
    });
    card.figure.querySelector("figcaption").append(button);
  }
  gallery.querySelector(".controls").hidden = false;
  at("tally-shown").hidden = false;
  update();
})();
