// What is drawn comes from draw.py: numbers in the units of their axis, colours by the names of the page's own.
"use strict";
const { times, charts } = JSON.parse(document.getElementById("data").textContent);
const narrow = matchMedia("(pointer: coarse)");
let shown = [times[0], times[times.length - 1]];
const drawn = new Set();
const clock = { type: "date", nticks: 7, tickformat: times[times.length - 1] - times[0] > 86400000 ? "%b %d %H:%M" : "%H:%M", hoverformat: "%H:%M:%S" };

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const colour = (name) => (/^[cs]-/.test(name) ? css(name) : name || css("text"));
const number = (suffix) => `%{y:,.4~r}${suffix.startsWith("%") || !suffix ? "" : " "}${suffix.trim()}`;

function faint(name, share) {
  // plotly reads no color-mix(): #rrggbb with its share of opacity.
  const [r, g, b] = colour(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  return `rgba(${r},${g},${b},${share})`;
}

function scale(axis, more) {
  return {
    type: axis.log ? "log" : "linear",
    range: axis.ends[0] !== null || axis.ends[1] !== null ? axis.ends : undefined,
    rangemode: "tozero",
    ticksuffix: axis.suffix && (axis.suffix.startsWith("%") ? axis.suffix : ` ${axis.suffix.trim()}`),
    title: axis.title ? { text: axis.title, font: { size: 11 } } : undefined,
    exponentformat: "none",
    nticks: 6,
    fixedrange: true,
    automargin: true,
    gridcolor: css("line"),
    zeroline: false,
    ...more,
  };
}

function overTime(chart) {
  const stacked = (trace) => trace.stacking && trace.drawn !== "bars";
  const data = chart.traces.map((trace) => ({
    type: trace.drawn === "bars" ? "bar" : "scatter",
    mode: trace.drawn === "points" ? "markers" : trace.y.filter((y) => y !== null).length < 2 ? "markers" : "lines",
    name: trace.name,
    x: times,
    y: trace.y,
    yaxis: trace.axis ? "y2" : "y",
    line: { color: colour(trace.colour), width: trace.width ?? 1.5, dash: trace.dash, shape: trace.steps ? "hv" : "linear" },
    marker: { color: colour(trace.colour), size: 4 },
    fill: trace.fill ? (stacked(trace) ? "tonexty" : "tozeroy") : "none",
    fillcolor: trace.fill ? faint(trace.colour, trace.fill) : undefined,
    stackgroup: stacked(trace) ? `${trace.axis}` : undefined,
    groupnorm: stacked(trace) && trace.stacking === "percent" ? "percent" : undefined,
    hovertemplate: number(trace.suffix),
  }));
  const layout = {
    barmode: chart.traces.some((trace) => trace.stacking) ? "stack" : "group",
    hovermode: "x unified",
    xaxis: { ...clock, range: [...shown], gridcolor: css("line"), fixedrange: narrow.matches, spikethickness: 1, spikedash: "solid", spikecolor: css("quiet") },
    yaxis: scale(chart.axes[0]),
    shapes: chart.lines.map((line) => ({
      type: "line", xref: "paper", x0: 0, x1: 1, y0: line.y, y1: line.y, line: { color: colour(line.colour), width: 1, dash: "dash" },
    })),
  };
  if (chart.axes[1]) layout.yaxis2 = scale(chart.axes[1], { overlaying: "y", side: "right", showgrid: false, tickmode: "auto" });
  return [data, layout];
}

function bars(chart) {
  const [x, y] = chart.across ? [chart.values, chart.names] : [chart.names, chart.values];
  const suffix = number(chart.axes[0].suffix);
  const data = [{
    type: "bar", orientation: chart.across ? "h" : "v", x, y, marker: { color: chart.colours.map(colour) },
    hovertemplate: `%{${chart.across ? "y" : "x"}}: ${chart.across ? suffix.replace("{y", "{x") : suffix}<extra></extra>`,
  }];
  const names = { type: "category", fixedrange: true, automargin: true, autorange: chart.across ? "reversed" : true };
  const values = scale(chart.axes[0]);
  return [data, chart.across ? { xaxis: values, yaxis: names } : { xaxis: names, yaxis: values }];
}

function heat(chart) {
  const data = [{
    type: "heatmap", x: times, y: chart.names, z: chart.values, showscale: false, hoverongaps: false,
    colorscale: [[0, css("card")], [0.02, faint("s-1", 0.25)], [1, colour("s-1")]],
    hovertemplate: "%{x|%H:%M:%S}, %{y}: %{z:.4~r}<extra></extra>",
  }];
  return [data, {
    xaxis: { ...clock, range: [...shown], fixedrange: narrow.matches, showgrid: false },
    yaxis: { type: "category", fixedrange: true, automargin: true, nticks: 8, showgrid: false },
  }];
}

function draw(element) {
  const chart = charts[element.dataset.chart];
  const [data, layout] = { time: overTime, bars, heat }[chart.kind](chart);
  const buttons = element.parentElement.querySelectorAll(".legend button");
  data.forEach((trace, index) => { if (buttons[index]?.ariaPressed === "false") trace.visible = false; });
  Object.assign(layout, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: narrow.matches ? false : "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: css("quiet") },
    margin: { l: 8, r: 10, t: 6, b: 22 },
    hoverlabel: { bgcolor: css("card"), bordercolor: css("line"), font: { color: css("text"), size: 11 }, namelength: 48 },
  });
  Plotly.react(element, data, layout, { displayModeBar: false, responsive: true, doubleClick: false });
  if (drawn.has(element)) return;
  drawn.add(element);
  element.on("plotly_relayout", (change) => {
    if (change["xaxis.range[0]"] && chart.kind !== "bars") show([change["xaxis.range[0]"], change["xaxis.range[1]"]], element);
  });
  element.on("plotly_doubleclick", () => show([times[0], times[times.length - 1]]));
  for (const button of buttons) button.addEventListener("click", () => toggle(element, buttons, button));
}

// All charts show the same time.
function show(range, except) {
  shown = range;
  for (const element of drawn) {
    if (element !== except && charts[element.dataset.chart].kind !== "bars") Plotly.relayout(element, { "xaxis.range": [...range] });
  }
}

function toggle(element, buttons, button) {
  button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
  Plotly.restyle(element, { visible: [...buttons].map((each) => each.ariaPressed === "true") });
}

async function load() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
  const program = document.createElement("script");
  program.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(program);
  const watcher = new IntersectionObserver((found) => {
    for (const { isIntersecting, target } of found) {
      if (isIntersecting) { watcher.unobserve(target); draw(target); }
    }
  }, { rootMargin: "400px" });
  for (const element of document.querySelectorAll(".chart")) watcher.observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
  window.addEventListener("beforeprint", () => document.querySelectorAll(".chart").forEach(draw));
}

for (const button of document.querySelectorAll(".times button")) {
  button.addEventListener("click", () => {
    const end = times[times.length - 1], seconds = Number(button.dataset.seconds);
    show([seconds ? end - 1000 * seconds : times[0], end]);
  });
}
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const here = new IntersectionObserver((found) => {
  for (const { isIntersecting, target } of found) {
    const link = links.get(target.id);
    link.classList.toggle("here", isIntersecting);
    if (isIntersecting) link.closest("ul").scrollLeft = link.offsetLeft - 40;
  }
}, { rootMargin: "-80px 0px -75% 0px" });
for (const section of document.querySelectorAll(".dashboard")) here.observe(section);
load();
