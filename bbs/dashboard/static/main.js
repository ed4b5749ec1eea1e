// Which page is shown, and the stream that fills it. A stream that breaks is opened again until it works; what is shown meanwhile
// is marked as old. A page that nobody sees has no stream.
import { patch } from "./dom.js";
import * as commands from "./commands.js";
import { setClock, tick } from "./format.js";
import { measureBy, sortBy } from "./cells.js";
import { PAGES, commandPage, eventsPage } from "./pages.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const RETRY_MS = 2000;
const HIDDEN_MS = 30000;
const KEPT = 200;

let route = { name: "", parameters: {} };
let stream = null;
let sections = {};
let happened = { kept: [], leftOut: 0, paused: false };
let version = null;
let retry = null;
let hidden = null;
let drawing = false;

function readRoute() {
  const found = /^#\/([a-z]*)(?:\?(.*))?$/.exec(location.hash || "#/");
  return found && { name: found[1] || "fleet", parameters: Object.fromEntries(new URLSearchParams(found[2] ?? "")) };
}

function go() {
  const command = commands.parse(location.hash);
  if (command) {
    close();
    patch(main, ...commandPage(commands.lineOf(command.name, command.about), "what the number that was clicked says"));
    return;
  }
  const next = readRoute();
  if (!next) return; // the link that skips to the page
  route = next;
  sections = {};
  happened = { kept: [], leftOut: 0, paused: false };
  for (const link of document.querySelectorAll("#pages a")) {
    const name = link.hash.slice(2) || "fleet";
    if (name === route.name || name === `${route.name}s`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${{ fleet: "Fleet" }[route.name] ?? route.parameters.guid ?? route.parameters.cell ?? route.parameters.task ?? route.name} – BBS`;
  open();
  draw();
  for (const form of main.querySelectorAll("form[data-form]")) fill(form);
}

/** What a form's fields show is what the address says. */
function fill(form) {
  for (const field of form.elements) if (field.type === "search") field.value = route.parameters[field.name] ?? "";
}

function open() {
  close();
  const { kind, ...parameters } = route.parameters;
  const words = new URLSearchParams(parameters);
  if (route.name === "events") {
    for (const each of kind?.split(",") ?? []) words.append("kind", each);
    stream = new EventSource(`/dashboard/events?${words}`);
  } else if (route.name in PAGES) stream = new EventSource(`/dashboard/live/${route.name}?${words}`);
  else return;
  const own = stream;
  own.addEventListener("open", () => { tellLost(""); });
  own.addEventListener("error", () => {
    tellLost("The server does not answer. This is what was last known; it is tried again and again.");
    // A browser tries again by itself, but not after an answer that is none, such as that of a proxy.
    if (own.readyState === EventSource.CLOSED) retry = setTimeout(open, RETRY_MS);
  });
  own.addEventListener("clock", (event) => { setClock(JSON.parse(event.data)); });
  own.addEventListener("events", (event) => { take(JSON.parse(event.data)); });
  for (const title of ["header", "failed", "instances", "tasks", "domains", "troubles", "convergence", "cells", "plots", "apps", "app", "cell", "counts", "task", "store", "hubs"]) {
    own.addEventListener(title, (event) => {
      sections[title] = JSON.parse(event.data);
      soon();
    });
  }
}

function close() {
  clearTimeout(retry);
  stream?.close();
  stream = null;
}

function take({ left_out: leftOut, events }) {
  happened.leftOut += leftOut;
  if (happened.paused) happened.leftOut += events.length;
  else happened.kept = [...events.reverse(), ...happened.kept].slice(0, KEPT);
  soon();
}

/** Sections come one by one; the page is drawn once they are all there. */
function soon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}

function draw() {
  if (sections.header) header(sections.header);
  if (sections.failed) patch(main, { tag: "p", attributes: { class: "bad" }, children: [sections.failed] });
  else if (route.name === "events") patch(main, ...eventsPage({ ...happened, part: sections.header?.part }, route.parameters).flat(Infinity));
  else if (!(route.name in PAGES)) patch(main, { tag: "h1", attributes: {}, children: ["There is no such page"] });
  else if ("failed" in sections) { // which comes last
    const isFirst = !main.dataset.drawn || main.dataset.drawn !== route.name;
    patch(main, ...PAGES[route.name](sections, route.parameters).flat(Infinity));
    main.dataset.drawn = route.name;
    if (isFirst) for (const form of main.querySelectorAll("form[data-form]")) fill(form);
  }
  tick();
}

function header({ part, since_ns: since, not_ready: notReady, stale_s: stale, version: now, url }) {
  if (version !== null && version !== now) location.reload(); // another release: its scripts are to go with it
  version = now;
  commands.setServer(url);
  const words = [`${part}${notReady && part === "master" ? `, not ready: ${notReady}` : ""}`];
  if (part !== "master") words.push(stale === null ? "has not read all rows yet" : stale ? `${stale} s behind` : "up to date");
  if (since) words.push(`since ${new Date(since / 1e6).toLocaleString("en-GB")}`);
  words.push(`version ${now}`);
  if (url) words.push(url);
  patch(document.getElementById("server"), { tag: "a", attributes: { class: "figure", href: "#/command/server?", title: "the command that prints this" }, children: [words.join(" · ")] });
}

function tellLost(text) {
  connection.textContent = text;
  connection.classList.toggle("lost", Boolean(text));
  main.classList.toggle("old", Boolean(text));
}

document.addEventListener("submit", (event) => {
  const name = event.target.dataset.form;
  if (!name) return;
  event.preventDefault();
  const given = new FormData(event.target);
  const words = {};
  for (const [field, value] of given) if (value && field !== "kind") words[field] = value;
  const kinds = given.getAll("kind");
  if (kinds.length && kinds.length < 4) words.kind = kinds.join(",");
  location.hash = `#/${name}?${new URLSearchParams(words)}`;
});
document.addEventListener("change", (event) => {
  if (event.target.name !== "measure") return;
  measureBy(event.target.value);
  draw();
});
document.addEventListener("click", (event) => {
  const sort = event.target.closest?.("[data-sort]");
  const pause = event.target.closest?.("[data-pause]");
  if (sort) sortBy(sort.dataset.sort);
  if (pause) happened.paused = !happened.paused;
  if (sort || pause) draw();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(close, HIDDEN_MS);
  else if (!stream) go();
});

const THEMES = { "": "as the system's", light: "light", dark: "dark" };
const button = document.getElementById("theme");

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  button.textContent = `Theme: ${THEMES[theme]}`;
  localStorage.setItem("theme", theme);
}

button.addEventListener("click", () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length]);
});
setTheme(localStorage.getItem("theme") in THEMES ? localStorage.getItem("theme") : "");
await commands.load();
addEventListener("hashchange", () => { go(); main.focus(); scrollTo(0, 0); });
setInterval(tick, 1000);
go();
