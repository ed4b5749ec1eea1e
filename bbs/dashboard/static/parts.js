// What several pages have in common: tables, links to apps, cells and tasks, states, plots.
import { h } from "./dom.js";
import { figure, labelled } from "./commands.js";
import { age, rate, seconds, until } from "./format.js";
import { plot } from "./plot.js";

export const STYLES = { RUNNING: "good", CLAIMED: "coming", UNCLAIMED: "waiting", CRASHED: "bad", Running: "good", Pending: "waiting" };

export const appLink = (guid) => h("a", { href: `#/app?${new URLSearchParams({ guid })}` }, guid);
export const cellLink = (cell) => (cell ? h("a", { href: `#/cell?${new URLSearchParams({ cell })}` }, cell) : "–");
export const taskLink = (task) => h("a", { href: `#/task?${new URLSearchParams({ task })}` }, task);

export function card(title, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title), ...content);
}

/** `columns`: [{ title, cell, number, style, head, sorted }]. `keyOf` tells rows apart, wherever they stand. */
export function table(caption, columns, rows, nothing, keyOf) {
  if (!rows.length) return h("p", { class: "soft" }, nothing);
  const style = (column) => [column.number && "number", column.style].filter(Boolean).join(" ") || undefined;
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: style(column), "aria-sort": column.sorted }, column.head ?? column.title)))),
      h("tbody", {}, rows.map((row) => h("tr", { "data-key": keyOf(row) }, columns.map((column) => h("td", { class: style(column) }, column.cell(row))))))));
}

export function pager(route, parameters, { next, nextName = "after", previous }) {
  const link = (text, change) => h("a", { href: `${route}?${new URLSearchParams({ ...parameters, ...change })}` }, text);
  if (next === null && previous === undefined) return null;
  return h("p", { class: "pager" },
    previous === undefined ? null : previous,
    next === null || next === undefined ? null : link("Next page", { [nextName]: next }));
}

/** Back to the first page, if this is another one. */
export function firstPage(route, parameters, name = "after") {
  if (!parameters[name]) return undefined;
  const { [name]: left, ...others } = parameters;
  return h("a", { href: `${route}?${new URLSearchParams(others)}` }, "First page");
}

export function state(row) {
  if (!row.state) return h("span", { class: "bad" }, "no instance");
  const presence = row.presence ? `${row.presence} ` : "";
  return h("span", { class: row.presence ? "waiting" : STYLES[row.state] }, `${presence}${row.state.toLowerCase()}`);
}

export const INSTANCE_COLUMNS = [
  { title: "Index", number: true, cell: (row) => row.index },
  { title: "State", cell: state },
  { title: "Cell", cell: (row) => cellLink(row.cell) },
  { title: "Zone", cell: (row) => row.zone || "–" },
  { title: "For", cell: (row) => (row.guid ? figure(age(row.since_ns), "app", { guid: row.guid }) : "–") },
  { title: "Crashes", number: true, cell: (row) => (row.guid ? figure(row.crashes, "app", { guid: row.guid }) : "–") },
];

export const instanceKey = (row) => `${row.guid} ${row.index} ${row.presence}`;

export const TASK_COLUMNS = [
  { title: "Task", cell: (row) => taskLink(row.guid) },
  { title: "Domain", cell: (row) => row.domain },
  { title: "State", cell: (row) => h("span", { class: row.failed ? "bad" : STYLES[row.state] }, row.failed ? `${row.state}, failed` : row.state) },
  { title: "Cell", cell: (row) => cellLink(row.cell) },
  { title: "For", cell: (row) => figure(age(row.created_ns), "task", { task: row.guid }) },
  { title: "Why", style: "why", cell: (row) => row.why },
];

export function convergence(passes) {
  if (!passes) return h("p", { class: "soft" }, "This process runs no convergence passes: the master does.");
  const { lrps, tasks } = passes;
  const when = passes.running ? h("p", {}, "Passes are running now.")
    : h("p", {}, passes.ended_ns ? ["The last passes ended ", figure(age(passes.ended_ns), "convergence"), " ago. "] : "No pass has run yet. ",
      passes.next_ns ? ["The next ones begin in ", figure(until(passes.next_ns), "convergence"), ", or as soon as a cell is lost."] : "");
  return [when, h("dl", { class: "figures" },
    line(figure(lrps.passes, "convergence"), "passes over instances, and so many over tasks"),
    line(figure(seconds(lrps.duration_s), "convergence"), "took the last one over instances"),
    line(figure(seconds(tasks.duration_s), "convergence"), "took the last one over tasks"),
    line(figure(lrps.missing, "passes"), "instances it found missing"),
    line(figure(lrps.extra, "passes"), "it found too many"),
    line(figure(lrps.suspect_cells, "passes"), "cells it found missing"))];
}

/** `number` is a link of `figure`, and `text` what it counts: words, or a link. */
export function line(number, text) {
  return [h("dt", {}, labelled(number, typeof text === "string" ? text : text.children.join(""))), h("dd", {}, text)];
}

export function plots(history) {
  const at = history.at_ns;
  const one = (title, values) => ({ title, values });
  return h("div", { class: "wide" },
    plot({ title: "Requests per second", command: "requests", at, shown: (value) => (value === null ? "–" : rate(value)),
      series: Object.entries(history.requests).map(([group, values]) => one(group, values)) }),
    plot({ title: "How long requests take", command: "requests", at, shown: seconds,
      series: [one("half of them", history.request_p50_s), one("99 of 100", history.request_p99_s)] }),
    plot({ title: "Transactions and rows per second", command: "rows", at, shown: (value) => (value === null ? "–" : rate(value)),
      series: [one("transactions", history.batches), one("rows", history.rows)] }),
    plot({ title: "How long transactions take", command: "batches", at, shown: seconds,
      series: [one("half of them", history.batch_p50_s), one("99 of 100", history.batch_p99_s)] }),
    plot({ title: "How late the event loop is", command: "lag", at, shown: seconds,
      series: [one("half of the time", history.lag_p50_s), one("99 of 100", history.lag_p99_s)] }),
    plot({ title: "Events sent per second", command: "published", at, shown: (value) => (value === null ? "–" : rate(value)),
      series: [one("events", history.events)] }));
}
