// Lines over time, as SVG. What a line says is also told as text: the newest values above it, and a table of the last minutes.
import { h } from "./dom.js";
import { figure, labelled } from "./commands.js";
import { clock } from "./format.js";

const WIDTH = 600;
const HEIGHT = 150;
const IN_TABLE = 12;

/** `series`: [{ title, values }], one value for each of `at`, null where there is none. `shown` makes a text of a value. */
export function plot({ title, command, at, series, shown }) {
  const values = series.flatMap((each) => each.values).filter((value) => value !== null);
  const top = Math.max(...values, 0) * 1.08 || 1;
  const last = at.length - 1;
  return h("figure", { class: "plot" },
    h("figcaption", {}, h("h3", {}, title),
      h("span", {}, series.map((each, place) => h("span", {}, place ? " · " : "", key(place), ` ${each.title} `,
        labelled(figure(last < 0 ? "–" : shown(each.values[last]), command), `${each.title}, ${title}`))))),
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": spoken(title, series, shown, last) },
      series.map((each, place) => h("path", { class: `line-${place % 5}`, d: path(each.values, top) }))),
    h("p", { class: "scale" }, h("span", {}, at.length ? `since ${clock(at[0])}` : "nothing yet: a point comes every five seconds"),
      h("span", {}, `full height is ${shown(top)}`)),
    at.length ? h("details", {}, h("summary", {}, "As a table"), table(title, command, at, series, shown)) : null);
}

function key(place) {
  return h("svg", { class: "key", viewBox: "0 0 20 6", "aria-hidden": "true" }, h("path", { class: `line-${place % 5}`, d: "M0 3H20" }));
}

function path(values, top) {
  let drawn = "";
  let pen = "M";
  const step = WIDTH / Math.max(values.length - 1, 1);
  values.forEach((value, place) => {
    if (value === null) { pen = "M"; return; }
    drawn += `${pen}${(place * step).toFixed(1)} ${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`;
    pen = "L";
  });
  return drawn;
}

function spoken(title, series, shown, last) {
  if (last < 0) return `${title}: nothing yet`;
  return `${title}: ${series.map((each) => `${each.title} ${shown(each.values[last])}`).join(", ")} now`;
}

function table(title, command, at, series, shown) {
  const places = [...at.keys()].slice(-IN_TABLE).reverse();
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": `${title} as a table` },
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "At"),
      series.map((each) => h("th", { scope: "col", class: "number" }, each.title)))),
      h("tbody", {}, places.map((place) => h("tr", {}, h("td", {}, clock(at[place])),
        series.map((each) => h("td", { class: "number" }, figure(shown(each.values[place]), command))))))));
}
