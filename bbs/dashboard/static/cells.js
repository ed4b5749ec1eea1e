// The cells: as a map of heat by zone, as a table, and one of them.
import { h } from "./dom.js";
import { figure } from "./commands.js";
import { age, clock, megabytes } from "./format.js";
import { INSTANCE_COLUMNS, TASK_COLUMNS, appLink, card, cellLink, firstPage, instanceKey, pager, table } from "./parts.js";

const MEASURES = {
  memory: { title: "memory", used: "memory_mb", of: "memory_max_mb", told: (used, of) => `${megabytes(used)} of ${megabytes(of)}` },
  disk: { title: "disk", used: "disk_mb", of: "disk_max_mb", told: (used, of) => `${megabytes(used)} of ${megabytes(of)}` },
  containers: { title: "containers", used: "containers", of: "containers_max", told: (used, of) => `${used} of ${of}` },
};
const STEPS = [0.25, 0.5, 0.75, 0.9];
const MANY = 150;
const chosen = { measure: "memory", sort: "id", down: false };

const ORDER = new Intl.Collator("en", { numeric: true });

/** Rows come without the names of their values. */
function readCells(section) {
  return section.rows.map((row) => named(section.columns, row));
}

const named = (columns, row) => Object.fromEntries(columns.map((column, place) => [column, row[place]]));

function share(cell, measure) {
  const { used, of } = MEASURES[measure];
  return cell[of] ? cell[used] / cell[of] : 0;
}

const percent = (cell, measure) => `${Math.round(share(cell, measure) * 100)} %`;
const step = (part) => STEPS.filter((bound) => part >= bound).length;

export function heat(section) {
  const cells = readCells(section);
  const zones = [...Map.groupBy(cells, zoneOf)].sort(([one], [other]) => ORDER.compare(one, other));
  const { title, used, of, told } = MEASURES[chosen.measure];
  const many = cells.length > MANY;
  return [
    section.trouble ? h("p", { class: "bad" }, `As last known: ${section.trouble}`) : null,
    h("form", { class: "choice", "data-form": "measure" }, h("label", {}, "How full of", h("select", { name: "measure" },
      Object.keys(MEASURES).map((name) => h("option", { value: name, selected: name === chosen.measure }, MEASURES[name].title))))),
    many ? h("a", { class: "skip", href: "#after-the-map" }, "Skip the map of cells") : null,
    zones.map(([zone, inZone]) => [
      h("h3", { "data-key": `name ${zone}` }, zone, h("span", { class: "soft" }, ` ${inZone.length} ${inZone.length === 1 ? "cell" : "cells"}`)),
      h("ul", { class: many ? "heat many" : "heat", "data-key": `cells ${zone}` }, inZone.map((cell) => h("li", { "data-key": cell.id }, h("a", {
        class: cell.announced ? `h${step(share(cell, chosen.measure))}` : "gone",
        href: `#/cell?${new URLSearchParams({ cell: cell.id })}`,
        title: cell.announced ? `${cell.id}: ${told(cell[used], cell[of])} ${title}` : `${cell.id} is not announced`,
        "aria-label": cell.announced
          ? `${cell.id}, ${percent(cell, chosen.measure)} of ${title}, ${cell.containers} containers` : `${cell.id}, not announced, ${cell.containers} containers`,
      }, cell.announced ? Math.round(share(cell, chosen.measure) * 100) : "×"))))]),
    cells.length ? legend() : h("p", { class: "soft" }, "No cell is announced."),
  ];
}

const zoneOf = (cell) => (cell.announced ? cell.zone || "without a zone" : "not announced");

function legend() {
  const texts = ["below 25 %", "25 to 50", "50 to 75", "75 to 90", "90 % and more"];
  return h("ul", { class: "legend", id: "after-the-map", tabindex: "-1" }, texts.map((text, place) => h("li", {},
    h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, h("rect", { class: `fill-${place}`, width: 16, height: 16 })), ` ${text}`)),
  h("li", {}, "× is not announced"));
}

const COLUMNS = [
  { key: "id", title: "Cell", cell: (cell) => cellLink(cell.id) },
  { key: "zone", title: "Zone", cell: (cell) => (cell.announced ? cell.zone || "–" : h("span", { class: "bad" }, "not announced")) },
  { key: "running", title: "Running", number: true, cell: (cell) => about(cell, cell.running) },
  { key: "containers", title: "Containers", number: true, cell: (cell) => about(cell, MEASURES.containers.told(cell.containers, cell.containers_max)) },
  { key: "tasks", title: "Tasks", number: true, cell: (cell) => about(cell, cell.tasks) },
  { key: "memory_mb", title: "Memory", number: true, cell: (cell) => about(cell, MEASURES.memory.told(cell.memory_mb, cell.memory_max_mb)) },
  { key: "disk_mb", title: "Disk", number: true, cell: (cell) => about(cell, MEASURES.disk.told(cell.disk_mb, cell.disk_max_mb)) },
];
const about = (cell, value) => figure(value, "cell", { cell: cell.id });

export function cellsPage({ cells: section }) {
  const cells = readCells(section).sort((one, other) => compare(one[chosen.sort], other[chosen.sort]) * (chosen.down ? -1 : 1));
  const columns = COLUMNS.map((column) => ({
    ...column,
    sorted: column.key === chosen.sort ? (chosen.down ? "descending" : "ascending") : "none",
    head: h("button", { type: "button", "data-sort": column.key }, column.title),
  }));
  return [h("h1", {}, "Cells"), h("p", {},
    figure(section.announced, "cells"), " announced, ", figure(section.missing, "cells-missing", {}, section.missing ? "bad" : ""), " missing. ",
    "What is used is what the BBS has on a cell; what a rep says of itself is in ", h("code", {}, "bbs cells"), "."),
  card("By zone", heat(section)),
  card("As a table", table("All cells, and what is used of what they have", columns, cells, "No cell is announced.", (row) => row.id))];
}

function compare(one, other) {
  return typeof one === "string" ? ORDER.compare(one, other) : one - other;
}

/** Sort by a column; by the same one again, the other way round. */
export function sortBy(key) {
  chosen.down = chosen.sort === key ? !chosen.down : key !== "id" && key !== "zone";
  chosen.sort = key;
}

export function measureBy(measure) {
  if (measure in MEASURES) chosen.measure = measure;
}

export function cellPage({ cell }, parameters) {
  const row = named(cell.columns, cell.row);
  if (!cell.known) return [h("h1", {}, `Cell ${cell.id}`), h("p", {}, "No cell of that name is announced, and nothing is on one.")];
  return [h("h1", {}, `Cell ${cell.id}`),
    card("What it is", h("dl", { class: "facts" },
      fact("Zone", row.zone || "–"),
      fact("Announced", row.announced ? "yes" : h("span", { class: "bad" }, "no: the next pass places its instances elsewhere")),
      fact("Rep", cell.rep || "–"),
      fact("Containers", about(row, MEASURES.containers.told(row.containers, row.containers_max))),
      fact("Memory", about(row, MEASURES.memory.told(row.memory_mb, row.memory_max_mb))),
      fact("Disk", about(row, MEASURES.disk.told(row.disk_mb, row.disk_max_mb))),
      fact("Placement tags", [...cell.placement_tags, ...cell.optional_placement_tags.map((tag) => `${tag} (optional)`)].join(", ") || "–"),
      fact("Last failed call", cell.failure
        ? [figure(cell.failure.failures, "rep-failures"), ` failed; the last, ${cell.failure.call}, at ${clock(cell.failure.at_ns)}, `, figure(age(cell.failure.at_ns), "rep-failures"), ` ago: ${cell.failure.reason}`]
        : "none since this process began"))),
    card("Instances", table("Instances on this cell", [{ title: "App", cell: (each) => appLink(each.guid) },
      ...INSTANCE_COLUMNS.filter((column) => column.title !== "Cell")], cell.instances, "None.", instanceKey),
    pager("#/cell", parameters, { next: cell.next, previous: firstPage("#/cell", parameters) })),
    card("Tasks", table("Tasks that run on this cell", TASK_COLUMNS, cell.tasks, "None.", (row) => row.guid))];
}

export function fact(title, value) {
  return [h("dt", {}, title), h("dd", {}, value)];
}
