// Every page: what its view's sections look like.
import { h } from "./dom.js";
import { figure, labelled } from "./commands.js";
import { age, clock, megabytes } from "./format.js";
import { cellPage, cellsPage, fact, heat } from "./cells.js";
import { INSTANCE_COLUMNS, STYLES, TASK_COLUMNS, appLink, card, cellLink, convergence, firstPage, instanceKey, line, pager, plots, table, taskLink } from "./parts.js";

const STATES = ["RUNNING", "CLAIMED", "UNCLAIMED", "CRASHED"];
const TASK_STATES = ["Pending", "Running", "Completed", "Resolving"];
const WRONG = {
  missing: "missing instances", unclaimed: "instances that wait for a cell", crashed: "crashed instances", suspect: "suspect instances",
  extra: "too many instances", not_desired: "instances that nobody desires",
};

function fleet({ instances, tasks, domains, troubles, convergence: passes, cells, plots: history }) {
  return [h("h1", {}, "Fleet"),
    h("div", { class: "cards" },
      card("Instances", h("dl", { class: "figures" },
        STATES.map((name) => line(figure(instances.by_state[name], "instances", { state: name }, instances.by_state[name] ? STYLES[name] : ""), name.toLowerCase())),
        line(figure(instances.desired, "desired"), "desired"),
        line(figure(instances.processes, "processes"), h("a", { href: "#/apps" }, "processes")),
        line(figure(instances.missing, "missing", {}, instances.missing ? "bad" : ""), "missing"),
        line(figure(instances.evacuating, "presence", { presence: "EVACUATING" }), "evacuating"),
        line(figure(instances.suspect, "presence", { presence: "SUSPECT" }), "suspect"))),
      card("Tasks", h("dl", { class: "figures" }, TASK_STATES.map((name) =>
        line(figure(tasks[name], "tasks", { state: name }), h("a", { href: `#/tasks?state=${name}` }, name.toLowerCase()))))),
      card("Cells", h("dl", { class: "figures" },
        line(figure(cells.announced, "cells"), h("a", { href: "#/cells" }, "announced")),
        line(figure(cells.missing, "cells-missing", {}, cells.missing ? "bad" : ""), "missing"))),
      card("Domains", h("dl", { class: "figures" }, line(figure(domains.fresh, "domains"), "fresh")), domainList(domains))),
    h("div", { class: "wide" },
      card("What is wrong now", troubles.length
        ? h("ul", { class: "troubles" }, troubles.map(trouble)) : h("p", { class: "good" }, "Nothing: the fleet is as desired.")),
      card("Convergence", convergence(passes))),
    card("Cells by zone", heat(cells)),
    card("The last half hour", plots(history))];
}

function domainList(domains) {
  const rest = domains.count - domains.listed.length;
  return h("ul", {}, domains.listed.map((domain) => h("li", {}, domain.name,
    domain.fresh ? null : h("span", { class: "waiting" }, " not fresh"))),
  rest > 0 ? h("li", { class: "soft" }, "and ", figure(rest, "domains"), " more") : null);
}

function trouble(each) {
  return h("li", { class: each.severity === "bad" ? "is-bad" : undefined, "data-key": [each.command, ...Object.values(each.about)].join(" ") },
    h("span", { class: each.severity === "bad" ? "bad" : "waiting" }, figure(each.count, each.command, each.about)), ` ${each.what}. `,
    each.wrong ? h("a", { href: `#/apps?wrong=${each.wrong}`, "aria-label": `Which apps? Those with ${WRONG[each.wrong]}` }, "Which apps?") : null,
    each.cells.map((cell) => [" ", cellLink(cell)]),
    h("span", { class: "doing" }, `${each.doing}.`));
}

function apps({ apps: listed }, parameters) {
  return [h("h1", {}, "Apps"),
    h("form", { class: "choice", "data-form": "apps" },
      h("label", {}, "Process guid begins with", h("input", { name: "prefix", type: "search", autocomplete: "off" })),
      h("label", {}, "Only those with", h("select", { name: "wrong" }, h("option", { value: "" }, "anything"),
        Object.entries(WRONG).map(([name, text]) => h("option", { value: name, selected: parameters.wrong === name }, text)))),
      h("button", { type: "submit" }, "Show")),
    table("Apps by process guid", [
      { title: "App", cell: (app) => appLink(app.guid) },
      { title: "Domain", cell: (app) => app.domain },
      { title: "Desired", number: true, cell: (app) => (app.desired === null ? h("span", { class: "waiting" }, "not desired") : figure(app.desired, "app", { guid: app.guid })) },
      ...STATES.map((name) => ({ title: name.toLowerCase(), number: true, cell: (app) => (app.states === null ? "–"
        : figure(app.states[name], "app", { guid: app.guid }, app.states[name] ? STYLES[name] : "")) })),
      { title: "Memory each", number: true, cell: (app) => (app.memory_mb ? figure(megabytes(app.memory_mb), "app", { guid: app.guid }) : "–") },
    ], listed.apps, "There are none.", (row) => row.guid),
    pager("#/apps", parameters, { next: listed.next, previous: firstPage("#/apps", parameters) })];
}

function app({ app: one, convergence: passes }, parameters) {
  if (!one.known) return [h("h1", {}, one.guid), h("p", {}, "Nothing is known of it: it is not desired, and there are no instances.")];
  const { desired } = one;
  const number = (value) => figure(value, "app", { guid: one.guid });
  const command = figure("bbs lrp", "app", { guid: one.guid });
  return [h("h1", {}, one.guid),
    h("p", {}, one.as_desired === null ? one.headline : h("span", { class: one.as_desired ? "good" : "bad" }, one.headline), ". As a command: ", command, ". ",
      h("a", { href: `#/events?${new URLSearchParams({ guid: one.guid })}` }, "Its events")),
    one.about_all.map((text) => h("p", { class: "waiting" }, text)),
    h("div", { class: "wide" },
      card("What is desired", desired ? h("dl", { class: "facts" },
        fact("Domain", desired.domain), fact("Instances", number(desired.instances)), fact("Memory", number(megabytes(desired.memory_mb))),
        fact("Disk", number(megabytes(desired.disk_mb))), fact("Root file system", desired.rootfs),
        fact("Placement tags", desired.placement_tags.join(", ") || "–"), fact("Changes since it was desired", number(desired.changes)))
        : h("p", { class: "waiting" }, "Nobody desires it any more.")),
      card("Convergence", convergence(passes))),
    card("Instances", table("Instances by index, and why they are not as desired", [...INSTANCE_COLUMNS, { title: "Why", style: "why", cell: (row) => row.why }],
      one.instances, "There are none.", instanceKey),
    pager("#/app", parameters, { next: one.next, nextName: "start", previous: firstPage("#/app", parameters, "start") }))];
}

function tasks({ counts, tasks: listed }, parameters) {
  const link = (name, text) => h("a", { href: name ? `#/tasks?state=${name}` : "#/tasks", "aria-current": (parameters.state ?? "") === name ? "true" : undefined }, text);
  return [h("h1", {}, "Tasks"),
    h("p", { class: "choice" }, link("", "all"), TASK_STATES.map((name) => h("span", {}, link(name, name.toLowerCase()), " ", labelled(figure(counts[name], "tasks", { state: name }), name.toLowerCase())))),
    table("Tasks by guid", TASK_COLUMNS, listed.tasks, "There are none.", (row) => row.guid),
    pager("#/tasks", parameters, { next: listed.next, previous: firstPage("#/tasks", parameters) })];
}

function task({ task: { guid, row } }) {
  if (!row) return [h("h1", {}, guid), h("p", {}, "There is no such task: it never was, or it is over and was told of.")];
  const number = (value) => figure(value, "task", { task: guid });
  return [h("h1", {}, `Task ${guid}`), card("As it is", h("dl", { class: "facts" },
    fact("Domain", row.domain), fact("State", row.failed ? h("span", { class: "bad" }, `${row.state}, failed`) : row.state),
    fact("Cell", cellLink(row.cell)), fact("Why", row.why || "–"),
    fact("Desired", [number(age(row.created_ns)), " ago"]), fact("Changed", [number(age(row.updated_ns)), " ago"]),
    fact("Over", row.completed_ns ? [number(age(row.completed_ns)), " ago"] : "not yet"),
    fact("Refused by the auctioneer", [number(row.rejections), " times"]),
    fact("Result", row.result_bytes ? [number(row.result_bytes), " characters, which are not shown here"] : "none"),
    fact("Somebody is told of its end", row.callback ? "yes" : "no"),
    fact("Memory", number(megabytes(row.memory_mb))), fact("Disk", number(megabytes(row.disk_mb))), fact("Root file system", row.rootfs || "–"),
    row.unreadable ? fact("Definition", h("span", { class: "bad" }, "can't be read")) : null))];
}

function server({ plots: history, convergence: passes, store, hubs }) {
  const at = (path, text) => h("li", {}, h("a", { href: path }, text));
  return [h("h1", {}, "Server"), card("The last half hour", plots(history)),
    h("div", { class: "wide" }, card("Convergence", convergence(passes)),
      card("Writes and streams", h("dl", { class: "figures" },
        line(figure(store.staged_rows, "staged-rows"), "rows wait for the database"),
        line(figure(store.retries, "write-retries"), "transactions were tried again since the start"),
        line(figure(store.failed_outcomes, "failed-writes"), "changes could not be written since the start"),
        Object.entries(hubs.subscribers).map(([hub, subscribers]) => line(figure(subscribers, "subscribers", { hub }), `subscribers of ${hub} events`)),
        line(figure(hubs.cut_off, "cut-off"), "subscribers were too slow, and cut off")))),
    card("Also on this port", h("ul", {}, at("/metrics", "metrics for Prometheus"), at("/rep-failures", "the last failed call of each cell's rep"),
      at("/debug/pprof/", "profiles")))];
}

export const PAGES = { fleet, apps, app, cells: cellsPage, cell: cellPage, tasks, task, server };

const KINDS = { app: "apps", instance: "instances", crash: "crashes", task: "tasks" };

/** The page of events: `kept` are those that came, the newest first. */
export function eventsPage({ kept, leftOut, paused, part }, parameters) {
  const kinds = parameters.kind ? parameters.kind.split(",") : Object.keys(KINDS);
  const place = (each) => (each.kind === "task" ? taskLink(each.guid) : appLink(each.guid));
  return [h("h1", {}, "Events"),
    h("form", { class: "choice", "data-form": "events" },
      Object.entries(KINDS).map(([kind, text]) => h("label", { class: "tick" }, h("input", { type: "checkbox", name: "kind", value: kind, checked: kinds.includes(kind) }), text)),
      h("label", {}, "Guid contains", h("input", { name: "guid", type: "search", autocomplete: "off" })),
      h("label", {}, "Cell", h("input", { name: "cell", type: "search", autocomplete: "off" })),
      h("button", { type: "submit" }, "Show"),
      h("button", { type: "button", "data-pause": "events" }, paused ? "Go on" : "Hold still")),
    h("p", { class: "soft" }, part === "standby" ? "A standby tells of no events; they begin when it becomes master. " : "",
      "A BBS keeps no history: this is what came while this page was open and seen, the newest first. ", figure("bbs events", "events"), " shows the same in a terminal."),
    leftOut ? h("p", { class: "waiting" }, figure(leftOut, "events"), " events are not shown: more came than can be read, or they came while the page was held still.") : null,
    kept.length ? h("ol", { class: "events" }, kept.map((each) => h("li", { "data-key": each.key },
      h("time", { datetime: new Date(each.at_ns / 1e6).toISOString() }, clock(each.at_ns)), h("span", { class: each.style }, each.text), " ", place(each), each.cells.map((cell) => [" ", cellLink(cell)]))))
      : h("p", { class: "soft" }, "Nothing has come yet.")];
}

/** A command by itself, for a link that was opened in a new tab. */
export function commandPage(line, prints) {
  if (!line) return message("There is no such command", "A number of the dashboard links to each that there is.");
  return [h("h1", {}, "The command that prints this"), h("p", {}, prints), h("pre", { tabindex: "0" }, h("code", {}, line))];
}

/** A page that has nothing to show, and why. */
export function message(title, ...words) {
  return [h("h1", {}, title), h("p", {}, words)];
}
