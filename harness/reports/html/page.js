"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (query, root = document) => root.querySelector(query);
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const byId = (id) => document.getElementById(id);

  /** Make an element with attributes and children; strings become text, never markup. */
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
    // a page opened from disk may have no storage
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

  // one style sheet hides the filtered-out rows, columns, points, curves and sections by their classes
  const hiding = document.head.appendChild(make("style"));
  const value = (id) => byId(id).value;
  const chosen = (id, name) => value(id) === "" || value(id) === name;
  /** The indices of the items that are not kept. */
  const dropped = (list, keep) => list.map((item, index) => (keep(item, index) ? -1 : index)).filter((index) => index >= 0);

  const hidden = () => {
    const part = value("by-name").trim().toLowerCase();
    const methods = dropped(
      data.methods,
      (method) =>
        method.name.toLowerCase().includes(part) &&
        chosen("by-group", method.group) &&
        (byId("controls").checked || !method.control)
    );
    const tasks = dropped(
      data.tasks,
      (task, index) => chosen("by-task", String(index)) && chosen("by-application", task.application)
    );
    const metrics = dropped(
      data.metrics,
      (metric, index) => chosen("by-metric", String(index)) && chosen("by-family", metric.family)
    );
    const kept = new Set(data.metrics.filter((_, index) => !metrics.includes(index)).map((metric) => metric.family));
    const families = dropped(data.families, (family) => kept.has(family));
    return { m: methods, t: tasks, x: metrics, f: families };
  };

  const filter = () => {
    const indices = hidden();
    const selectors = Object.entries(indices).flatMap(([letter, numbers]) => numbers.map((number) => `main .${letter}${number}`));
    hiding.textContent = selectors.length ? `${selectors.join(",")}{display:none!important}` : "";
    const shown = (list, letter, name) => {
      const left = list.length - indices[letter].length;
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
    const named = (list, key) => unique(list.map((item) => item[key])).filter(Boolean).sort();
    const numbered = (list) => list.map((item, index) => [String(index), item.name]);
    const same = (names) => names.map((name) => [name, name]);
    fill(byId("by-group"), [["", "all"], ...same(named(data.methods, "group"))]);
    fill(byId("by-application"), [["", "all"], ...same(named(data.tasks, "application"))]);
    fill(byId("by-task"), [["", "all"], ...numbered(data.tasks)]);
    fill(byId("by-family"), [["", "all"], ...same(data.families)]);
    fill(byId("by-metric"), [["", "all"], ...numbered(data.metrics)]);
    // input fires at every letter; change also fires where a program chooses from a list
    for (const type of ["input", "change"]) form.addEventListener(type, filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    // the fields are empty only after the event
    form.addEventListener("reset", () => setTimeout(filter));
    form.hidden = false;
    if (innerWidth < 740) all(".filters details, .legend").forEach((details) => (details.open = false));
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
    // rows without a number come last in both orders
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
    all("th[aria-sort]", table.tHead).forEach((other) => other.setAttribute("aria-sort", "none"));
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
  const EMPTY = -128; // where several inputs have no value
  const unpacked = (map) => Int8Array.from(atob(map.values), (letter) => letter.charCodeAt(0));
  // the direction of a name does not affect the text around it
  const isolated = (name) => `\u2068${name}\u2069`;
  const short = (number) => {
    const size = Math.abs(number);
    const text = size === 0 || size >= 0.001 ? String(Number(size.toPrecision(3))) : size.toExponential(1);
    return (number < 0 ? "−" : "+") + text;
  };

  const probe = document.body.appendChild(make("span", { class: "unseen", "aria-hidden": "true" }));
  const canvasOf = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  /** A colour of the style as red, green and blue, in the current colour scheme. */
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    canvasOf.fillStyle = getComputedStyle(probe).color;
    canvasOf.fillRect(0, 0, 1, 1);
    return [...canvasOf.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };

  const palette = () => ({ up: colour("--hot"), down: colour("--cold"), paper: colour("--paper"), ink: colour("--soft") });
  const mixed = (from, to, share) => from.map((part, channel) => Math.round(part + (to[channel] - part) * share));

  const draw = (canvas, map, plain) => {
    const values = unpacked(map);
    const steps = values.length / map.width;
    canvas.width = steps;
    canvas.height = map.width;
    const image = new ImageData(steps, map.width);
    const { up, down, paper, ink } = palette();
    values.forEach((value, index) => {
      if (value === EMPTY) return;
      const step = Math.floor(index / map.width);
      const row = index % map.width;
      const end = value >= 0 ? up : down;
      const pixel = plain ? mixed(paper, ink, (value + STEPS) / (2 * STEPS)) : mixed(paper, end, Math.abs(value) / STEPS);
      image.data.set([...pixel, 255], 4 * (row * steps + step));
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  /** The name of a value of a map: its token, or its feature and step. */
  const namesOf = (exhibit, map) => (exhibit.inputs?.length === map.width ? exhibit.inputs : exhibit.features);
  const valueName = (exhibit, sequence, map, index) => {
    const step = Math.floor(index / map.width);
    if (Array.isArray(sequence.steps)) return `“${isolated(sequence.steps[step])}” (${step})`;
    return map.width > 1 ? `${isolated(namesOf(exhibit, map)[index % map.width])} at step ${step}` : `step ${step}`;
  };
  const largest = (exhibit, sequence, map) => {
    const values = unpacked(map);
    const order = [...values.keys()].filter((index) => values[index] !== 0 && values[index] !== EMPTY);
    order.sort((one, other) => Math.abs(values[other]) - Math.abs(values[one]) || one - other);
    const texts = order
      .slice(0, 4)
      .map((index) => `${valueName(exhibit, sequence, map, index)} ${short((values[index] / STEPS) * map.size)}`);
    return texts.length ? `Largest: ${texts.join(" · ")}` : "0 everywhere";
  };

  const tokens = (sequence, map) => {
    const values = unpacked(map);
    const spans = sequence.steps.map((step, index) => {
      const share = Math.abs(values[index]) / STEPS;
      const side = values[index] < 0 ? "down" : values[index] > 0 ? "up" : "";
      const number = short((values[index] / STEPS) * map.size);
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

  const heat = (exhibit, sequence, map, label, plain) => {
    const canvas = make("canvas", { role: "img", "aria-label": label });
    // the features of several inputs differ so much that their names are needed
    const least = exhibit.inputs && map.width <= 60 ? 12 : 5;
    const row = map.width === 1 ? 24 : Math.max(least, Math.min(16, 150 / map.width));
    canvas.style.height = `${Math.round(row * map.width)}px`;
    draw(canvas, map, plain);
    const names = map.width > 1 && map.width * 11 <= row * map.width ? namesOf(exhibit, map) : [];
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
      const heatmap = heat(exhibit, sequence, map, `${title}. ${most}`, plain);
      picture = heatmap.element;
      themed.push(heatmap.redraw);
      const values = unpacked(map);
      const steps = values.length / map.width;
      heatmap.canvas.addEventListener("pointermove", (event) => {
        if (plain) return;
        const box = heatmap.canvas.getBoundingClientRect();
        const at = (position, size, count) => Math.max(0, Math.min(count - 1, Math.floor((position / size) * count)));
        const step = at(event.clientX - box.left, box.width, steps);
        const index = step * map.width + at(event.clientY - box.top, box.height, map.width);
        const number = values[index] === EMPTY ? "no value" : short((values[index] / STEPS) * map.size);
        line.textContent = `${valueName(exhibit, sequence, map, index)}: ${number}`;
      });
      heatmap.canvas.addEventListener("pointerleave", () => (line.textContent = most));
    }
    return make("div", { class: `attribution ${kind}` }, heading, make("div", {}, picture, line));
  };

  const facts = (exhibit, sequence) => {
    const length = Array.isArray(sequence.steps) ? sequence.steps.length : sequence.steps;
    const cut = length < sequence.length ? ` (the first ${length} are shown)` : "";
    return (
      `Sequence ${sequence.place}, ${sequence.length} steps${cut}, model of seed ${exhibit.seed}. ` +
      `Explained output: ${isolated(sequence.explained)}. Correct output: ${isolated(sequence.target)}.`
    );
  };

  const show = () => {
    const exhibit = data.exhibits[Number(value("which-task"))];
    const sequence = exhibit.sequences[Number(value("which-sequence"))];
    const wanted = value("which-method");
    themed.length = 0;
    const parts = [make("p", { class: "facts" }, facts(exhibit, sequence))];
    if (sequence.inputs) {
      parts.push(entry(exhibit, sequence, sequence.inputs, "Inputs", "each feature from its minimum to its maximum", "", true));
    }
    if (sequence.truth) {
      const note = `${exhibit.reading.name}: ${exhibit.reading.semantics} of ${exhibit.reading.output}`;
      parts.push(entry(exhibit, sequence, sequence.truth, "Truth", note, "truth"));
    } else {
      parts.push(make("p", { class: "facts" }, "The truth is not known for this task."));
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
      fill(byId("which-sequence"), exhibit.sequences.map((sequence, index) => [String(index), `sequence ${sequence.place}`]));
      const methods = unique(exhibit.sequences.flatMap((sequence) => sequence.maps.map((map) => map.method)));
      fill(byId("which-method"), [["", "all methods"], ...methods.map((index) => [String(index), data.methods[index].name])]);
    };
    fill(byId("which-task"), data.exhibits.map((exhibit, index) => [String(index), data.tasks[exhibit.task].name]));
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

  // closed sections open when a link leads into them, and for printing
  const open = (element) => {
    for (let parent = element; parent; parent = parent.parentElement) if (parent.tagName === "DETAILS") parent.open = true;
  };
  const startOpening = () => {
    const follow = () => {
      const target = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
      if (target) open(target);
    };
    addEventListener("hashchange", follow);
    addEventListener("beforeprint", () => all("details").forEach((details) => (details.open = true)));
    // printing uses the light scheme
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
