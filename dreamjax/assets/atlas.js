"use strict";
const $ = (id) => document.getElementById(id);
const index = JSON.parse($("data").textContent);
const COLORS = { main: "#2a7bd1", variant: "#8a8f98", negative: "#d9663a" };
const NAMES = { main: "picture", variant: "variant", negative: "negative" };
const PAGE = 2000;  // search results at most

// Data: a script for each layer, and one with the classes of a network ---------------

const loaded = new Map();
const waiting = new Map();
window.atlasData = (key, value) => waiting.get(key)?.(value);

function load(path, key, version = "") {
  if (!loaded.has(key)) {
    loaded.set(key, new Promise((resolve, reject) => {
      waiting.set(key, resolve);
      const script = document.createElement("script");
      script.src = path + (version ? "?v=" + version : "");
      script.onerror = () => { loaded.delete(key); reject(new Error(path)); };
      document.head.append(script);
    }));
  }
  return loaded.get(key);
}

const network = (folder) => index.networks.find((n) => n.folder === folder);
const layerOf = (net, stem) => net?.layers.find((l) => l.stem === stem);
const layerData = (net, layer) => load(`${encodeURIComponent(net.folder)}/` +
  `${encodeURIComponent(layer.stem)}.js`, `${net.folder}/${layer.stem}`, layer.version);
const classData = (net) =>
  load(`${encodeURIComponent(net.folder)}/classes.js`, `${net.folder}/classes`);

// Helpers ----------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const hash = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");
const link = (to, ...inside) => make("a", { href: to }, ...inside);

function short(v, digits = 3) {
  if (typeof v !== "number") return v ?? "";
  if (Number.isInteger(v) && Math.abs(v) < 1e6) return String(v);
  if (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e6)) {
    return v.toExponential(digits - 1);
  }
  return String(Number(v.toPrecision(digits)));
}

const percent = (v) => v >= 0.9995 ? "100 %" : v < 1e-4 ? "< 0.01 %"
  : `${short(100 * v, 2)} %`;
const metric = (name) => index.metrics.find((m) => m.name === name);
const size = (shape) => shape.join(" × ");

// Sprites: the sheet of a tile is fetched when the tile comes near the window ---------

const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    const tile = entry.target;
    tile.style.backgroundImage = `url("${tile.dataset.sheet}")`;
    watch.unobserve(tile);
  }
}, { rootMargin: "400px" });

function sprite(net, sheet, i, label) {
  const number = Math.floor(i / sheet.per);
  const inside = i % sheet.per;
  const count = Math.min(sheet.per, sheet.count - number * sheet.per);
  const columns = Math.min(sheet.columns, count);
  const rows = Math.ceil(count / sheet.columns);
  const [x, y] = [inside % sheet.columns, Math.floor(inside / sheet.columns)];
  const part = (place, all) => all > 1 ? 100 * place / (all - 1) : 0;
  return make("span", {
    class: "tile", role: "img", "aria-label": label,
    "data-sheet": encodeURIComponent(net.folder) + "/" +
      encodeURIComponent(sheet.files[number]),
    style: `aspect-ratio: ${sheet.tile[1]} / ${sheet.tile[0]};` +
      `background-size: ${100 * columns}% ${100 * rows}%;` +
      `background-position: ${part(x, columns)}% ${part(y, rows)}%`,
  });
}

const nameOf = (layer, channel) =>
  `${layer.tap}:${channel.unit}${channel.label ? " " + channel.label : ""}`;

// A channel that photos leave constant has no spread to measure a score by.
function trouble(channel) {
  const { status } = channel.pictures[0];
  if (status !== "alive") return status;
  const { photo_mean: mean, score_z: z } = channel.metrics;
  return mean !== undefined && z === undefined ? "constant on photos" : "";
}

function card(net, layer, data, i, extra = null) {
  const channel = data.channels[i];
  return make("figure", {},
    make("a", { href: hash("channel", net.folder, layer.stem, channel.unit) },
      sprite(net, data.main, i, `Picture of ${nameOf(layer, channel)}`),
      make("figcaption", {}, make("b", {}, String(channel.unit)),
        channel.label ? " " + channel.label : "",
        extra === null ? "" : make("span", { class: "faint" }, ` · ${extra}`),
        make("span", { class: "bad" }, ` ${trouble(channel)}`))));
}

// Views ------------------------------------------------------------------------------

function viewIndex() {
  const out = [];
  const shown = index.shown.map(metric);
  for (const net of index.networks) {
    const channels = net.layers.reduce((sum, layer) => sum + layer.count, 0);
    out.push(make("h2", {}, net.name),
      make("p", { class: "faint" }, `${net.layers.length} layers, ` +
        `${channels.toLocaleString("en")} channels` +
        (net.parameters ? `, ${net.parameters.toLocaleString("en")} parameters` : "") +
        ". Numbers are medians over the channels shown. "));
    out.push(make("div", { class: "scroll" }, make("table", { class: "layers" },
      make("thead", {}, make("tr", {},
        ...["layer", "pictures"].map((t) => make("th", { scope: "col" }, t)),
        ...["map × channels", "shown", ...shown.map((m) => m.title)]
          .map((t) => make("th", { class: "n", scope: "col" }, t)))),
      make("tbody", {}, ...net.layers.map((layer) => {
        const to = hash("layer", net.folder, layer.stem);
        return make("tr", {},
          make("td", {}, link(to, layer.tap)),
          make("td", {}, make("a", { href: to, tabindex: "-1", "aria-hidden": "true" },
            make("img", { src: layer.preview.file, alt: "", loading: "lazy",
              width: layer.preview.width, height: layer.preview.height }))),
          make("td", { class: "n" }, size(layer.shape)),
          make("td", { class: "n" }, String(layer.count)),
          ...shown.map((m) =>
            make("td", { class: "n" }, short(layer.summary[m.name]?.[1]))));
      })))));
  }
  if (!index.networks.length) out.push(make("p", {}, "The atlas is empty so far."));
  return { title: "Layer atlas", crumbs: [], content: out };
}

function value(channel, name) {
  if (name === "unit") return channel.unit;
  if (name === "top_probability") return channel.classes[0]?.[1];
  return channel.metrics[name];
}

function ordered(data, name, down) {
  const order = data.channels.map((_, i) => i);
  if (!name) return order;
  const key = (i) => value(data.channels[i], name) ?? -Infinity;
  return order.sort((a, b) => (down ? key(b) - key(a) : key(a) - key(b)) || a - b);
}

async function viewLayer(folder, stem, by = "") {
  const net = network(folder);
  const layer = layerOf(net, stem);
  if (!layer) return missing(`layer ${stem} of ${folder}`);
  const data = await layerData(net, layer);
  const at = net.layers.indexOf(layer);
  const label = metric(by) && !["", "unit"].includes(by);
  const select = make("select", { id: "sort",
    onchange: (event) => {
      const parts = ["layer", folder, stem];
      location.hash = hash(...parts, ...(event.target.value ? [event.target.value] : []));
    },
  }, make("option", { value: "" }, "as made"), make("option", { value: "unit" }, "channel"),
  ...index.metrics.map((m) => make("option", { value: m.name }, m.title)));
  select.value = metric(by) || by === "unit" ? by : "";
  const content = [
    make("h2", {}, `${layer.tap} of ${net.name}`),
    make("p", { class: "faint" }, `${size(layer.shape)}; pictures of ` +
      `${size(data.size)} px after ${data.steps} steps of ${data.objective}`),
    make("div", { class: "bar" },
      make("label", {}, "Sort", select),
      make("span", { class: "faint" }, `${layer.count} of ` +
        `${layer.shape[layer.shape.length - 1]} channels`),
      link(hash("compare", folder, stem, folder, net.layers[at ? at - 1 : at + 1]?.stem
        ?? stem), "beside another layer")),
    make("div", { class: "grid" }, ...ordered(data, by, by !== "unit").map((i) =>
      card(net, layer, data, i, label ? short(value(data.channels[i], by)) : null))),
  ];
  const around = (step) => net.layers[at + step] &&
    hash("layer", folder, net.layers[at + step].stem);
  return { title: layer.tap, content, crumbs: [link("#/", net.name), layer.tap],
    previous: around(-1), next: around(1), up: "#/" };
}

function curve(pictures) {
  const drawn = pictures.filter((p) => p.curve.length > 1);
  if (!drawn.length) return null;
  const points = drawn.flatMap((p) => p.curve);
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const [low, high] = [Math.min(0, ...ys), Math.max(0, ...ys)];
  const last = Math.max(...xs);
  const x = (v) => 52 + 570 * v / last;
  const y = (v) => 190 - 172 * (v - low) / (high - low || 1);
  const ns = "http://www.w3.org/2000/svg";
  const element = (tag, attributes, text = "") => {
    const made = document.createElementNS(ns, tag);
    Object.entries(attributes).forEach(([k, v]) => made.setAttribute(k, v));
    made.textContent = text;
    return made;
  };
  const svg = element("svg", { class: "curve", viewBox: "0 0 640 226", role: "img",
    "aria-label": "Score against step; final scores " +
      drawn.map((p) => `${NAMES[p.kind]} ${short(p.curve.at(-1)[1])}`).join(", ") });
  for (const v of [low, 0, high]) {
    svg.append(element("path", { class: "axis", d: `M52 ${y(v)}H622` }),
      element("text", { x: 46, y: y(v) + 4, "text-anchor": "end" }, short(v)));
  }
  svg.append(element("text", { x: 52, y: 206, "text-anchor": "middle" }, "0"),
    element("text", { x: 622, y: 206, "text-anchor": "end" }, `${last} steps`));
  for (const picture of [...drawn].reverse()) {
    svg.append(element("path", { stroke: COLORS[picture.kind], d: "M" +
      picture.curve.map((p) => `${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("L"),
    }));
  }
  return make("div", {}, svg, make("p", { class: "faint" },
    ...[...new Set(drawn.map((p) => p.kind))].map((kind) => make("span", {},
      make("span", { class: "key", style: `background: ${COLORS[kind]}` }),
      NAMES[kind] + "\u2003"))));
}

function classTable(net, tops, labels) {
  if (!tops.length) return null;
  return make("table", {}, ...tops.map(([number, share]) => make("tr", {},
    make("th", { scope: "row" },
      link(hash("class", net.folder, number), labels[number] ?? `class ${number}`)),
    make("td", {}, make("span", { class: "meter",
      style: `width: ${Math.max(1, 90 * share)}px` }), percent(share)))));
}

async function viewChannel(folder, stem, unit) {
  const net = network(folder);
  const layer = layerOf(net, stem);
  if (!layer) return missing(`layer ${stem} of ${folder}`);
  const [data, classes] = await Promise.all([layerData(net, layer),
    net.classes ? classData(net) : { labels: [] }]);
  const i = data.channels.findIndex((c) => String(c.unit) === unit);
  if (i < 0) return missing(`channel ${unit} of ${layer.tap}`);
  const channel = data.channels[i];
  const extra = channel.pictures.length - 1;
  const name = nameOf(layer, channel);
  const others = channel.pictures.slice(1).map((picture, j) => make("figure", {},
    sprite(net, data.more, i * extra + j, `${NAMES[picture.kind]} of ${name}`),
    make("figcaption", {}, make("b", {}, NAMES[picture.kind]),
      picture.kind === "variant" ? (picture.image ? ` image ${picture.image}`
        : ` seed ${picture.seed}`) : ` of ${data.twin}`,
      make("span", { class: "faint" }, ` · score ${short(picture.score)}`),
      picture.status === "alive" ? "" : make("span", { class: "bad" },
        " " + picture.status))));
  const facts = index.metrics.map((m) => m.name).filter((m) => m in channel.metrics);
  const around = (step) => data.channels[i + step] &&
    hash("channel", folder, stem, data.channels[i + step].unit);
  const arrow = (to, text, label) => to ? make("a", { href: to, "aria-label": label },
    text) : make("span", { class: "faint", "aria-hidden": "true" }, text);
  const content = [
    make("div", { class: "bar" }, make("h2", {}, name),
      channel.label ? link(hash("class", folder, channel.unit), "class page") : null,
      make("span", { class: "step" }, arrow(around(-1), "← previous", "Previous channel"),
        make("span", { class: "faint" }, `${i + 1} of ${layer.count}`),
        arrow(around(1), "next →", "Next channel"))),
    make("div", { class: "channel" },
      make("div", {},
        sprite(net, data.main, i, `Picture of ${name}`),
        trouble(channel) ? make("p", { class: "bad" }, trouble(channel)) : null,
        others.length ? make("div", { class: "others" }, ...others) : null),
      make("div", { class: "facts" },
        channel.classes.length ? make("h3", {}, "What the network sees in the picture")
          : null,
        classTable(net, channel.classes, classes.labels),
        make("h3", {}, "Score while it was made"), curve(channel.pictures) ?? "no log",
        make("h3", {}, "Numbers"),
        make("table", {}, ...facts.map((key) => make("tr", {},
          make("th", { scope: "row" }, metric(key)?.title ?? key,
            metric(key)?.meaning ? make("small", {}, metric(key).meaning) : ""),
          make("td", {}, short(channel.metrics[key], 4))))),
        make("p", { class: "faint" }, data.objective))),
  ];
  return { title: name, content, previous: around(-1), next: around(1),
    up: hash("layer", folder, stem),
    crumbs: [link("#/", net.name), link(hash("layer", folder, stem), layer.tap), unit] };
}

async function viewClass(folder, text) {
  const net = network(folder);
  if (!net?.classes) return missing(`classes of ${folder}`);
  const classes = await classData(net);
  const number = Number(text);
  const label = classes.labels[number];
  if (label === undefined) return missing(`class ${text}`);
  const own = classes.own[number];
  const entries = classes.seen[number] ?? [];
  const stems = [...new Set([...(own ? [own[0]] : []), ...entries.map((e) => e[0])])];
  const held = new Map(await Promise.all(stems.filter((s) => layerOf(net, s))
    .map(async (s) => [s, await layerData(net, layerOf(net, s))])));
  const show = ([stem, unit, share]) => {
    const data = held.get(stem);
    const i = data?.channels.findIndex((c) => c.unit === unit) ?? -1;
    if (i < 0) return null;
    const layer = layerOf(net, stem);
    return card(net, layer, data, i,
      share === undefined ? null : `${layer.tap} ${percent(share)}`);
  };
  const content = [make("h2", {}, `${label} · class ${number} of ${net.name}`)];
  content.push(make("h3", {}, "The class itself"));
  content.push(own ? make("div", { class: "grid" }, show([own[0], own[1]]))
    : make("p", { class: "faint" }, "The atlas has no picture of it."));
  const rest = entries.filter((e) => !own || e[0] !== own[0] || e[1] !== own[1]);
  content.push(make("h3", {}, "Channels in whose picture the network sees it"));
  content.push(rest.length ? make("div", { class: "grid" },
    ...rest.slice(0, PAGE).map(show))
    : make("p", { class: "faint" }, "It is in the top classes of no channel here."));
  return { title: label, content, crumbs: [link("#/", net.name), label], up: "#/" };
}

function layerSelect(label, chosen, act) {
  const select = make("select", { "aria-label": label,
    onchange: (event) => act(...event.target.value.split("/").map(decodeURIComponent)),
  }, ...index.networks.map((net) => make("optgroup", { label: net.name },
    ...net.layers.map((layer) => make("option",
      { value: [net.folder, layer.stem].map(encodeURIComponent).join("/") }, layer.tap)))));
  select.value = chosen.map(encodeURIComponent).join("/");
  return select;
}

async function viewCompare(...four) {
  const first = index.networks.find((n) => n.layers.length);
  if (!first) return viewIndex();
  if (four.length < 4) {
    const other = index.networks.filter((n) => n.layers.length)[1] ?? first;
    four = [first.folder, first.layers[0].stem, other.folder, other.layers.at(-1).stem];
  }
  const sides = [four.slice(0, 2), four.slice(2, 4)];
  const columns = await Promise.all(sides.map(async ([folder, stem], side) => {
    const net = network(folder);
    const layer = layerOf(net, stem);
    if (!layer) return make("div", {}, `There is no layer ${stem} of ${folder}.`);
    const data = await layerData(net, layer);
    const act = (f, s) => {
      const now = [...sides];
      now[side] = [f, s];
      location.hash = hash("compare", ...now.flat());
    };
    return make("div", {},
      make("div", { class: "bar" }, layerSelect(`Layer ${side + 1}`, [folder, stem], act),
        link(hash("layer", folder, stem), "open")),
      make("p", { class: "faint" }, `${net.name}, ${size(layer.shape)}`),
      make("div", { class: "grid" },
        ...data.channels.slice(0, 64).map((_, i) => card(net, layer, data, i))));
  }));
  const layers = sides.map(([f, s]) => layerOf(network(f), s)).filter(Boolean);
  const rows = index.metrics.filter((m) => layers.some((l) => l.summary[m.name]));
  const cell = (layer, m) => {
    const found = layer.summary[m.name];
    return make("td", { class: "n" },
      found ? `${short(found[1])} (${short(found[0])} … ${short(found[2])})` : "–");
  };
  const content = [
    make("h2", {}, "Layers side by side"),
    make("p", {}, "Scores are activations, and each layer has its own scale: the rows " +
      "“score” and “score without transforms” say nothing about one layer against " +
      "another. Compare scores against photos instead: how far a picture drives a " +
      "channel beyond what photos do, in the channel's own standard deviations, or " +
      "as a ratio to the photo it likes best."),
    make("div", { class: "pair" }, ...columns),
    make("h3", {}, "Medians (and quartiles)"),
    make("div", { class: "scroll" }, make("table", {}, make("tr", {}, make("th", {}, ""),
      ...layers.map((l) => make("th", { class: "n", scope: "col" }, l.tap))),
    ...rows.map((m) => make("tr", {},
      make("th", { scope: "row", title: m.meaning },
        m.title + (m.absolute ? " (each layer its own scale)" : "")),
      ...layers.map((l) => cell(l, m)))))),
    make("h3", {}, "Depth against numbers"),
    make("p", { class: "faint" }, "Lines are medians over a layer's channels, bands the " +
      "quartiles. Tables: ", link("layers.csv", "layers.csv"), ", ",
    link("channels.csv", "channels.csv"), "."),
    make("div", { class: "plots" }, ...index.metrics.filter((m) => m.plot).map((m) =>
      make("figure", {}, link(`plots/${encodeURIComponent(m.plot)}.svg`,
        make("img", { src: `plots/${encodeURIComponent(m.plot)}.svg`, loading: "lazy",
          width: 640, height: 400, alt: `Depth in the network against ${m.title}` })),
      make("figcaption", {}, make("b", {}, m.title),
        m.meaning ? `: ${m.meaning}` : "")))),
  ];
  return { title: "Compare", content, crumbs: ["Compare"], up: "#/" };
}

const has = (layer, unit) => layer.units.some(([a, b]) => a <= unit && unit <= b);

async function viewSearch(text) {
  const words = text.trim().toLowerCase();
  const [, before, unit] = /^(?:(.*):)?\s*(\d+)$/.exec(words) ?? [null, words, null];
  const layers = [];
  const channels = [];
  const classes = [];
  for (const net of index.networks) {
    for (const layer of net.layers) {
      const tap = layer.tap.toLowerCase();
      if (unit === null ? tap.includes(words) : tap === words) layers.push([net, layer]);
      if (unit !== null && has(layer, Number(unit)) &&
          (before === undefined || tap.includes(before.trim()))) {
        channels.push([net, layer]);
      }
    }
    if (net.classes && words && before !== undefined || net.classes && unit === null) {
      const found = (await classData(net)).labels;
      found.forEach((label, i) => {
        if (label.toLowerCase().includes(words)) classes.push([net, i, label]);
      });
    }
  }
  const several = index.networks.length > 1;
  const part = (title, found, item) => found.length ? [
    make("h3", {}, `${title} (${found.length})`),
    make("ul", { class: "list" }, ...found.slice(0, PAGE).map((f) => make("li", {},
      item(...f), several ? make("span", { class: "faint" }, ` ${f[0].name}`) : "")))]
    : [];
  const content = [make("h2", {}, `Search: ${text}`),
    ...part("Layers", layers, (n, l) => link(hash("layer", n.folder, l.stem), l.tap)),
    ...part("Channels", channels, (n, l) =>
      link(hash("channel", n.folder, l.stem, unit), `${l.tap}:${unit}`)),
    ...part("Classes", classes, (n, i, label) => link(hash("class", n.folder, i), label))];
  if (content.length === 1) {
    content.push(make("p", {}, "Nothing found. Try a layer (b5), a channel (12), " +
      "both (b5:12), or a class (espresso)."));
  }
  return { title: "Search", content, crumbs: ["Search"], up: "#/" };
}

const missing = (what) => ({ title: "Not here", crumbs: [], up: "#/",
  content: [make("h2", {}, "Not in this atlas"), make("p", {}, `There is no ${what}.`),
    make("p", {}, link("#/", "To all layers"))] });

// Routes: what is after # says all, so that links, reload and the back button work ----

const VIEWS = { "": viewIndex, layer: viewLayer, channel: viewChannel,
  class: viewClass, compare: viewCompare, search: viewSearch };
let now = {};
let turn = 0;

async function route(event) {
  if (location.hash === "#main") return;
  const mine = ++turn;
  let parts;
  try {
    parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch { parts = ["?"]; }
  const [name, ...rest] = parts;
  let view;
  try {
    const make_ = Object.hasOwn(VIEWS, name) ? VIEWS[name] : () => missing("such page");
    view = await make_(...rest);
  } catch (error) {
    view = missing(`file ${error.message}`);
    if (!(error instanceof Error) || error.stack?.includes("TypeError")) throw error;
  }
  if (mine !== turn) return;  // the reader has gone on
  now = view;
  watch.disconnect();
  $("main").replaceChildren(...view.content);
  $("main").querySelectorAll(".tile").forEach((tile) => watch.observe(tile));
  $("crumbs").replaceChildren(...view.crumbs.flatMap((c, i) => i ? [" › ", c] : [c]));
  document.title = view.title;
  if (name === "search") $("query").value = rest[0] ?? "";
  else if (document.activeElement !== $("query")) $("query").value = "";
  if (event) {
    scrollTo(0, 0);
    if (document.activeElement !== $("query")) $("main").focus({ preventScroll: true });
  }
  document.documentElement.dataset.ready = location.hash || "#/";
}

addEventListener("hashchange", route);
$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("query").value.trim();
  if (text) location.hash = hash("search", text);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const to = { ArrowLeft: now.previous, ArrowRight: now.next, Escape: now.up,
    ArrowUp: scrollY === 0 ? now.up : undefined }[event.key];
  if (event.key === "/") { $("query").focus(); event.preventDefault(); }
  if (to) { location.hash = to; event.preventDefault(); }
});
addEventListener("unhandledrejection", () => {
  document.documentElement.dataset.error = "1";
});
route().then(() => {
  document.documentElement.dataset.opened = String(Math.round(performance.now()));
});
