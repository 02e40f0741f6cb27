"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (query, root = document) => root.querySelector(query);
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const byId = (id) => document.getElementById(id);

  /** An element with attributes and children; text is text, never markup. */
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const unique = (values) => [...new Set(values)];
  const fill = (select, pairs) => select.replaceChildren(...pairs.map(([value, text]) => make("option", { value }, text)));

  // ---- light and dark ------------------------------------------------------------------------------------------

  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const themed = [];
  const showTheme = () => {
    const button = byId("theme");
    button.setAttribute("aria-pressed", String(isDark()));
    themed.forEach((draw) => draw());
  };
  const remember = (name, value) => {
    // a page opened from a file may have no storage
    try {
      localStorage.setItem(name, value);
    } catch {
      return;
    }
  };
  const remembered = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const startTheme = () => {
    const kept = remembered("xrnnbench-theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
    const button = byId("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      remember("xrnnbench-theme", root.dataset.theme);
      showTheme();
    });
    prefersDark.addEventListener("change", showTheme);
    showTheme();
  };

  // ---- filters -------------------------------------------------------------------------------------------------

  // one style sheet hides what is filtered out, wherever it stands: rows, columns, marks, curves, sections
  const hiding = document.head.appendChild(make("style"));
  const value = (id) => byId(id).value;
  const chosen = (id, name) => value(id) === "" || value(id) === name;
  const places = (list, keep) => list.map((each, place) => (keep(each, place) ? -1 : place)).filter((place) => place >= 0);

  const hidden = () => {
    const part = value("by-name").trim().toLowerCase();
    const methods = places(
      data.methods,
      (each) =>
        each.name.toLowerCase().includes(part) && chosen("by-group", each.group) && (byId("controls").checked || !each.control)
    );
    const tasks = places(data.tasks, (each, place) => chosen("by-task", String(place)) && chosen("by-application", each.application));
    const metrics = places(
      data.metrics,
      (each, place) => chosen("by-metric", String(place)) && chosen("by-family", each.family)
    );
    const kept = new Set(data.metrics.filter((_, place) => !metrics.includes(place)).map((each) => each.family));
    const families = places(data.families, (family) => kept.has(family));
    return { m: methods, t: tasks, x: metrics, f: families };
  };

  const filter = () => {
    const found = hidden();
    const selectors = Object.entries(found).flatMap(([letter, numbers]) => numbers.map((number) => `main .${letter}${number}`));
    hiding.textContent = selectors.length ? `${selectors.join(",")}{display:none!important}` : "";
    const shown = (list, letter, name) => {
      const left = list.length - found[letter].length;
      return `${left === list.length ? left : `${left} of ${list.length}`} ${name}${list.length === 1 ? "" : "s"}`;
    };
    byId("count").textContent = [
      shown(data.methods, "m", "method"),
      shown(data.tasks, "t", "task"),
      shown(data.metrics, "x", "metric"),
    ].join(" · ");
    document.body.classList.toggle("no-intervals", !byId("intervals").checked);
  };

  const startFilters = () => {
    const form = find(".filters");
    const named = (list, key) => unique(list.map((each) => each[key])).filter(Boolean).sort();
    const numbered = (list) => list.map((each, place) => [String(place), each.name]);
    const same = (names) => names.map((name) => [name, name]);
    fill(byId("by-group"), [["", "all"], ...same(named(data.methods, "group"))]);
    fill(byId("by-application"), [["", "all"], ...same(named(data.tasks, "application"))]);
    fill(byId("by-task"), [["", "all"], ...numbered(data.tasks)]);
    fill(byId("by-family"), [["", "all"], ...same(data.families)]);
    fill(byId("by-metric"), [["", "all"], ...numbered(data.metrics)]);
    // input is every letter; change is what a list fires where it is not a person who chooses
    for (const each of ["input", "change"]) form.addEventListener(each, filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    // the fields are empty only after the event
    form.addEventListener("reset", () => setTimeout(filter));
    form.hidden = false;
    if (innerWidth < 740) all(".filters details, .legend").forEach((each) => (each.open = false));
    filter();
  };

  // ---- sorting -------------------------------------------------------------------------------------------------

  const opposite = { ascending: "descending", descending: "ascending" };
  const original = new WeakMap();

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (column > 0) return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    return cell.firstChild === null ? "" : cell.textContent;
  };
  const compare = (one, other, sign) => {
    // what has no number comes last, whichever way
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "number" ? one - other : one.localeCompare(other);
    return sign * order;
  };
  const sort = (head) => {
    const table = head.closest("table");
    const body = table.tBodies[0];
    if (!original.has(body)) original.set(body, [...body.rows]);
    const before = head.getAttribute("aria-sort");
    const first = head.dataset.first;
    const order = before === "none" ? first : before === first ? opposite[first] : "none";
    all("th[aria-sort]", table.tHead).forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", order);
    const rows = [...original.get(body)];
    if (order !== "none") {
      const keys = new Map(rows.map((row) => [row, keyOf(row, head.cellIndex)]));
      rows.sort((one, other) => compare(keys.get(one), keys.get(other), order === "ascending" ? 1 : -1));
    }
    body.append(...rows);
  };
  const startSorting = () =>
    document.addEventListener("click", (event) => {
      const button = event.target.closest("thead th[aria-sort] button");
      if (button) sort(button.closest("th"));
    });

  // ---- curves --------------------------------------------------------------------------------------------------

  const startCurves = () => {
    const chips = byId("chips");
    if (!chips) return;
    const most = 6;
    const label = (box) => box.nextElementSibling;
    // a method keeps its colour while it is shown
    const colours = new Map();
    all("input", chips).forEach((box) => {
      if (box.checked) colours.set(box.value, Number(label(box).className.slice(1)));
    });
    const paint = () => {
      all("input", chips).forEach((box) => {
        label(box).className = colours.has(box.value) ? `c${colours.get(box.value)}` : "";
        box.disabled = !box.checked && colours.size >= most;
      });
      all(".curve").forEach((curve) => {
        const colour = colours.get(curve.dataset.method);
        curve.setAttribute("class", `curve m${curve.dataset.method}${colour === undefined ? "" : ` on c${colour}`}`);
        if (colour !== undefined) curve.parentNode.append(curve);
      });
    };
    chips.addEventListener("change", (event) => {
      const box = event.target;
      if (box.checked) {
        const taken = new Set(colours.values());
        colours.set(box.value, [...Array(most).keys()].find((colour) => !taken.has(colour)));
      } else {
        colours.delete(box.value);
      }
      paint();
    });
    paint();
  };

  // ---- single explanations -------------------------------------------------------------------------------------

  const STEPS = 127;
  const unpacked = (map) => Int8Array.from(atob(map.values), (letter) => letter.charCodeAt(0));
  // a name does not turn the direction of what stands beside it
  const isolated = (name) => `\u2068${name}\u2069`;
  const short = (number) => {
    const size = Math.abs(number);
    const text = size === 0 || size >= 0.001 ? String(Number(size.toPrecision(3))) : size.toExponential(1);
    return (number < 0 ? "−" : "+") + text;
  };

  const probe = document.body.appendChild(make("span", { class: "unseen", "aria-hidden": "true" }));
  const canvasOf = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  /** A colour of the style as red, green and blue, in the scheme that is on. */
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    canvasOf.fillStyle = getComputedStyle(probe).color;
    canvasOf.fillRect(0, 0, 1, 1);
    return [...canvasOf.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };

  const palette = () => ({ up: colour("--hot"), down: colour("--cold"), paper: colour("--paper"), ink: colour("--soft") });
  const mixed = (from, to, share) => from.map((part, place) => Math.round(part + (to[place] - part) * share));

  const draw = (canvas, map, plain) => {
    const values = unpacked(map);
    const steps = values.length / map.width;
    canvas.width = steps;
    canvas.height = map.width;
    const image = new ImageData(steps, map.width);
    const { up, down, paper, ink } = palette();
    values.forEach((value, place) => {
      const step = Math.floor(place / map.width);
      const row = place % map.width;
      const end = value >= 0 ? up : down;
      const pixel = plain ? mixed(paper, ink, (value + STEPS) / (2 * STEPS)) : mixed(paper, end, Math.abs(value) / STEPS);
      image.data.set([...pixel, 255], 4 * (row * steps + step));
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  const placeName = (exhibit, sequence, map, place) => {
    const step = Math.floor(place / map.width);
    if (Array.isArray(sequence.steps)) return `“${isolated(sequence.steps[step])}” (${step})`;
    return map.width > 1 ? `${isolated(exhibit.features[place % map.width])} at step ${step}` : `step ${step}`;
  };
  const largest = (exhibit, sequence, map) => {
    const values = unpacked(map);
    const order = [...values.keys()].filter((place) => values[place] !== 0);
    order.sort((one, other) => Math.abs(values[other]) - Math.abs(values[one]) || one - other);
    const said = order.slice(0, 4).map((place) => `${placeName(exhibit, sequence, map, place)} ${short((values[place] / STEPS) * map.size)}`);
    return said.length ? `Largest: ${said.join(" · ")}` : "0 everywhere";
  };

  const tokens = (sequence, map) => {
    const values = unpacked(map);
    const spans = sequence.steps.map((step, place) => {
      const share = Math.abs(values[place]) / STEPS;
      const side = values[place] < 0 ? "down" : values[place] > 0 ? "up" : "";
      const number = short((values[place] / STEPS) * map.size);
      const token = make("span", { class: `token ${side}`, title: `${step} ${number}`, dir: "auto" }, step);
      token.style.setProperty("--h", `${Math.round(100 * share)}%`);
      if (share >= 0.06) {
        const bar = make("i", { "aria-hidden": "true" });
        bar.style.setProperty("--w", share.toFixed(2));
        token.append(bar);
      }
      return token;
    });
    return make("div", { class: "tokens" }, ...spans);
  };

  const heat = (exhibit, sequence, map, what, plain) => {
    const canvas = make("canvas", { role: "img", "aria-label": what });
    const row = map.width === 1 ? 24 : Math.max(5, Math.min(16, 150 / map.width));
    canvas.style.height = `${Math.round(row * map.width)}px`;
    draw(canvas, map, plain);
    const names = map.width > 1 && map.width * 11 <= row * map.width ? exhibit.features : [];
    const legend = make("div", { class: "rows", "aria-hidden": "true" }, ...names.map((name) => make("span", {}, name)));
    return { element: make("div", { class: "map" }, legend, canvas), canvas, redraw: () => draw(canvas, map, plain) };
  };

  const entry = (exhibit, sequence, map, title, note, kind, plain = false) => {
    const heading = make("h3", {}, title);
    if (note) heading.append(make("small", {}, note));
    const most = plain ? "" : largest(exhibit, sequence, map);
    const line = make("p", { class: "most" }, most);
    let picture;
    if (Array.isArray(sequence.steps)) {
      picture = tokens(sequence, map);
    } else {
      const found = heat(exhibit, sequence, map, `${title}. ${most}`, plain);
      picture = found.element;
      themed.push(found.redraw);
      const values = unpacked(map);
      const steps = values.length / map.width;
      found.canvas.addEventListener("pointermove", (event) => {
        if (plain) return;
        const box = found.canvas.getBoundingClientRect();
        const at = (position, size, count) => Math.max(0, Math.min(count - 1, Math.floor((position / size) * count)));
        const step = at(event.clientX - box.left, box.width, steps);
        const place = step * map.width + at(event.clientY - box.top, box.height, map.width);
        line.textContent = `${placeName(exhibit, sequence, map, place)}: ${short((values[place] / STEPS) * map.size)}`;
      });
      found.canvas.addEventListener("pointerleave", () => (line.textContent = most));
    }
    return make("div", { class: `said ${kind}` }, heading, make("div", {}, picture, line));
  };

  const facts = (exhibit, sequence) => {
    const length = Array.isArray(sequence.steps) ? sequence.steps.length : sequence.steps;
    const cut = length < sequence.length ? ` (the first ${length} are shown)` : "";
    return (
      `Sequence ${sequence.place}, ${sequence.length} steps${cut}, model of seed ${exhibit.seed}. ` +
      `Explained output: ${isolated(sequence.explained)}. Right: ${isolated(sequence.target)}.`
    );
  };

  const show = () => {
    const exhibit = data.exhibits[Number(value("which-task"))];
    const sequence = exhibit.sequences[Number(value("which-sequence"))];
    const wanted = value("which-method");
    themed.length = 0;
    const parts = [make("p", { class: "facts" }, facts(exhibit, sequence))];
    if (sequence.inputs) {
      parts.push(entry(exhibit, sequence, sequence.inputs, "Inputs", "each feature from its least to its most", "", true));
    }
    if (sequence.truth) {
      const said = `${exhibit.reading.name}: ${exhibit.reading.semantics} of ${exhibit.reading.output}`;
      parts.push(entry(exhibit, sequence, sequence.truth, "Truth", said, "truth"));
    } else {
      parts.push(make("p", { class: "facts" }, "The truth is not known here."));
    }
    for (const map of sequence.maps) {
      const method = data.methods[map.method];
      if (wanted !== "" && wanted !== String(map.method)) continue;
      const score = map.score === null ? "undefined" : map.score.toFixed(2);
      const notes = [method.control ? "control" : "", map.signed ? "" : "unsigned", `${data.headline} ${score}`];
      parts.push(entry(exhibit, sequence, map, method.name, notes.filter(Boolean).join(" · "), `m${map.method}`));
    }
    byId("exhibit").replaceChildren(...parts);
  };

  const startExhibits = () => {
    const choose = byId("choose");
    if (!choose) return;
    const sequences = () => {
      const exhibit = data.exhibits[Number(value("which-task"))];
      fill(byId("which-sequence"), exhibit.sequences.map((each, place) => [String(place), `sequence ${each.place}`]));
      const said = unique(exhibit.sequences.flatMap((each) => each.maps.map((map) => map.method)));
      fill(byId("which-method"), [["", "all methods"], ...said.map((place) => [String(place), data.methods[place].name])]);
    };
    fill(byId("which-task"), data.exhibits.map((each, place) => [String(place), data.tasks[each.task].name]));
    byId("which-task").addEventListener("change", () => {
      sequences();
      show();
    });
    for (const id of ["which-sequence", "which-method"]) byId(id).addEventListener("change", show);
    choose.hidden = false;
    sequences();
    show();
  };

  // ---- sections that are closed --------------------------------------------------------------------------------

  // a link into a closed section, and printing, open it
  const open = (element) => {
    for (let each = element; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  };
  const startOpening = () => {
    const follow = () => {
      const target = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
      if (target) open(target);
    };
    addEventListener("hashchange", follow);
    addEventListener("beforeprint", () => all("details").forEach((each) => (each.open = true)));
    // paper is light
    let before;
    addEventListener("beforeprint", () => {
      before = root.dataset.theme;
      root.dataset.theme = "light";
      showTheme();
    });
    addEventListener("afterprint", () => {
      if (before) root.dataset.theme = before;
      else delete root.dataset.theme;
      showTheme();
    });
    follow();
  };

  startTheme();
  startFilters();
  startSorting();
  startCurves();
  startExhibits();
  startOpening();
  performance.mark("ready");
})();
